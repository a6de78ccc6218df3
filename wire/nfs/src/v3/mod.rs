//! NFS version 3: the procedures that a data server answers and its client calls, both directions
//! of each.
//!
//! One file a procedure, with `Args`, `ResOk` and `Res`. A stock Linux client with a flexible-files
//! layout sends READ, WRITE, COMMIT and NULL; the others here are for mounts by hand and for tests.
//! What is not here is answered through [`failure()`]. Handles and attributes are carried, not
//! understood.
//!
//! INVARIANT: file bytes of READ and WRITE are slices of the message they came in, never copies.
//! Spec: RFC 1813.

pub mod access;
pub mod attr;
pub mod commit;
pub mod failure;
pub mod fsinfo;
pub mod fsstat;
pub mod getattr;
pub mod handle;
pub mod limits;
pub mod outcome;
pub mod pathconf;
pub mod procedure;
pub mod read;
pub mod status;
pub mod write;

pub use attr::{Fattr3, Ftype3, Nfstime3, Specdata3, WccAttr, WccData};
pub use failure::failure;
pub use handle::Fh3;
pub use outcome::Res;
pub use procedure::Procedure;
pub use status::Nfsstat3;
pub use write::StableHow;

/// The RPC program number of NFS (RFC 1813 §1.1, RFC 8881 §1.1).
pub const PROGRAM: u32 = 100_003;
/// The RPC version number of NFS version 3.
pub const VERSION: u32 = 3;

#[cfg(test)]
mod tests;
