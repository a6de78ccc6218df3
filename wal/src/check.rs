//! Looks at what surrounds the payloads of a segment: its header block, its footer, and the headers
//! of its records. Reads of payloads never meet a bad footer or header block; the next start would.
//!
//! INVARIANT: what is called bad differs from what was written, or cannot be told from it.
//! Spec: docs/formats/record.md.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::config::WalConfig;
use crate::error::Damage;
use crate::format::checksum::crc32c;
use crate::format::footer::{TRAILER_BYTES, decode_trailer, footer_bytes};
use crate::format::header::{Decoded, SegmentHeader};
use crate::format::record::StoredHeader;
use crate::limits::{BLOCK_BYTES, CHECK_READ_BYTES, RECORD_HEADER_BYTES};
use crate::report::Corruption;
use crate::shared::Segment;

/// What is bad in a sealed segment, and how many bytes were read.
pub(crate) async fn segment(segment: &Segment, config: &WalConfig) -> io::Result<(Vec<Corruption>, u64)> {
    let mut look = Look { segment, bad: Vec::new(), read_bytes: 0 };
    look.header_block(config).await?;
    if let Some(entries) = look.footer().await? {
        look.records(&entries).await?;
    }
    Ok((look.bad, look.read_bytes))
}

struct Look<'a> {
    segment: &'a Segment,
    bad: Vec<Corruption>,
    read_bytes: u64,
}

impl Look<'_> {
    async fn read(&mut self, offset: u64, len: u64) -> io::Result<Bytes> {
        self.read_bytes += len;
        self.segment.file.read_at(offset, usize::try_from(len).expect("a segment's part fits memory")).await
    }

    fn note(&mut self, place: Range<u64>, what: Damage) {
        let (offset, end) = (place.start, place.end);
        self.bad.push(Corruption { segment: self.segment.seq, offset, end, what });
    }

    async fn header_block(&mut self, config: &WalConfig) -> io::Result<()> {
        let block = self.read(0, BLOCK_BYTES).await?;
        let is_it =
            |header: SegmentHeader| header.seq == self.segment.seq && header.store_id == config.store_id;
        let good = matches!(SegmentHeader::decode(&block), Decoded::Header(header) if is_it(header));
        if !good {
            self.note(0..BLOCK_BYTES, Damage::SegmentHeader);
        }
        Ok(())
    }

    /// The headers in the footer.
    async fn footer(&mut self) -> io::Result<Option<Bytes>> {
        let end = self.segment.file_bytes;
        let Some(last) = end.checked_sub(BLOCK_BYTES) else {
            self.note(0..end, Damage::Footer);
            return Ok(None);
        };
        let block = self.read(last, BLOCK_BYTES).await?;
        let trailer = block.len().checked_sub(TRAILER_BYTES);
        let trailer = trailer.and_then(|at| decode_trailer(&block[at..], self.segment.seq, end));
        let Some(trailer) = trailer else {
            self.note(last..end, Damage::Footer);
            return Ok(None);
        };
        let start = end - footer_bytes(u64::from(trailer.records));
        let entries = self.read(start, u64::from(trailer.records) * RECORD_HEADER_BYTES as u64).await?;
        if crc32c(&entries) != trailer.entries_crc {
            self.note(start..end, Damage::Footer);
            return Ok(None);
        }
        Ok(Some(entries))
    }

    /// Each header where it lies, in the order of their places.
    async fn records(&mut self, entries: &Bytes) -> io::Result<()> {
        let (mut window, mut window_at) = (Bytes::new(), 0);
        for entry in entries.chunks_exact(RECORD_HEADER_BYTES) {
            let Some(header) = StoredHeader::decode(entry, self.segment.seq) else {
                self.note(self.segment.file_bytes - BLOCK_BYTES..self.segment.file_bytes, Damage::Footer);
                return Ok(());
            };
            let (at, len) = (header.offset, RECORD_HEADER_BYTES as u64);
            if at < window_at || window_at + (window.len() as u64) < at + len {
                (window, window_at) = (self.read(at, CHECK_READ_BYTES).await?, at);
            }
            let from = usize::try_from(at - window_at).expect("inside the window");
            if window.get(from..from + RECORD_HEADER_BYTES) != Some(entry) {
                self.note(at..at + len, Damage::RecordHeader);
            }
        }
        Ok(())
    }
}
