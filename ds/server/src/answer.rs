//! What a READ is answered with.

use bytes::Bytes;

/// The bytes of an answer.
pub(crate) struct Answer {
    pub(crate) data: Vec<Bytes>,
    pub(crate) bytes: u64,
    pub(crate) eof: bool,
}
