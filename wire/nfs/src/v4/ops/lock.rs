//! LOCK: locks a range of a file.
//!
//! Spec: RFC 8881 §18.10.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::xdr_body,
    enumeration::xdr_enum,
    v4::{Stateid, owner::StateOwner},
};

xdr_enum! {
    /// Kinds of locks.
    pub enum LockType, "nfs_lock_type4" {
        /// Shared.
        Read = 1,
        /// Exclusive.
        Write = 2,
        /// Shared, and the client will ask again until it has it.
        ReadBlocking = 3,
        /// Exclusive, and the client will ask again until it has it.
        WriteBlocking = 4,
    }
}

impl LockType {
    /// Whether it excludes other locks.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::WriteBlocking)
    }
}

/// Who locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locker {
    /// A lock owner that has no locks in this file yet.
    New {
        /// Ignored in NFSv4.1.
        open_seqid: u32,
        /// The open that the lock belongs to.
        open_stateid: Stateid,
        /// Ignored in NFSv4.1.
        lock_seqid: u32,
        /// The lock owner.
        owner: StateOwner,
    },
    /// A lock owner that has, or had, locks in this file.
    Existing {
        /// Its locks.
        lock_stateid: Stateid,
        /// Ignored in NFSv4.1.
        lock_seqid: u32,
    },
}

impl Decode for Locker {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        if r.bool()? {
            Ok(Self::New {
                open_seqid: r.u32()?,
                open_stateid: Stateid::decode(r)?,
                lock_seqid: r.u32()?,
                owner: StateOwner::decode(r)?,
            })
        } else {
            Ok(Self::Existing { lock_stateid: Stateid::decode(r)?, lock_seqid: r.u32()? })
        }
    }
}

impl Encode for Locker {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::New { open_seqid, open_stateid, lock_seqid, owner } => {
                w.bool(true);
                w.u32(*open_seqid);
                open_stateid.encode(w);
                w.u32(*lock_seqid);
                owner.encode(w);
            }
            Self::Existing { lock_stateid, lock_seqid } => {
                w.bool(false);
                lock_stateid.encode(w);
                w.u32(*lock_seqid);
            }
        }
    }
}

/// What to lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// How.
    pub lock_type: LockType,
    /// The client held it before the server restarted.
    pub reclaim: bool,
    /// First byte.
    pub offset: u64,
    /// Bytes; all ones is up to the end, whatever that will be.
    pub length: u64,
    /// Who.
    pub locker: Locker,
}

xdr_body! { Args { lock_type, reclaim, offset, length, locker } }

/// The owner's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Its seqid counts them.
    pub lock_stateid: Stateid,
}

xdr_body! { ResOk { lock_stateid } }

/// The lock in the way. Stands behind the status DENIED of LOCK and LOCKT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// How it is locked.
    pub lock_type: LockType,
    /// Whose lock it is.
    pub owner: StateOwner,
}

xdr_body! { Denied { offset, length, lock_type, owner } }
