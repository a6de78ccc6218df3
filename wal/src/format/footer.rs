//! A sealed segment's footer: all its record headers again, so that opening does not read the
//! segment.

use super::checksum::crc32c;
use super::{FORMAT_VERSION, u16_at, u32_at, u64_at};
use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};

const MAGIC: &[u8; 4] = b"WFTR";

/// Length of the last part of a footer, which tells how long the rest is.
pub(crate) const TRAILER_BYTES: usize = 64;

/// The last part of a footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) records: u32,
    /// Where the batches end, in blocks.
    pub(crate) end_blocks: u32,
    pub(crate) entries_crc: u32,
}

/// Bytes of a footer of `records` entries.
pub(crate) fn footer_bytes(records: u64) -> u64 {
    (records * RECORD_HEADER_BYTES as u64 + TRAILER_BYTES as u64).next_multiple_of(BLOCK_BYTES)
}

/// A whole footer; `entries` are the record headers as they lie in the segment.
pub(crate) fn encode(seq: u64, entries: &[u8], end_blocks: u32) -> Vec<u8> {
    assert!(entries.len().is_multiple_of(RECORD_HEADER_BYTES));
    let records = u32::try_from(entries.len() / RECORD_HEADER_BYTES).expect("a segment holds fewer");
    let whole = usize::try_from(footer_bytes(u64::from(records))).expect("smaller than a segment");
    let mut out = Vec::with_capacity(whole);
    out.extend_from_slice(entries);
    out.resize(whole - TRAILER_BYTES, 0);
    let trailer = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&u16::from(FORMAT_VERSION).to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&records.to_be_bytes());
    out.extend_from_slice(&end_blocks.to_be_bytes());
    out.extend_from_slice(&crc32c(entries).to_be_bytes());
    out.extend_from_slice(&[0; 32]);
    let crc = crc32c(&out[trailer..]);
    out.extend_from_slice(&crc.to_be_bytes());
    assert!(out.len() == whole);
    out
}

/// Reads a trailer; `None` unless it is whole, of our version, of segment `seq`, and its footer
/// fits `segment_bytes`.
pub(crate) fn decode_trailer(bytes: &[u8], seq: u64, segment_bytes: u64) -> Option<Trailer> {
    let bytes = bytes.get(..TRAILER_BYTES)?;
    let trailer =
        Trailer { records: u32_at(bytes, 16), end_blocks: u32_at(bytes, 20), entries_crc: u32_at(bytes, 24) };
    let end = u64::from(trailer.end_blocks) * BLOCK_BYTES;
    let known = bytes[..4] == *MAGIC
        && crc32c(&bytes[..60]) == u32_at(bytes, 60)
        && u16_at(bytes, 4) == u16::from(FORMAT_VERSION)
        && u64_at(bytes, 8) == seq
        && end + footer_bytes(u64::from(trailer.records)) <= segment_bytes;
    known.then_some(trailer)
}
