//! Opening a log: which records are there, what is damaged, where an unfinished tail is cut.
//!
//! The rules are drawn in docs/formats/record.md, "Opening". Segments with a footer are not read;
//! those without are scanned, and afterwards given one, so that nothing behind a cut can come back.

mod scan;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use env::File;
use env::disk::zero_fill;

use self::scan::{Entry, Scan};
use crate::config::WalConfig;
use crate::error::{Damage, OpenError};
use crate::files::{Files, Name};
use crate::format::checksum::crc32c;
use crate::format::footer::{TRAILER_BYTES, Trailer, decode_trailer, footer_bytes};
use crate::format::header::{Decoded, SegmentHeader};
use crate::format::record::StoredHeader;
use crate::limits::{
    BLOCK_BYTES, PUNCH_BYTES_MIN, RECORD_HEADER_BYTES, SCAN_READ_BYTES, SEGMENT_BYTES_MAX, SEGMENT_SEQ_MAX,
};
use crate::record::{Location, RecordHeader};
use crate::report::{Corruption, RecoveryReport};
use crate::sealing::Sealing;
use crate::shared::Segment;

/// Who is shown the records.
pub(crate) type Visitor<'a> = &'a mut (dyn FnMut(&RecordHeader, Location) + Send);

/// What an opened log starts from.
pub(crate) struct Recovered {
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    /// The youngest segment and its end in blocks.
    pub(crate) previous: (u64, u32),
    pub(crate) report: RecoveryReport,
}

/// A segment file before its records are known.
struct Found {
    segment: Arc<Segment>,
    /// `None`: absent, left over from an earlier use of the file, or damaged.
    header: Option<SegmentHeader>,
    trailer: Option<Trailer>,
    /// The file's last block, which the trailer came from.
    last_block: Bytes,
    /// There is, or was, a footer: so all of it was durable.
    is_ended: bool,
}

/// Records of one segment after judgement.
struct Kept {
    headers: Vec<StoredHeader>,
    /// Behind the last of them, and behind all that was found.
    last_end: u64,
    found_end: u64,
    damaged: bool,
}

impl Kept {
    fn nothing() -> Self {
        Self { headers: Vec::new(), last_end: BLOCK_BYTES, found_end: BLOCK_BYTES, damaged: false }
    }

    /// Where its batches end.
    fn end(&self) -> u64 {
        self.last_end.next_multiple_of(BLOCK_BYTES)
    }
}

struct Recovery<'a> {
    files: &'a Files,
    config: &'a WalConfig,
    visitor: Visitor<'a>,
    out: Recovered,
}

/// Opens all segments of a log.
pub(crate) async fn recover(
    files: &Files,
    config: &WalConfig,
    visitor: Visitor<'_>,
) -> Result<Recovered, OpenError> {
    let names = files.list().await?;
    let mut found = Vec::new();
    let mut seq_max = 0;
    for name in names {
        match name {
            Name::Segment(seq) => {
                seq_max = seq_max.max(seq);
                found.push(find(files, config, seq).await?);
            }
            Name::Free(seq) => {
                seq_max = seq_max.max(seq);
                files.adopt_free(seq).await?;
            }
        }
    }
    if SEGMENT_SEQ_MAX < seq_max {
        // No log counts that far: the name is not one that we gave, and the numbers behind it would
        // run out.
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a segment's number is out of range").into());
    }
    files.number_from((seq_max + 1).max(config.number_min));
    // What is found may be there by the grace of the page cache only, names included.
    files.sync_names().await?;
    let out = Recovered { segments: BTreeMap::new(), previous: (0, 0), report: RecoveryReport::default() };
    let mut recovery = Recovery { files, config, visitor, out };
    recovery.run(&found).await?;
    Ok(recovery.out)
}

