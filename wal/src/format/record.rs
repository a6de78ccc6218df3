//! A record's 64-byte header, and where its parts lie.

use super::checksum::crc32c;
use super::{FORMAT_VERSION, u32_at, u64_at};
use crate::limits::{
    BLOCK_BYTES, PAYLOAD_ALIGNED_BYTES_MIN, PAYLOAD_BYTES_MAX, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES,
};
use crate::record::{Location, RecordHeader};

const MAGIC: &[u8; 4] = b"WREC";
const EARLIER_DURABLE: u8 = 0x01;

/// A header as it lies in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredHeader {
    pub(crate) user: RecordHeader,
    pub(crate) segment: u64,
    /// Of this header, in bytes from the segment's start.
    pub(crate) offset: u64,
    /// Every older segment was durable when this was written.
    pub(crate) earlier_durable: bool,
    /// So many blocks of this segment were.
    pub(crate) durable_blocks: u32,
    pub(crate) table_crc: u32,
}

impl StoredHeader {
    pub(crate) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        assert!(self.offset.is_multiple_of(RECORD_ALIGN_BYTES));
        let units = u32::try_from(self.offset / RECORD_ALIGN_BYTES).expect("inside a segment");
        let mut out = [0; RECORD_HEADER_BYTES];
        out[0..4].copy_from_slice(MAGIC);
        out[4] = FORMAT_VERSION;
        out[5] = self.user.kind;
        out[6] = self.user.role;
        out[7] = if self.earlier_durable { EARLIER_DURABLE } else { 0 };
        out[8..16].copy_from_slice(&self.user.stream.to_be_bytes());
        out[16..24].copy_from_slice(&self.user.epoch.to_be_bytes());
        out[24..32].copy_from_slice(&self.user.position.to_be_bytes());
        out[32..40].copy_from_slice(&self.segment.to_be_bytes());
        out[40..44].copy_from_slice(&self.user.sub.to_be_bytes());
        out[44..48].copy_from_slice(&self.user.payload_len.to_be_bytes());
        out[48..52].copy_from_slice(&units.to_be_bytes());
        out[52..56].copy_from_slice(&self.durable_blocks.to_be_bytes());
        out[56..60].copy_from_slice(&self.table_crc.to_be_bytes());
        let crc = crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a header; `None` unless it is whole, of our version, and belongs to `segment`.
    pub(crate) fn decode(bytes: &[u8], segment: u64) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let flags = bytes[7];
        let payload_len = u32_at(bytes, 44);
        let known = bytes[..4] == *MAGIC
            && crc32c(&bytes[..60]) == u32_at(bytes, 60)
            && bytes[4] == FORMAT_VERSION
            && flags & !EARLIER_DURABLE == 0
            && u64_at(bytes, 32) == segment
            && payload_len as usize <= PAYLOAD_BYTES_MAX;
        known.then(|| Self {
            user: RecordHeader {
                kind: bytes[5],
                role: bytes[6],
                stream: u64_at(bytes, 8),
                sub: u32_at(bytes, 40),
                epoch: u64_at(bytes, 16),
                position: u64_at(bytes, 24),
                payload_len,
            },
            segment,
            offset: u64::from(u32_at(bytes, 48)) * RECORD_ALIGN_BYTES,
            earlier_durable: flags & EARLIER_DURABLE != 0,
            durable_blocks: u32_at(bytes, 52),
            table_crc: u32_at(bytes, 56),
        })
    }

    pub(crate) fn location(&self) -> Location {
        Location { segment: self.segment, offset: self.offset, payload_len: self.user.payload_len }
    }

    pub(crate) fn span(&self) -> Span {
        Span::of(self.offset, self.user.payload_len)
    }
}

/// Where the parts of a record lie, in bytes from the segment's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) table: u64,
    pub(crate) table_bytes: usize,
    pub(crate) payload: u64,
    /// Where the next record may begin.
    pub(crate) end: u64,
}

impl Span {
    /// The parts of a record whose header is at `start`.
    pub(crate) fn of(start: u64, payload_len: u32) -> Self {
        let table = start + RECORD_HEADER_BYTES as u64;
        let table_bytes = 4 * u64::from(payload_len).div_ceil(BLOCK_BYTES);
        let mut payload = table + table_bytes;
        if PAYLOAD_ALIGNED_BYTES_MIN <= payload_len as usize {
            payload = payload.next_multiple_of(BLOCK_BYTES);
        }
        let end = (payload + u64::from(payload_len)).next_multiple_of(RECORD_ALIGN_BYTES);
        let table_bytes = usize::try_from(table_bytes).expect("4 KiB per 4 MiB of payload");
        Self { start, table, table_bytes, payload, end }
    }

    /// What the record adds to its segment.
    pub(crate) fn bytes(&self) -> u64 {
        self.end - self.start
    }
}
