//! One frame: how it is stored, what its hash is, and back.
//!
//! Spec: docs/formats/image.md §1.

use std::cell::RefCell;
use std::fmt;
use std::io;

use bytes::Bytes;
use zstd::bulk;

use crate::limits::{COMPRESSED_PERCENT_MAX, FRAME_BYTES, ZSTD_LEVEL};

/// How a frame is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Raw,
    /// Compressed.
    Zstd,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Zstd => "zstd",
        })
    }
}

/// A frame as it will be in the file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) form: Form,
    pub(crate) bytes: Bytes,
    pub(crate) hash: [u8; 32],
}

/// Whether a compressed frame saves enough.
pub(crate) fn is_worth_storing(compressed_bytes: usize, content_bytes: usize) -> bool {
    compressed_bytes * 100 <= content_bytes * COMPRESSED_PERCENT_MAX
}

/// Whether every byte is zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const STEP: usize = 64;
    let mut chunks = bytes.chunks_exact(STEP);
    chunks.all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
        && chunks.remainder().iter().all(|byte| *byte == 0)
}

/// BLAKE3 of stored bytes.
pub(crate) fn hash(stored: &[u8]) -> [u8; 32] {
    *blake3::hash(stored).as_bytes()
}

/// Makes stored frames. Its memory is the compressor's own and one frame.
pub(crate) struct FrameEncoder {
    compressor: bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl FrameEncoder {
    /// # Errors
    /// When the compressor gets no memory.
    pub(crate) fn new() -> io::Result<Self> {
        let compressor = bulk::Compressor::new(ZSTD_LEVEL)?;
        Ok(Self { compressor, scratch: Vec::with_capacity(FRAME_BYTES * COMPRESSED_PERCENT_MAX / 100) })
    }

    /// Stores a frame's content.
    pub(crate) fn store(&mut self, content: Bytes) -> Stored {
        assert!(!content.is_empty() && content.len() <= FRAME_BYTES);
        // A result that does not fit the scratch is an error of the compressor, and not worth
        // storing either way.
        self.scratch.clear();
        let compressed = self.compressor.compress_to_buffer(&content[..], &mut self.scratch);
        let (form, bytes) = match compressed {
            Ok(length) if is_worth_storing(length, content.len()) => {
                (Form::Zstd, Bytes::copy_from_slice(&self.scratch[..length]))
            }
            Ok(_) | Err(_) => (Form::Raw, content),
        };
        Stored { form, hash: hash(&bytes), bytes }
    }
}

thread_local! {
    /// Making one costs more than decompressing a frame. There is one for each thread that reads.
    static DECOMPRESSOR: RefCell<Option<bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The content of a stored frame whose hash was compared; `None` if it is not `content_bytes` long.
pub(crate) fn content(form: Form, stored: Bytes, content_bytes: usize) -> Option<Bytes> {
    match form {
        Form::Raw => (stored.len() == content_bytes).then_some(stored),
        Form::Zstd => decompress(&stored, content_bytes),
    }
}

fn decompress(stored: &[u8], content_bytes: usize) -> Option<Bytes> {
    assert!(content_bytes <= FRAME_BYTES);
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(bulk::Decompressor::new().ok()?),
        };
        let mut content = Vec::with_capacity(content_bytes);
        let length = decompressor.decompress_to_buffer(stored, &mut content).ok()?;
        (length == content_bytes && content.len() == length).then(|| content.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_compressed_only_where_it_saves_enough() {
        assert!(is_worth_storing(88, 100) && !is_worth_storing(89, 100));
        let mut encoder = FrameEncoder::new().unwrap();
        let mut noise = blake3::Hasher::new().finalize_xof();
        let mut content = vec![0; FRAME_BYTES];
        noise.fill(&mut content);
        assert_eq!(encoder.store(content.clone().into()).form, Form::Raw);
        // A tenth of zeros saves a tenth, which is not enough; a fifth is.
        for (zeros, form) in [(FRAME_BYTES / 10, Form::Raw), (FRAME_BYTES / 5, Form::Zstd)] {
            let mut content = content.clone();
            content[..zeros].fill(0);
            let stored = encoder.store(content.clone().into());
            assert_eq!(stored.form, form, "{zeros}");
            let back = super::content(stored.form, stored.bytes, FRAME_BYTES).unwrap();
            assert!(back == content);
        }
    }

    #[test]
    fn another_length_than_said_is_refused() {
        let stored = FrameEncoder::new().unwrap().store(vec![7; 1000].into());
        assert_eq!(stored.form, Form::Zstd);
        assert!(content(Form::Zstd, stored.bytes.clone(), 1000).is_some());
        for other in [0, 1, 999, 1001, FRAME_BYTES] {
            assert!(content(Form::Zstd, stored.bytes.clone(), other).is_none(), "{other}");
        }
        assert!(content(Form::Raw, vec![7; 10].into(), 11).is_none());
        assert!(content(Form::Zstd, vec![7; 10].into(), 1000).is_none());
    }

    #[test]
    fn one_byte_makes_a_frame() {
        for length in [1, 63, 64, 65, 1000, FRAME_BYTES] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in [0, length / 2, length - 1] {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{length} {at}");
                bytes[at] = 0;
            }
        }
    }
}