/// Reads a segment's first and last block.
async fn find(files: &Files, config: &WalConfig, seq: u64) -> Result<Found, OpenError> {
    let file = files.open_segment(seq).await?;
    let file_bytes = file.len().await?.min(SEGMENT_BYTES_MAX);
    let block = BLOCK_BYTES as usize;
    let first_block = file.read_at(0, block).await?;
    let header = match SegmentHeader::decode(&first_block) {
        Decoded::Header(header) if header.seq != seq => None,
        Decoded::Header(header) if header.store_id != config.store_id => {
            return Err(OpenError::ForeignStore { segment: seq });
        }
        Decoded::Header(header) => Some(header),
        Decoded::Version(version) => return Err(OpenError::Version { segment: seq, version }),
        Decoded::Blank | Decoded::Bad => None,
    };
    // A file shorter than a block holds nothing and gets no footer.
    let last_block = match file_bytes.checked_sub(BLOCK_BYTES) {
        Some(offset) => file.read_at(offset, block).await?,
        None => Bytes::new(),
    };
    let trailer = last_block.len().checked_sub(TRAILER_BYTES);
    let trailer = trailer.and_then(|at| decode_trailer(&last_block[at..], seq, file_bytes));
    let segment = Arc::new(Segment::new(seq, file, file_bytes, true));
    segment.note_room().await?;
    if config.recycle_max == 0 && PUNCH_BYTES_MIN <= segment.behind_bytes() {
        // A crash took the file's length back, but not its room.
        segment.file.set_len(file_bytes).await?;
        segment.note_room().await?;
    }
    // Records leave the last block to the footer. A crash may take back a file's length: then its
    // last block is any.
    let whole_bytes = header.map_or(config.segment_bytes, |header| header.segment_bytes);
    let is_whole = file_bytes == whole_bytes;
    let is_footer_bad = config.shows_damaged && is_whole && last_block.iter().any(|byte| *byte != 0);
    let is_ended = trailer.is_some() || is_footer_bad;
    Ok(Found { segment, header, trailer, last_block, is_ended })
}

/// Reads a footer's record headers; `None` if they do not check out.
async fn footer_headers(found: &Found, trailer: &Trailer) -> io::Result<Option<Vec<StoredHeader>>> {
    let segment = &found.segment;
    let footer_len = footer_bytes(u64::from(trailer.records));
    let entries_len = trailer.records as usize * RECORD_HEADER_BYTES;
    let bytes = if footer_len == BLOCK_BYTES {
        found.last_block.slice(..entries_len)
    } else {
        segment.file.read_at(segment.file_bytes - footer_len, entries_len).await?
    };
    let end = u64::from(trailer.end_blocks) * BLOCK_BYTES;
    // What lies behind the end is given back: not the header block.
    if bytes.len() != entries_len || crc32c(&bytes) != trailer.entries_crc || end < BLOCK_BYTES {
        return Ok(None);
    }
    let entries = bytes.chunks_exact(RECORD_HEADER_BYTES);
    let headers = entries.map(|entry| StoredHeader::decode(entry, segment.seq));
    Ok(headers.map(|header| header.filter(|header| header.span().end <= end)).collect())
}

