//! Reads segment files as they are, damaged or not, and never writes: what is there, and what is
//! wrong with it.
//!
//! The log engine stops or cuts where something is wrong; an inspector must show it and go on. So
//! this reads the format itself, straight from its document, which also keeps the document honest.
//!
//! INVARIANT: no byte of a file is trusted; every read is bounded by a checked length.
//! Spec: docs/formats/record.md.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use crc_fast::{CrcAlgorithm, checksum};
use wal::RecordHeader;
use wal::limits::{
    BLOCK_BYTES, PAYLOAD_ALIGNED_BYTES_MIN, PAYLOAD_BYTES_MAX, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES,
    SCAN_GAP_BYTES, SEGMENT_BYTES_MAX,
};

const VERSION: u8 = 1;
const FIELD_BYTES: usize = 64;
const TRAILER_BYTES: u64 = 64;
/// What a scan reads at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// A record that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Of its header, in the segment's file.
    pub(super) offset: u64,
    pub(super) header: RecordHeader,
    table_crc: u32,
}

/// What a walk through a segment comes across.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A record with a good header.
    Record(Found),
    /// Something else where a record should be.
    Bad {
        /// Where.
        offset: u64,
        /// What.
        what: String,
    },
}

/// How a record's checksums came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Table and payload are right.
    Ok,
    /// What is wrong, and from which byte of the file on.
    Bad {
        /// Where.
        offset: u64,
        /// What.
        what: &'static str,
    },
}

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its file.
    pub(super) path: PathBuf,
    /// The number in its name.
    pub(super) seq: u64,
    file: File,
    bytes: u64,
}

