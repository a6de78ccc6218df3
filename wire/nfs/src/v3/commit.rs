//! COMMIT: what was written unstable goes to stable storage.
//!
//! Spec: RFC 1813 §3.3.21.

use wire_xdr::xdr_struct;

use super::{Fh3, WccData};

/// `COMMIT3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The file.
    pub file: Fh3,
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 means up to the end of the file.
    pub count: u32,
}

xdr_struct! { Args { file, offset, count } }

/// `COMMIT3resok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Attributes around the act, if the server knows them.
    pub file_wcc: WccData,
    /// If it differs from what the WRITEs were answered with, the client must write again.
    pub verf: [u8; 8],
}

xdr_struct! { ResOk { file_wcc, verf } }

/// `COMMIT3res`.
pub type Res = super::Res<ResOk, WccData>;
