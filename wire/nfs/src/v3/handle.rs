//! The filehandle: bytes that mean something to the server only.
//!
//! Spec: RFC 1813 §2.5, `nfs_fh3`.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::limits::FH3_BYTES_MAX;

/// A filehandle of at most [`FH3_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fh3(Bytes);

impl Fh3 {
    /// Wraps the server's bytes; nothing if there are more than a handle holds.
    pub fn new(bytes: Bytes) -> Option<Self> {
        (bytes.len() <= FH3_BYTES_MAX).then_some(Self(bytes))
    }

    /// The server's bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl Decode for Fh3 {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        r.opaque(FH3_BYTES_MAX).map(Self)
    }
}

impl Encode for Fh3 {
    fn encode(&self, w: &mut Writer) {
        w.opaque(&self.0);
    }
}
