//! READ: bytes of a file.
//!
//! The count of a result is the length of its data and is not kept twice.
//!
//! Spec: RFC 1813 §3.3.6.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, padding, xdr_struct};

use super::limits::IO_BYTES_MAX;
use super::{Fattr3, Fh3, Nfsstat3};

/// `READ3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The file.
    pub file: Fh3,
    /// First byte.
    pub offset: u64,
    /// Bytes wanted at most.
    pub count: u32,
}

xdr_struct! { Args { file, offset, count } }

/// `READ3resok`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// The file's attributes, if the server knows them.
    pub file_attributes: Option<Fattr3>,
    /// Whether the data ends where the file ends.
    pub eof: bool,
    /// The bytes.
    pub data: Bytes,
}

impl Decode for ResOk {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let file_attributes = Option::decode(r)?;
        let count = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        let eof = r.bool()?;
        let data = r.opaque(IO_BYTES_MAX)?;
        if data.len() != count {
            return Err(XdrError::Invalid { field: "READ3resok.count" });
        }
        Ok(Self { file_attributes, eof, data })
    }
}

impl Encode for ResOk {
    fn encode(&self, w: &mut Writer) {
        put_ok_body(w, self.file_attributes, self.eof, std::slice::from_ref(&self.data));
    }
}

/// `READ3res`; a failure carries the attributes that the server knows.
pub type Res = super::Res<ResOk, Option<Fattr3>>;

/// Writes a successful result whose data lies in several segments, without joining them.
pub fn put_ok(w: &mut Writer, file_attributes: Option<Fattr3>, eof: bool, data: &[Bytes]) {
    Nfsstat3::Ok.encode(w);
    put_ok_body(w, file_attributes, eof, data);
}

fn put_ok_body(w: &mut Writer, file_attributes: Option<Fattr3>, eof: bool, data: &[Bytes]) {
    let count = data.iter().map(Bytes::len).sum();
    file_attributes.encode(w);
    w.count(count);
    w.bool(eof);
    w.count(count);
    data.iter().for_each(|segment| w.raw_bytes(segment.clone()));
    w.raw(&[0; 4][..padding(count)]);
}
