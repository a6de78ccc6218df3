//! NFS version 4, minor versions 1 and 2.
//!
//! `compound` reads and writes the envelope, `ops` has one file for each operation, `callback` the
//! same for the other direction, `attr` the attributes. Minor version 0 is recognised only to be
//! refused.
//!
//! Spec: RFC 8881; RFC 7862; RFC 8276.

pub mod attr;
pub mod bitmap;
pub mod callback;
pub mod callback_sec;
pub mod change;
pub mod compound;
pub mod handle;
pub mod identifier;
pub mod layout;
pub mod op;
pub mod ops;
pub mod owner;
pub mod stateid;
pub mod status;
pub mod time;

pub use attr::{AttrValues, Fattr4};
pub use bitmap::Bitmap;
pub use change::ChangeInfo;
pub use handle::Filehandle;
pub use identifier::{DeviceId, SessionId, Verifier};
pub use op::{CbOp, Op};
pub use stateid::Stateid;
pub use status::Nfsstat4;
pub use time::Nfstime4;
