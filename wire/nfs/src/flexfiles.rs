//! Flexible files: the bodies that are opaque to NFSv4.1 itself.
//!
//! Device addresses and layouts go to the client, errors and statistics come back. The words of RFC 8435 are kept
//! (mirror, data server, stripe unit); what a good layout is, the metadata server knows. Hints of the client for the
//! layout of a new file are not read.
//!
//! Spec: RFC 8435 §4, §5, §9.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

mod device;
mod layout;
mod netaddr;
mod report;

pub use device::{DeviceAddr, DeviceVersion};
pub use layout::{DataServer, FfLayout, LayoutBodyError, Mirror, flags};
pub use netaddr::{NetAddr, Transport};
pub use report::{FfLayoutReturn, FfLayoutUpdate, IoError, IoLatency, IoStats};

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

/// Writes a whole body. A layout has [`FfLayout::to_body`] instead, which checks what clients demand.
pub fn encode_body(value: &impl Encode) -> Bytes {
    let mut w = Writer::new();
    value.encode(&mut w);
    w.into_bytes()
}

#[cfg(test)]
mod tests;
