//! The filehandle: what a server calls a file, opaque to everybody else.
//!
//! Spec: RFC 8881 §4.2.1.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::limits::FILEHANDLE_BYTES_MAX;

/// A filehandle: at most 128 bytes.
///
/// INVARIANT: the bytes are no more than [`FILEHANDLE_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Filehandle(Bytes);

impl Filehandle {
    /// A filehandle of these bytes.
    ///
    /// # Errors
    /// [`XdrError::TooLong`] above [`FILEHANDLE_BYTES_MAX`].
    pub fn new(bytes: Bytes) -> Result<Self, XdrError> {
        if bytes.len() <= FILEHANDLE_BYTES_MAX {
            Ok(Self(bytes))
        } else {
            Err(XdrError::TooLong { len: bytes.len(), max: FILEHANDLE_BYTES_MAX })
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes, given away.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl AsRef<[u8]> for Filehandle {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Decode for Filehandle {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        r.opaque(FILEHANDLE_BYTES_MAX).map(Self)
    }
}

impl Encode for Filehandle {
    fn encode(&self, w: &mut Writer) {
        w.opaque(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_both_ways() {
        assert!(Filehandle::new(Bytes::from(vec![7; 128])).is_ok());
        assert!(Filehandle::new(Bytes::from(vec![7; 129])).is_err());
        let mut w = Writer::new();
        w.opaque(&[7; 129]);
        assert!(Filehandle::decode(&mut Reader::new(w.into_bytes())).is_err());
    }
}
