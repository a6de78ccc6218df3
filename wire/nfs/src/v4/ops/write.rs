//! WRITE: writes data through the metadata server.
//!
//! Spec: RFC 8881 §18.32.

use bytes::Bytes;

use crate::{
    body::xdr_body,
    enumeration::xdr_enum,
    limits::IO_BYTES_MAX,
    v4::{Stateid, Verifier},
};

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The open, lock or delegation that allows it, or a special stateid.
    pub stateid: Stateid,
    /// First byte.
    pub offset: u64,
    /// How safe it has to be before the answer.
    pub stable: StableHow,
    /// The bytes.
    pub data: Bytes,
}

xdr_body! { Args { stateid, offset, stable, data: opaque(IO_BYTES_MAX) } }

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Bytes, perhaps fewer than asked.
    pub count: u32,
    /// How safe they are: at least as asked.
    pub committed: StableHow,
    /// Changes whenever unstable data may have been lost.
    pub verifier: Verifier,
}

xdr_body! { ResOk { count, committed, verifier } }

xdr_enum! {
    /// How safe written data is.
    pub enum StableHow, "stable_how4" {
        /// In memory; COMMIT makes it stable.
        Unstable = 0,
        /// The data, and what is needed to read it, on stable storage.
        DataSync = 1,
        /// Data and metadata on stable storage.
        FileSync = 2,
    }
}