impl Recovery<'_> {
    async fn run(&mut self, found: &[Found]) -> Result<(), OpenError> {
        // A footer is written when all before it is durable: what is older than any footer was
        // durable.
        let sealed = found.iter().rposition(|found| found.is_ended).map_or(0, |last| last + 1);
        for (index, one) in found[..sealed].iter().enumerate() {
            self.recover_durable(one, found.get(index + 1)).await?;
        }
        self.recover_tail(&found[sealed..]).await?;
        self.out.report.segments = self.out.segments.len() as u64;
        Ok(())
    }

    /// A segment that was durable as a whole.
    async fn recover_durable(&mut self, found: &Found, next: Option<&Found>) -> Result<(), OpenError> {
        self.note_header(found);
        if let Some(trailer) = &found.trailer
            && let Some(headers) = footer_headers(found, trailer).await?
        {
            let end = u64::from(trailer.end_blocks) * BLOCK_BYTES;
            self.keep(found, Kept { headers, last_end: end, found_end: end, damaged: false });
            // A crash may have come between its footer and what is done then.
            let segment = &found.segment;
            if self.config.recycle_max == 0 && PUNCH_BYTES_MIN <= segment.gap_bytes() {
                segment.give_back(end, segment.file_bytes - footer_bytes(u64::from(trailer.records))).await?;
            }
            return Ok(());
        }
        if found.is_ended && self.config.shows_damaged {
            let end = found.segment.file_bytes;
            self.report(found, end.saturating_sub(BLOCK_BYTES), end, Damage::Footer);
        }
        let end = found.trailer.map(|trailer| u64::from(trailer.end_blocks) * BLOCK_BYTES);
        let end = end.or_else(|| expected_end(found, next));
        let scan = self.scan(found, end, self.config.shows_damaged).await?;
        let (kept, _) = self.judge(found, scan, u64::MAX);
        self.seal(found, kept).await
    }

    /// The youngest segments, which have no footers: the last flushes may be unfinished.
    async fn recover_tail(&mut self, tail: &[Found]) -> Result<(), OpenError> {
        let mut scans = Vec::new();
        for (index, one) in tail.iter().enumerate() {
            scans.push(self.scan(one, expected_end(one, tail.get(index + 1)), false).await?);
        }
        // How much of each was durable: all, if a younger one says so, else what it says itself.
        let mut durable: Vec<u64> = scans.iter().map(|scan| scan.durable).collect();
        for index in (1..scans.len()).rev() {
            if scans[index].earlier_durable || durable[index] > 0 {
                durable[..index].fill(u64::MAX);
                break;
            }
        }
        let (mut keep, mut gone) = (Vec::new(), Vec::new());
        let mut is_cut = false;
        for ((one, scan), durable) in tail.iter().zip(scans).zip(durable) {
            let is_absent = one.header.is_none() && durable == 0;
            let (kept, cut) = match is_cut || is_absent {
                // Behind a cut, or never begun: nothing in it counts.
                true => (Kept::nothing(), (is_absent && !scan.entries.is_empty()).then_some(0)),
                false => self.judge(one, scan, durable),
            };
            if let Some(offset) = cut.filter(|_| !is_cut) {
                self.out.report.cut = Some((one.segment.seq, offset));
                is_cut = true;
            }
            if durable > 0 {
                self.note_header(one);
            }
            if kept.headers.is_empty() && !kept.damaged {
                gone.push(one);
            } else {
                keep.push((one, kept));
            }
        }
        // Before anything is sealed, the youngest first: a crash in between must find the cut
        // again, and nothing behind it. By its header each segment says how far the one before it
        // went, so without that one the cut would not show.
        for one in gone.into_iter().rev() {
            self.files.retire(one.segment.seq, one.segment.file_bytes).await?;
        }
        for (one, kept) in keep {
            // One that lost records gets no footer, and keeps what may still be of use.
            if !kept.damaged {
                clear_behind(one, &kept, !self.config.shows_damaged).await?;
            }
            self.seal(one, kept).await?;
        }
        Ok(())
    }

    async fn scan(
        &mut self,
        found: &Found,
        expected_end: Option<u64>,
        is_durable: bool,
    ) -> Result<Scan, OpenError> {
        let file: &dyn File = &*found.segment.file;
        self.out.report.segments_scanned += 1;
        let Segment { seq, file_bytes, .. } = *found.segment;
        Ok(Scan::run(file, seq, file_bytes, expected_end, is_durable).await?)
    }

    /// Sorts what a scan found: what is bad below `durable` is damage, the first bad place above it
    /// is the cut.
    fn judge(&mut self, found: &Found, scan: Scan, durable: u64) -> (Kept, Option<u64>) {
        let mut kept = Kept::nothing();
        kept.found_end = scan.entries.iter().map(Entry::end).fold(BLOCK_BYTES, u64::max);
        for entry in scan.entries {
            match entry {
                Entry::Good(header) => kept.headers.push(header),
                Entry::Damaged(header, what) if header.offset < durable => {
                    let span = header.span();
                    self.report(found, span.start, span.end, what);
                    if self.is_partial(what) {
                        kept.headers.push(header);
                    } else {
                        kept.damaged = true;
                    }
                }
                Entry::Damaged(header, _) => return (kept, Some(header.offset)),
                Entry::Bad { start, end, what } if start < durable => {
                    self.report(found, start, end, what);
                    kept.damaged = true;
                }
                Entry::Bad { start, .. } => return (kept, Some(start)),
            }
            kept.last_end = entry.end();
        }
        (kept, None)
    }

    /// Whether no record is missing where this is bad.
    fn is_partial(&self, what: Damage) -> bool {
        let has_all = match what {
            Damage::SegmentHeader | Damage::Footer | Damage::Table | Damage::Payload => true,
            Damage::RecordHeader | Damage::Missing => false,
        };
        self.config.shows_damaged && has_all
    }

    fn note_header(&mut self, found: &Found) {
        if found.header.is_none() {
            self.report(found, 0, BLOCK_BYTES, Damage::SegmentHeader);
        }
    }

    fn report(&mut self, found: &Found, offset: u64, end: u64, what: Damage) {
        let is_partial = self.is_partial(what);
        let RecoveryReport { corrupt, partial, .. } = &mut self.out.report;
        let places = if is_partial { partial } else { corrupt };
        places.push(Corruption { segment: found.segment.seq, offset, end, what });
    }

    /// Makes a scanned segment's records durable and final, then keeps it.
    async fn seal(&mut self, found: &Found, kept: Kept) -> Result<(), OpenError> {
        // One that lost records gets no footer: that is to be found again until its owner drops the
        // segment. Nor does one that lost its end, and with it the room for a footer. Bad payload
        // is found whenever it is read.
        let room = kept.end() + footer_bytes(kept.headers.len() as u64) <= found.segment.file_bytes;
        if !kept.damaged && room {
            let entries: Vec<u8> = kept.headers.iter().flat_map(StoredHeader::encode).collect();
            let segment = Arc::clone(&found.segment);
            let sealing = Sealing { segment, entries: entries.into(), end: kept.end() };
            found.segment.file.sync_data().await?;
            sealing.write_footer(0 < self.config.recycle_max).await?;
        } else if !kept.damaged {
            // Once a younger segment says that this one was whole, what was cut off would look like
            // something lost.
            let from = kept.headers.last().map_or(BLOCK_BYTES, |last| last.span().end);
            zero_fill(&*found.segment.file, from, found.segment.file_bytes.saturating_sub(from)).await?;
        }
        found.segment.file.sync_data().await?;
        self.keep(found, kept);
        Ok(())
    }

    /// Puts a segment into the table and shows its records.
    fn keep(&mut self, found: &Found, kept: Kept) {
        let segment = Arc::clone(&found.segment);
        for header in &kept.headers {
            segment.add_record(&header.span());
            (self.visitor)(&header.user, header.location());
        }
        segment.fill(kept.end() + footer_bytes(kept.headers.len() as u64));
        self.out.report.records += kept.headers.len() as u64;
        self.out.previous = (
            segment.seq,
            u32::try_from(kept.end() / BLOCK_BYTES).expect("files are at most SEGMENT_BYTES_MAX"),
        );
        segment.mark_sealed();
        self.out.segments.insert(segment.seq, segment);
    }
}

