//! Arguments and bodies of replies as one run of bytes.
//!
//! Spec: docs/protocol/control.md §0.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::limits;

/// Reads the whole of a call's arguments.
///
/// # Errors
/// Any [`XdrError`], bytes left over included.
pub fn decode_args<T: Decode>(bytes: Bytes) -> Result<T, XdrError> {
    let mut r = Reader::new(bytes);
    let args = T::decode(&mut r)?;
    r.finish()?;
    Ok(args)
}

/// Writes a value as one run of bytes.
#[must_use]
pub fn encoded<T: Encode>(value: &T) -> Bytes {
    let mut w = Writer::new();
    value.encode(&mut w);
    w.into_bytes()
}

/// A body or arguments without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nothing;

impl Decode for Nothing {
    fn decode(_: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self)
    }
}

impl Encode for Nothing {
    fn encode(&self, _: &mut Writer) {}
}

/// Reads an address or another short text.
pub(super) fn text(r: &mut Reader, field: &'static str) -> Result<String, XdrError> {
    let bytes = r.string(limits::ADDRESS_BYTES_MAX)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| XdrError::Invalid { field })
}
