//! Reads a segment record by record: what is good, what is not, and what its records say was
//! durable.
//!
//! Judges nothing: whether a bad place is damage or an unfinished write is not known until all is
//! read.

use std::io;

use bytes::Bytes;
use env::File;

use crate::error::Damage;
use crate::format::checksum;
use crate::format::footer::footer_bytes;
use crate::format::record::StoredHeader;
use crate::limits::{BLOCK_BYTES, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, SCAN_GAP_BYTES, SCAN_READ_BYTES};

/// A stretch of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Good(StoredHeader),
    /// Its header is right, and something behind it is not.
    Damaged(StoredHeader, Damage),
    /// From `start` to `end`, where something good begins or the segment ends.
    Bad {
        start: u64,
        end: u64,
        what: Damage,
    },
}

impl Entry {
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Good(header) | Self::Damaged(header, _) => header.span().end,
            Self::Bad { end, .. } => *end,
        }
    }
}

/// A segment that was read.
pub(super) struct Scan {
    pub(super) entries: Vec<Entry>,
    /// Up to here the segment was durable, by its own records.
    pub(super) durable: u64,
    /// One of its records says that all older segments were durable.
    pub(super) earlier_durable: bool,
}

impl Scan {
    /// Reads segment `seq` up to `expected_end`, or until no record follows. With `is_durable` all
    /// of it was: whatever is not zero behind its records was a record or the footer.
    pub(super) async fn run(
        file: &dyn File,
        seq: u64,
        file_bytes: u64,
        expected_end: Option<u64>,
        is_durable: bool,
    ) -> io::Result<Self> {
        let window = Window { file, start: 0, bytes: Bytes::new() };
        // A file shorter than it should be reads as nothing there: records are missing.
        let limit = expected_end.unwrap_or(file_bytes);
        let scan = Self { entries: Vec::new(), durable: 0, earlier_durable: false };
        let mut scanner = Scanner { window, seq, limit, is_durable, scan };
        let mut at = BLOCK_BYTES;
        while at < limit {
            at = match scanner.step(at, expected_end.is_some()).await? {
                Some(next) => next,
                None => break,
            };
        }
        Ok(scanner.scan)
    }

    fn note(&mut self, header: &StoredHeader) {
        self.durable = self.durable.max(u64::from(header.durable_blocks) * BLOCK_BYTES);
        self.earlier_durable |= header.earlier_durable;
    }

    fn bad(&mut self, start: u64, end: u64, what: Damage) {
        self.entries.push(Entry::Bad { start, end, what });
    }
}

struct Scanner<'a> {
    window: Window<'a>,
    seq: u64,
    limit: u64,
    is_durable: bool,
    scan: Scan,
}

impl Scanner<'_> {
    /// Looks at `at`, notes what is there, and says where to look next.
    async fn step(&mut self, at: u64, end_is_known: bool) -> io::Result<Option<u64>> {
        let at = at.next_multiple_of(RECORD_ALIGN_BYTES);
        if let Some(header) = self.header(at).await? {
            self.scan.note(&header);
            match self.damage(&header).await? {
                None => self.scan.entries.push(Entry::Good(header)),
                Some(what) => self.scan.entries.push(Entry::Damaged(header, what)),
            }
            return Ok(Some(header.span().end));
        }
        let block_end = at.next_multiple_of(BLOCK_BYTES);
        let padding = self.window.bytes(at, block_end - at).await?;
        let is_padding = at < block_end && padding.iter().all(|byte| *byte == 0);
        if is_padding {
            return Ok(Some(block_end));
        }
        let behind = if at == block_end { at + BLOCK_BYTES } else { block_end };
        if let Some(next) = self.next_record(behind).await? {
            self.scan.bad(at, next, Damage::RecordHeader);
            return Ok(Some(next));
        }
        if end_is_known {
            self.scan.bad(at, self.limit, Damage::Missing);
        } else if at < block_end {
            self.scan.bad(at, block_end, Damage::RecordHeader);
        } else if self.is_durable && at < self.footer_at() && self.holds_something(at).await? {
            self.scan.bad(at, at + BLOCK_BYTES, Damage::RecordHeader);
        }
        Ok(None)
    }

    /// Where the footer of what was found would begin. A crash may have left any part of it, and
    /// then no record is missing.
    fn footer_at(&self) -> u64 {
        self.limit.saturating_sub(footer_bytes(self.scan.entries.len() as u64))
    }

    /// Whether a block that begins with no record is not zeros, and no part of a footer either.
    async fn holds_something(&mut self, at: u64) -> io::Result<bool> {
        let bytes = self.window.bytes(at, BLOCK_BYTES).await?;
        let is_footer = StoredHeader::decode(&bytes, self.seq).is_some_and(|header| header.offset != at);
        Ok(!is_footer && bytes.iter().any(|byte| *byte != 0))
    }

    /// The header at `at`, if there is one that belongs there.
    async fn header(&mut self, at: u64) -> io::Result<Option<StoredHeader>> {
        if self.limit < at + RECORD_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let bytes = self.window.bytes(at, RECORD_HEADER_BYTES as u64).await?;
        let header = StoredHeader::decode(&bytes, self.seq);
        Ok(header.filter(|header| header.offset == at && header.span().end <= self.limit))
    }

    /// The first block from `from` on that begins with a record.
    async fn next_record(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < self.limit.min(from + SCAN_GAP_BYTES) {
            if self.header(at).await?.is_some() {
                return Ok(Some(at));
            }
            at += BLOCK_BYTES;
        }
        Ok(None)
    }

    /// What is wrong with a record whose header is right.
    async fn damage(&mut self, header: &StoredHeader) -> io::Result<Option<Damage>> {
        let span = header.span();
        let bytes = self.window.bytes(span.start, span.bytes()).await?;
        let table_at = RECORD_HEADER_BYTES;
        let payload_at = usize::try_from(span.payload - span.start).expect("header, table, padding");
        let payload_end = payload_at + header.user.payload_len as usize;
        let (Some(table), Some(payload)) =
            (bytes.get(table_at..table_at + span.table_bytes), bytes.get(payload_at..payload_end))
        else {
            return Ok(Some(Damage::Missing));
        };
        if checksum::crc32c(table) != header.table_crc {
            return Ok(Some(Damage::Table));
        }
        Ok(checksum::bad_block(payload, table).map(|_| Damage::Payload))
    }
}

/// A file read in large pieces, forwards.
struct Window<'a> {
    file: &'a dyn File,
    start: u64,
    bytes: Bytes,
}

impl Window<'_> {
    /// `len` bytes at `at`, fewer where the file ends.
    async fn bytes(&mut self, at: u64, len: u64) -> io::Result<Bytes> {
        let have = self.start..self.start + self.bytes.len() as u64;
        if !(have.start <= at && at + len <= have.end) {
            let want = usize::try_from(len.max(SCAN_READ_BYTES)).expect("a record fits memory");
            self.bytes = self.file.read_at(at, want).await?;
            self.start = at;
        }
        let from = usize::try_from(at - self.start).expect("inside the window").min(self.bytes.len());
        let to = from.saturating_add(usize::try_from(len).expect("a record fits memory"));
        Ok(self.bytes.slice(from..to.min(self.bytes.len())))
    }
}
