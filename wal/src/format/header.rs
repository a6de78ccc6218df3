//! A segment's first block.

use super::checksum::crc32c;
use super::{FORMAT_VERSION, u16_at, u32_at, u64_at};
use crate::limits::BLOCK_BYTES;

const MAGIC: &[u8; 8] = b"SHOALWAL";
const FIELD_BYTES: usize = 64;

/// What a segment says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) seq: u64,
    pub(crate) segment_bytes: u64,
    /// The segment before it, 0 if none.
    pub(crate) previous_seq: u64,
    /// Where that one's batches end, in blocks.
    pub(crate) previous_end_blocks: u32,
}

/// What a block read from a segment's start turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A header.
    Header(SegmentHeader),
    /// A header of a version we do not know.
    Version(u16),
    /// Zeros: nothing was written yet.
    Blank,
    /// Something else.
    Bad,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&u16::from(FORMAT_VERSION).to_be_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.segment_bytes.to_be_bytes());
        out.extend_from_slice(&self.previous_seq.to_be_bytes());
        out.extend_from_slice(&self.previous_end_blocks.to_be_bytes());
        out.extend_from_slice(&crc32c(&out).to_be_bytes());
        assert!(out.len() == FIELD_BYTES);
        out.resize(BLOCK_BYTES as usize, 0);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Decoded {
        if bytes.iter().all(|byte| *byte == 0) {
            return Decoded::Blank;
        }
        let Some(fields) = bytes.get(..FIELD_BYTES) else { return Decoded::Bad };
        if fields[..8] != *MAGIC || crc32c(&fields[..60]) != u32_at(fields, 60) {
            return Decoded::Bad;
        }
        let version = u16_at(fields, 8);
        if version != u16::from(FORMAT_VERSION) {
            return Decoded::Version(version);
        }
        Decoded::Header(Self {
            store_id: fields[16..32].try_into().expect("sixteen bytes"),
            seq: u64_at(fields, 32),
            segment_bytes: u64_at(fields, 40),
            previous_seq: u64_at(fields, 48),
            previous_end_blocks: u32_at(fields, 56),
        })
    }
}
