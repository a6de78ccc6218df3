//! What lies where in a segment of a journal, read from its bytes as docs/formats/record.md and
//! journal.md draw them, and by no code of the servers'; and which records no extent needs any
//! more.

use std::path::Path;

use layout::ExtentId;

use crate::places::Part;

const BLOCK: usize = 4096;
const HEADER: usize = 64;

/// A record of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) extent: ExtentId,
    kind: u8,
    sequence: u64,
    offset: u32,
    payload_len: usize,
    /// Where it lies: its segment's number, and the place of its header there.
    at: (u64, usize),
    table: usize,
    payload: usize,
    end: usize,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

pub(crate) fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_prefix("seg-")?.strip_suffix(".wal")?, 16).ok()
}

impl Record {
    fn at(bytes: &[u8], segment: u64, at: usize) -> Option<Self> {
        let head = bytes.get(at..at + HEADER)?;
        let is_it =
            &head[..4] == b"WREC" && u64_at(head, 32) == segment && u32_at(head, 48) as usize * 8 == at;
        if !is_it {
            return None;
        }
        let (position, payload_len) = (u64_at(head, 24), u32_at(head, 44) as usize);
        let table = at + HEADER;
        let mut payload = table + 4 * payload_len.div_ceil(BLOCK);
        if 32 << 10 <= payload_len {
            payload = payload.next_multiple_of(BLOCK);
        }
        Some(Self {
            extent: ExtentId { ino: u64_at(head, 8), index: u32_at(head, 40) },
            kind: head[5],
            sequence: position >> 27,
            offset: u32::try_from(position & ((1 << 27) - 1)).unwrap(),
            payload_len,
            at: (segment, at),
            table,
            payload,
            end: (payload + payload_len).next_multiple_of(8),
        })
    }

    /// All that can be found in a segment.
    pub(crate) fn all(bytes: &[u8], segment: u64) -> Vec<Self> {
        let (mut records, mut at) = (Vec::new(), BLOCK);
        while at < bytes.len() {
            match Self::at(bytes, segment, at) {
                Some(record) => {
                    at = record.end;
                    records.push(record);
                }
                None => at = (at + 1).next_multiple_of(BLOCK),
            }
        }
        records
    }

    /// Bytes of the extent that it says, if its payload, from one place of the file to another, is
    /// bad: whole blocks.
    fn says(&self, from: usize, to: usize) -> (u64, u64) {
        if self.kind == 5 {
            return (0, u64::from(self.offset));
        }
        let block = |at: usize| at.clamp(self.payload, self.payload + self.payload_len) - self.payload;
        let (low, high) = match from < self.payload {
            // The table: all of it is refused.
            true => (0, self.payload_len),
            false => (block(from) / BLOCK * BLOCK, block(to).next_multiple_of(BLOCK).min(self.payload_len)),
        };
        (u64::from(self.offset) + low as u64, u64::from(self.offset) + high as u64)
    }

    /// Bytes of the extent that it hides older ones at.
    fn covers(&self) -> (u64, u64) {
        let (offset, end) = (u64::from(self.offset), layout::EXTENT_BYTES);
        match self.kind {
            1 => (offset, offset + self.payload_len as u64),
            3 | 4 => (offset, end),
            5 => (0, end),
            _ => (0, 0),
        }
    }

    /// Whether no extent needs what it says with these bytes of the file, because of `all` records
    /// of the server.
    pub(crate) fn is_dead(&self, from: usize, to: usize, all: &[Self]) -> bool {
        let (low, high) = self.says(from, to);
        let newer = |one: &&Self| {
            one.extent == self.extent
                && (self.sequence < one.sequence
                    || (self.sequence == one.sequence && one.kind == self.kind && self.at < one.at))
        };
        let mut covered: Vec<(u64, u64)> = all.iter().filter(newer).map(Self::covers).collect();
        covered.sort_unstable();
        let mut at = low;
        for (start, end) in covered {
            if start <= at {
                at = at.max(end);
            }
        }
        high <= at
    }

    fn parts(&self) -> [(Part, usize, usize); 4] {
        let payload_end = self.payload + self.payload_len;
        let table_end = self.table + 4 * self.payload_len.div_ceil(BLOCK);
        [
            (Part::RecordHeader, self.at.1, self.table),
            (Part::RecordTable, self.table, table_end),
            (Part::RecordPayload, self.payload, payload_end),
            (Part::Slack, table_end, self.payload),
        ]
    }
}

/// What lies where in a segment: its parts, each from one byte to another, and the record if it is
/// one's.
pub(crate) fn parts(bytes: &[u8], segment: u64) -> Vec<(Part, usize, usize, Option<Record>)> {
    let len = bytes.len();
    let records = Record::all(bytes, segment);
    if bytes.get(..8) != Some(b"SHOALWAL") && records.is_empty() {
        return vec![(Part::Spare, 0, len, None)];
    }
    let mut parts = vec![(Part::SegmentHeader, 0, HEADER, None), (Part::Slack, HEADER, BLOCK, None)];
    let mut at = BLOCK;
    for record in &records {
        parts.push((Part::Slack, at, record.at.1, None));
        parts.extend(record.parts().map(|(part, start, end)| (part, start, end, Some(*record))));
        at = record.end;
        parts.push((Part::Slack, record.payload + record.payload_len, at, None));
    }
    let trailer = len - HEADER;
    if &bytes[trailer..trailer + 4] == b"WFTR" {
        let entries = u32_at(bytes, trailer + 16) as usize * HEADER;
        let start = len - (entries + HEADER).next_multiple_of(BLOCK);
        parts.push((Part::Slack, at, start, None));
        parts.push((Part::SegmentFooter, start, start + entries, None));
        parts.push((Part::Slack, start + entries, trailer, None));
        parts.push((Part::SegmentFooter, trailer, len, None));
    } else {
        parts.push((Part::Slack, at, len, None));
    }
    parts.retain(|(_, start, end, _)| start < end);
    parts
}
