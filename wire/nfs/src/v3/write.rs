//! WRITE: bytes into a file, and how far towards the disk.
//!
//! The count of the arguments is the length of their data and is not kept twice.
//!
//! Spec: RFC 1813 §3.3.7.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, xdr_struct};

use super::limits::IO_BYTES_MAX;
use super::{Fh3, WccData};
use crate::enumeration::xdr_enum;

xdr_enum! {
    /// `stable_how`: where written data must be before the answer, or was.
    pub enum StableHow, "stable_how" {
        /// Anywhere: a later COMMIT makes it stable.
        Unstable = 0,
        /// The data, and what is needed to find it, on stable storage.
        DataSync = 1,
        /// All data and attributes on stable storage.
        FileSync = 2,
    }
}

/// `WRITE3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The file.
    pub file: Fh3,
    /// Where the first byte goes.
    pub offset: u64,
    /// How far the data must get before the answer.
    pub stable: StableHow,
    /// The bytes: a slice of the call.
    pub data: Bytes,
}

impl Decode for Args {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let (file, offset) = (Fh3::decode(r)?, r.u64()?);
        let count = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        let stable = StableHow::decode(r)?;
        let data = r.opaque(IO_BYTES_MAX)?;
        // RFC 1813 §3.3.7 calls a difference an error without naming one: we treat the arguments as
        // undecodable.
        if data.len() != count {
            return Err(XdrError::Invalid { field: "WRITE3args.count" });
        }
        Ok(Self { file, offset, stable, data })
    }
}

impl Encode for Args {
    fn encode(&self, w: &mut Writer) {
        self.file.encode(w);
        w.u64(self.offset);
        w.count(self.data.len());
        self.stable.encode(w);
        w.opaque_bytes(self.data.clone());
    }
}

/// `WRITE3resok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Attributes around the write, if the server knows them.
    pub file_wcc: WccData,
    /// Bytes written.
    pub count: u32,
    /// How far they got: at least what was asked.
    pub committed: StableHow,
    /// Changes whenever unstable data may have been lost.
    pub verf: [u8; 8],
}

xdr_struct! { ResOk { file_wcc, count, committed, verf } }

/// `WRITE3res`.
pub type Res = super::Res<ResOk, WccData>;