/// What was cut off goes for good, before anything says where the segment ends. Of a torn footer
/// only that may be left, or that there was one: then all before it was a record. Blocks of zeros
/// are left alone: they may have no room on a full disk.
async fn clear_behind(found: &Found, kept: &Kept, is_reused: bool) -> io::Result<()> {
    let Segment { file, file_bytes, .. } = &*found.segment;
    // Files that are not reused hold nothing else, and parts of a write that no record begins with
    // count as well.
    let end = if is_reused { kept.found_end } else { *file_bytes };
    let end = end.next_multiple_of(BLOCK_BYTES).min(*file_bytes);
    let mut at = kept.last_end;
    while at < end {
        let window_end = (at + SCAN_READ_BYTES).next_multiple_of(BLOCK_BYTES).min(end);
        let window = usize::try_from(window_end - at).expect("a window fits memory");
        let mut rest = &*file.read_at(at, window).await?;
        while !rest.is_empty() {
            let block_end = (at + 1).next_multiple_of(BLOCK_BYTES);
            let (block, behind) = rest.split_at(rest.len().min((block_end - at) as usize));
            if block.iter().any(|byte| *byte != 0) {
                zero_fill(&**file, at, block.len() as u64).await?;
            }
            (at, rest) = (block_end, behind);
        }
        at = window_end;
    }
    Ok(())
}

/// Where a segment's batches end, as the next segment says.
fn expected_end(found: &Found, next: Option<&Found>) -> Option<u64> {
    let header = next?.header?;
    let end = u64::from(header.previous_end_blocks) * BLOCK_BYTES;
    (header.previous_seq == found.segment.seq && end <= SEGMENT_BYTES_MAX).then_some(end)
}
