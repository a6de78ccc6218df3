//! LOCKU: unlocks a range of a file.
//!
//! Spec: RFC 8881 §18.12.

use crate::{
    body::xdr_body,
    v4::{Stateid, ops::lock::LockType},
};

/// What to unlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// Any value; the range is unlocked however it was locked.
    pub lock_type: LockType,
    /// Ignored in NFSv4.1.
    pub seqid: u32,
    /// The owner's locks.
    pub lock_stateid: Stateid,
    /// First byte.
    pub offset: u64,
    /// Bytes; all ones is up to the end.
    pub length: u64,
}

xdr_body! { Args { lock_type, seqid, lock_stateid, offset, length } }

/// The owner's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Its seqid is one higher.
    pub lock_stateid: Stateid,
}

xdr_body! { ResOk { lock_stateid } }
