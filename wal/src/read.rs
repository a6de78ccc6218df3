//! Reads of records: only bytes whose checksums were right leave here.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{Damage, ReadError};
use crate::format::checksum;
use crate::format::record::{Span, StoredHeader};
use crate::limits::{BLOCK_BYTES, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES};
use crate::record::{Location, RecordHeader};
use crate::shared::{Segment, Shared, count};

/// Up to this much between a record's checksums and the payload asked for is read along rather than
/// skipped.
const READ_ALONG_BYTES: u64 = 64 << 10;

/// What a read of some blocks of a record found.
struct Blocks {
    head: Bytes,
    payload: Bytes,
    /// Offset in the record's payload where `payload` begins; a multiple of a block unless
    /// `payload` is empty.
    from: u32,
    /// How long `payload` should be.
    payload_len: usize,
}

/// Reads a range of a record's payload, and the record's header.
pub(crate) async fn read(
    shared: &Shared,
    location: Location,
    range: Range<u32>,
) -> Result<(RecordHeader, Bytes), ReadError> {
    let Some(segment) = shared.segment(location.segment) else {
        return Err(ReadError::NoSegment { segment: location.segment });
    };
    let payload_len = location.payload_len;
    if range.end < range.start || payload_len < range.end {
        return Err(ReadError::Range { end: range.end, payload_len });
    }
    let corrupt = |what, offset| ReadError::Corrupt { segment: location.segment, offset, what };
    let inside = PAYLOAD_BYTES_MAX >= payload_len as usize && location.offset < segment.file_bytes;
    if !inside || segment.file_bytes < Span::of(location.offset, payload_len).end {
        return Err(corrupt(Damage::RecordHeader, location.offset));
    }
    let blocks = fetch(&segment, location, &range).await?;
    match check(&blocks, location) {
        Ok(header) => {
            let start = (range.start - blocks.from) as usize;
            let len = (range.end - range.start) as usize;
            Ok((header, blocks.payload.slice(start..start + len)))
        }
        // A segment dropped meanwhile may be in use again: that is no damage.
        Err(_) if shared.segment(location.segment).is_none() => {
            Err(ReadError::NoSegment { segment: location.segment })
        }
        Err((what, offset)) => {
            count(&shared.tally.corrupt_reads, 1);
            Err(corrupt(what, offset))
        }
    }
}

/// Reads header, table and the blocks that hold `range`.
async fn fetch(segment: &Segment, location: Location, range: &Range<u32>) -> Result<Blocks, ReadError> {
    let span = Span::of(location.offset, location.payload_len);
    let block = u32::try_from(BLOCK_BYTES).expect("a constant");
    let from = range.start - range.start % block;
    let to = range.end.next_multiple_of(block).min(location.payload_len);
    let head_len = RECORD_HEADER_BYTES + span.table_bytes;
    let payload_at = span.payload + u64::from(from);
    let payload_len = to.saturating_sub(from) as usize;
    if payload_len == 0 {
        let head = segment.file.read_at(span.start, head_len).await?;
        return Ok(Blocks { head, payload: Bytes::new(), from: range.start, payload_len });
    }
    if payload_at - span.start <= READ_ALONG_BYTES {
        let skipped = usize::try_from(payload_at - span.start).expect("at most READ_ALONG_BYTES");
        let whole = segment.file.read_at(span.start, skipped + payload_len).await?;
        let head = whole.slice(..head_len.min(whole.len()));
        return Ok(Blocks { head, payload: whole.slice(skipped.min(whole.len())..), from, payload_len });
    }
    let head = segment.file.read_at(span.start, head_len);
    let payload = segment.file.read_at(payload_at, payload_len);
    let (head, payload) = tokio::try_join!(head, payload)?;
    Ok(Blocks { head, payload, from, payload_len })
}

/// Checks identity and sums; says what is wrong and where.
fn check(blocks: &Blocks, location: Location) -> Result<RecordHeader, (Damage, u64)> {
    let span = Span::of(location.offset, location.payload_len);
    let header = StoredHeader::decode(&blocks.head, location.segment)
        .filter(|header| header.location() == location)
        .ok_or((Damage::RecordHeader, span.start))?;
    let table = &blocks.head[RECORD_HEADER_BYTES..];
    if table.len() != span.table_bytes || checksum::crc32c(table) != header.table_crc {
        return Err((Damage::Table, span.table));
    }
    let first = blocks.from as usize / BLOCK_BYTES as usize;
    let payload_offset = |block: usize| span.payload + (first + block) as u64 * BLOCK_BYTES;
    if blocks.payload.len() != blocks.payload_len {
        return Err((Damage::Missing, payload_offset(blocks.payload.len() / BLOCK_BYTES as usize)));
    }
    if blocks.payload_len == 0 {
        return Ok(header.user);
    }
    match checksum::bad_block(&blocks.payload, &table[4 * first..]) {
        None => Ok(header.user),
        Some(block) => Err((Damage::Payload, payload_offset(block))),
    }
}