/// The segment files of a directory, oldest first.
///
/// # Errors
/// If the directory cannot be read, or holds none.
pub(super) fn list(dir: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut segments: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((sequence(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    segments.sort_unstable();
    if segments.is_empty() {
        let example = "expected for example DIR/ds/1/journal or DIR/mds/1/log";
        anyhow::bail!("{}: no segment files (seg-<number>.wal) here; {example}", dir.display());
    }
    Ok(segments)
}

fn sequence(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".wal")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

impl Segment {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(seq: u64, path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len().min(SEGMENT_BYTES_MAX);
        Ok(Self { path, seq, file, bytes })
    }

    /// Shows every record and every bad place, in order.
    ///
    /// # Errors
    /// What the system says; damage is a [`Finding`].
    pub(super) fn walk(&self, visit: &mut dyn FnMut(Finding)) -> io::Result<()> {
        match self.header()? {
            Header::Good => {}
            Header::Bad(what) => visit(Finding::Bad { offset: 0, what }),
            // A file made ready, or left over from an earlier use: it holds nothing yet.
            Header::Unused => return Ok(()),
        }
        match self.footer()? {
            Footer::Whole(headers) => headers.into_iter().for_each(|found| visit(Finding::Record(found))),
            Footer::Bad { offset, what } => {
                visit(Finding::Bad { offset, what: what.to_owned() });
                self.scan(visit)?;
            }
            Footer::Absent => self.scan(visit)?,
        }
        Ok(())
    }

    fn header(&self) -> io::Result<Header> {
        let bytes = self.read(0, FIELD_BYTES as u64)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Header::Unused);
        }
        let bad = |what: &str| Ok(Header::Bad(what.to_owned()));
        let Some(fields) = bytes.get(..FIELD_BYTES) else {
            return bad("the file is shorter than a segment header");
        };
        if fields[..8] != *b"SHOALWAL" {
            return bad("no segment header");
        }
        if crc32c(&fields[..60]) != u32_at(fields, 60) {
            return bad("segment header checksum BAD");
        }
        let version = u16::from_be_bytes([fields[8], fields[9]]);
        if version != u16::from(VERSION) {
            return Ok(Header::Bad(format!("segment version {version} is not known")));
        }
        Ok(if u64_at(fields, 32) == self.seq { Header::Good } else { Header::Unused })
    }

    /// The footer of a sealed segment: the headers of all its records.
    fn footer(&self) -> io::Result<Footer> {
        let Some(at) = self.bytes.checked_sub(TRAILER_BYTES) else { return Ok(Footer::Absent) };
        let trailer = self.read(at, TRAILER_BYTES)?;
        let of_this =
            trailer.len() == FIELD_BYTES && trailer[..4] == *b"WFTR" && u64_at(&trailer, 8) == self.seq;
        if !of_this {
            return Ok(Footer::Absent);
        }
        let bad = |offset, what| Ok(Footer::Bad { offset, what });
        if crc32c(&trailer[..60]) != u32_at(&trailer, 60) {
            return bad(at, "footer trailer checksum BAD");
        }
        let entries_bytes = u64::from(u32_at(&trailer, 16)) * RECORD_HEADER_BYTES as u64;
        let footer_bytes = (entries_bytes + TRAILER_BYTES).next_multiple_of(BLOCK_BYTES);
        let Some(start) = self.bytes.checked_sub(footer_bytes) else {
            return bad(at, "footer is longer than the file");
        };
        let entries = self.read(start, entries_bytes)?;
        if crc32c(&entries) != u32_at(&trailer, 24) {
            return bad(start, "footer checksum BAD");
        }
        let headers = entries.chunks_exact(RECORD_HEADER_BYTES).map(|bytes| decode(bytes, self.seq));
        match headers.collect::<Option<Vec<_>>>() {
            Some(headers) => Ok(Footer::Whole(headers)),
            None => bad(start, "footer holds something that is no record header"),
        }
    }

    /// Goes from record to record; where none is, on to the next block, as far as an unfinished
    /// write may reach.
    fn scan(&self, visit: &mut dyn FnMut(Finding)) -> io::Result<()> {
        let mut window = Window { segment: self, start: 0, bytes: Vec::new() };
        let mut at = BLOCK_BYTES;
        let mut lost: Option<Lost> = None;
        while at < self.bytes && lost.as_ref().is_none_or(|lost| at - lost.from < SCAN_GAP_BYTES) {
            let bytes = window.at(at)?;
            if let Some(found) = decode(bytes, self.seq).filter(|found| found.offset == at) {
                if let Some(Lost { from, .. }) = lost.take() {
                    visit(Finding::Bad { offset: from, what: format!("no record in {} bytes", at - from) });
                }
                visit(Finding::Record(found));
                at = Span::of(&found).end;
                continue;
            }
            let was_header = looks_like_header(bytes, self.seq);
            if at.is_multiple_of(BLOCK_BYTES) || was_header {
                lost.get_or_insert(Lost { from: at, was_header });
            }
            // Behind the last record of a batch are zeros to the next block.
            at = (at + 1).next_multiple_of(BLOCK_BYTES);
        }
        if let Some(Lost { from, was_header: true }) = lost {
            visit(Finding::Bad {
                offset: from,
                what: "record header BAD: damaged, or never finished".to_owned(),
            });
        }
        Ok(())
    }

    /// Checks a record's table and payload.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn verify(&self, found: &Found) -> io::Result<Verdict> {
        let (span, length) = (Span::of(found), u64::from(found.header.payload_len));
        let stored = self.read(found.offset, RECORD_HEADER_BYTES as u64)?;
        if decode(&stored, self.seq) != Some(*found) {
            return Ok(Verdict::Bad { offset: found.offset, what: "header" });
        }
        let table = self.read(span.table, span.table_bytes)?;
        if table.len() as u64 != span.table_bytes || crc32c(&table) != found.table_crc {
            return Ok(Verdict::Bad { offset: span.table, what: "table" });
        }
        let payload = self.read(span.payload, length)?;
        if payload.len() as u64 != length {
            return Ok(Verdict::Bad { offset: span.payload, what: "length" });
        }
        let blocks = payload.chunks(BLOCK_BYTES as usize).zip(table.chunks_exact(4));
        let bad = blocks.enumerate().find(|(_, (block, crc))| crc32c(block).to_be_bytes() != **crc);
        Ok(bad.map_or(Verdict::Ok, |(index, _)| Verdict::Bad {
            offset: span.payload + index as u64 * BLOCK_BYTES,
            what: "data",
        }))
    }

    /// A record's payload, unverified.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn payload(&self, found: &Found) -> io::Result<Vec<u8>> {
        self.read(Span::of(found).payload, u64::from(found.header.payload_len))
    }

    /// Reads what is there of a range. `length` is bounded by the caller.
    fn read(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = length.min(self.bytes.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

enum Header {
    Good,
    Bad(String),
    Unused,
}

enum Footer {
    Whole(Vec<Found>),
    Bad { offset: u64, what: &'static str },
    Absent,
}

/// Where a scan lost its way.
struct Lost {
    from: u64,
    /// A record of this segment seems to have begun there.
    was_header: bool,
}

/// A part of the file in memory, moved on when a place outside is asked for.
struct Window<'a> {
    segment: &'a Segment,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes of a record header at `at`; fewer where the file ends.
    fn at(&mut self, at: u64) -> io::Result<&[u8]> {
        let end = (at + RECORD_HEADER_BYTES as u64).min(self.segment.bytes);
        if at < self.start || self.start + (self.bytes.len() as u64) < end {
            self.start = at;
            self.bytes = self.segment.read(at, WINDOW_BYTES)?;
        }
        let from = usize::try_from(at - self.start).map_err(io::Error::other)?;
        Ok(&self.bytes[from..(from + RECORD_HEADER_BYTES).min(self.bytes.len())])
    }
}

/// Where the parts of a record lie in the file.
struct Span {
    table: u64,
    table_bytes: u64,
    payload: u64,
    end: u64,
}

impl Span {
    fn of(found: &Found) -> Self {
        let length = found.header.payload_len;
        let table = found.offset + RECORD_HEADER_BYTES as u64;
        let table_bytes = 4 * u64::from(length).div_ceil(BLOCK_BYTES);
        let mut payload = table + table_bytes;
        if PAYLOAD_ALIGNED_BYTES_MIN <= length as usize {
            payload = payload.next_multiple_of(BLOCK_BYTES);
        }
        let end = (payload + u64::from(length)).next_multiple_of(RECORD_ALIGN_BYTES);
        Self { table, table_bytes, payload, end }
    }
}

/// A record header; `None` unless it is whole, of our version, and of this segment.
fn decode(bytes: &[u8], seq: u64) -> Option<Found> {
    let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
    let payload_len = u32_at(bytes, 44);
    let known = bytes[..4] == *b"WREC"
        && crc32c(&bytes[..60]) == u32_at(bytes, 60)
        && bytes[4] == VERSION
        && u64_at(bytes, 32) == seq
        && payload_len as usize <= PAYLOAD_BYTES_MAX;
    known.then(|| Found {
        offset: u64::from(u32_at(bytes, 48)) * RECORD_ALIGN_BYTES,
        header: RecordHeader {
            kind: bytes[5],
            role: bytes[6],
            stream: u64_at(bytes, 8),
            sub: u32_at(bytes, 40),
            epoch: u64_at(bytes, 16),
            position: u64_at(bytes, 24),
            payload_len,
        },
        table_crc: u32_at(bytes, 56),
    })
}

/// Bytes that were meant to be a record header of this segment, whatever became of the rest.
fn looks_like_header(bytes: &[u8], seq: u64) -> bool {
    RECORD_HEADER_BYTES <= bytes.len() && bytes[..4] == *b"WREC" && u64_at(bytes, 32) == seq
}

fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a CRC-32C has 32 bits")
}

/// Reads a number at a place the caller has checked to be there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// As [`u32_at`].
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
