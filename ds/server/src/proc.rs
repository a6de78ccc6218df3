//! The NFS version 3 procedures that do something here, one file each.
//!
//! Each takes decoded arguments and gives a whole result, or the status it failed with.
//!
//! Spec: RFC 1813 §3.3.

pub(crate) mod commit;
pub(crate) mod read;
pub(crate) mod write;
