//! Record marking: how messages are told apart on a byte stream.
//!
//! A record is a sequence of fragments, each behind a four-byte header whose top bit says that it
//! is the last. The assembler owns the buffer that the socket is read into, and asks for exactly
//! the rest of a large fragment, so that its bytes are received where they stay. It reads no
//! socket; the driver does, between `wanted_bytes` and `next_record`.
//!
//! INVARIANT: what is buffered for one record is at most `record_bytes_max`, plus the read-ahead.
//! Spec: RFC 5531 §11.

use bytes::{Bytes, BytesMut};

use crate::READ_AHEAD_BYTES;

const HEADER_BYTES: usize = 4;
const LAST_FRAGMENT: u32 = 0x8000_0000;

/// Why a stream cannot be cut into records any more. The connection is of no use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The sender announced more than we take.
    #[error("record of at least {bytes} bytes, {max} allowed")]
    TooLong {
        /// Bytes of the record as far as announced.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A fragment that is not the last holds nothing: a sender could go on like this for ever.
    #[error("empty fragment")]
    EmptyFragment,
}

/// Cuts a byte stream into records.
#[derive(Debug)]
pub struct RecordAssembler {
    buffer: BytesMut,
    /// Fragments of the present record before the one being read.
    earlier: BytesMut,
    header: Option<Header>,
    record_bytes_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    bytes: usize,
    last: bool,
}

impl RecordAssembler {
    /// Starts at the beginning of a stream. Records of more than `record_bytes_max` bytes are
    /// refused.
    pub fn new(record_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), earlier: BytesMut::new(), header: None, record_bytes_max }
    }

    /// From the next header on records of more than this many bytes are refused.
    pub fn limit(&mut self, record_bytes_max: usize) {
        self.record_bytes_max = record_bytes_max;
    }

    /// The buffer to append received bytes to, with room for the second value's bytes: read at most
    /// that many, at least one, then call [`next_record`](Self::next_record) until it has nothing
    /// more.
    pub fn wanted(&mut self) -> (&mut BytesMut, usize) {
        let spare = self.buffer.capacity() - self.buffer.len();
        let missing = match self.header {
            Some(header) => header.bytes.saturating_sub(self.buffer.len()),
            None => 0,
        };
        let bytes = if READ_AHEAD_BYTES < missing {
            // A large fragment: no byte beyond it, so that the next one starts in a buffer of its
            // own.
            self.buffer.reserve(missing);
            missing
        } else if spare < missing.max(READ_AHEAD_BYTES / 4) {
            self.buffer.reserve(READ_AHEAD_BYTES);
            READ_AHEAD_BYTES
        } else {
            spare.min(READ_AHEAD_BYTES)
        };
        (&mut self.buffer, bytes)
    }

    /// Whether the stream stands between two records: here a peer may close it in good order.
    pub fn is_between_records(&self) -> bool {
        self.header.is_none() && self.buffer.is_empty() && self.earlier.is_empty()
    }

    /// How long the record may get that has begun and is not complete, by its sender's word;
    /// nothing between two records.
    pub fn announced_bytes(&self) -> Option<usize> {
        match self.header {
            Some(header) if header.last => Some(self.earlier.len() + header.bytes),
            // Further fragments follow: it may become as long as any.
            Some(_) => Some(self.record_bytes_max),
            None if !self.earlier.is_empty() => Some(self.record_bytes_max),
            None => None,
        }
    }

    /// Takes the next whole record, or nothing if more bytes are needed.
    ///
    /// # Errors
    /// [`RecordError`]; the stream cannot be followed any further.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        loop {
            let header = match self.header {
                Some(header) => header,
                None if self.buffer.len() < HEADER_BYTES => return Ok(None),
                None => self.take_header()?,
            };
            if self.buffer.len() < header.bytes {
                self.header = Some(header);
                return Ok(None);
            }
            self.header = None;
            let fragment = self.buffer.split_to(header.bytes);
            if self.buffer.is_empty() && READ_AHEAD_BYTES < header.bytes {
                // Else what is left of the buffer would keep all of the record's memory while
                // nothing comes.
                self.buffer = BytesMut::new();
            }
            if header.last && self.earlier.is_empty() {
                return Ok(Some(fragment.freeze()));
            }
            self.earlier.extend_from_slice(&fragment);
            if header.last {
                return Ok(Some(std::mem::take(&mut self.earlier).freeze()));
            }
        }
    }

    fn take_header(&mut self) -> Result<Header, RecordError> {
        let mut word = [0; HEADER_BYTES];
        word.copy_from_slice(&self.buffer.split_to(HEADER_BYTES));
        let word = u32::from_be_bytes(word);
        let bytes = usize::try_from(word & !LAST_FRAGMENT).unwrap_or(usize::MAX);
        let header = Header { bytes, last: word & LAST_FRAGMENT != 0 };
        let record_bytes = self.earlier.len().saturating_add(bytes);
        if self.record_bytes_max < record_bytes {
            return Err(RecordError::TooLong { bytes: record_bytes, max: self.record_bytes_max });
        }
        if bytes == 0 && !header.last {
            return Err(RecordError::EmptyFragment);
        }
        Ok(header)
    }
}

/// The header for sending `segments` as a record of one fragment.
///
/// # Panics
/// As [`mark_bytes`].
pub fn mark(segments: &[Bytes]) -> [u8; 4] {
    mark_bytes(segments.iter().map(Bytes::len).sum())
}

/// The header for sending `bytes` bytes as a record of one fragment.
///
/// # Panics
/// If they do not fit the header's 31 bits: no message of ours comes near.
pub fn mark_bytes(bytes: usize) -> [u8; 4] {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    assert!(bytes < LAST_FRAGMENT, "a message has fewer than 2^31 bytes");
    (LAST_FRAGMENT | bytes).to_be_bytes()
}

#[cfg(test)]
mod tests;
