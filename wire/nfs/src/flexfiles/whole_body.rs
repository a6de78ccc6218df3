//! Bodies that are opaque to NFSv4.1, read and written from the first byte to the last.
//!
//! Spec: RFC 8435 §5, §9.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

/// Reads a whole body.
///
/// # Errors
/// Those of the codec; [`XdrError::Trailing`] if the body goes on behind it.
pub fn decode_body<T: Decode>(body: &Bytes) -> Result<T, XdrError> {
    let mut r = Reader::new(body.clone());
    let value = T::decode(&mut r)?;
    r.finish()?;
    Ok(value)
}

/// Writes a whole body. A layout has [`FfLayout::to_body`](super::FfLayout::to_body) instead, which
/// checks what clients demand.
pub fn encode_body(value: &impl Encode) -> Bytes {
    let mut w = Writer::new();
    value.encode(&mut w);
    w.into_bytes()
}
