//! Log segments built from a script: right where the script says nothing, wrong where it does.
//!
//! Bytes thrown at a log die at the first checksum. Here each structure of docs/formats/record.md
//! is written with checksums that are right over fields that are not, so that everything behind the
//! checksums is reached. Written from that page, not with the log's own code.
//!
//! Script: steps of four bytes (what, and three numbers), some followed by bytes.

use crc_fast::{CrcAlgorithm, checksum};

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;
/// Id of the store whose log is forged.
pub(super) const STORE_ID: [u8; 16] = [7; 16];
/// Size of a segment's file if nothing else is said: small, so that a run is quick.
pub(super) const SEGMENT_BYTES: usize = 16 * BLOCK;
/// No file becomes longer.
const FILE_BYTES_MAX: usize = 64 * BLOCK;
/// Numbers of segments that are far from their end.
const SEQ_USUAL_MAX: u64 = 1 << 62;
/// Segments of one script.
const SEGMENTS_MAX: usize = 6;

const PAYLOAD_ALIGNED_BYTES_MIN: usize = 32 * 1024;
/// Bytes of a record's header, of an entry of a footer, and of its trailer.
pub(super) const HEADER_BYTES: usize = 64;

/// A file of the log's directory.
#[derive(Debug)]
pub(super) struct Forged {
    /// Its name.
    pub(super) name: String,
    /// Its content, from the start.
    pub(super) bytes: Vec<u8>,
    /// It has room for a footer, and its number leaves room for those of others, as with every
    /// segment of a log.
    pub(super) whole: bool,
    /// It ends with a footer.
    sealed: bool,
    /// Its number.
    pub(super) seq: u64,
    headers: Vec<[u8; HEADER_BYTES]>,
}

/// What the user's fields of a record are, from a record's three numbers and the bytes behind them.
pub(super) struct Fields {
    pub(super) kind: u8,
    pub(super) role: u8,
    pub(super) stream: u64,
    pub(super) sub: u32,
    pub(super) epoch: u64,
    pub(super) position: u64,
}

/// Reads a script.
pub(super) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn step(&mut self) -> Option<[u8; 4]> {
        let (step, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*step)
    }

    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    pub(super) fn u64(&mut self) -> u64 {
        let mut word = [0; 8];
        let taken = self.take(8);
        word[..taken.len()].copy_from_slice(taken);
        u64::from_be_bytes(word)
    }
}

/// CRC-32C as it lies on disk.
pub(super) fn crc(bytes: &[u8]) -> [u8; 4] {
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).expect("a CRC of 32 bits").to_be_bytes()
}

/// Builds what the script says. `fields` makes a record's fields from its step and up to sixteen
/// bytes behind it.
pub(super) fn forge(script: &mut Script<'_>, fields: impl Fn([u8; 4], u64, u64) -> Fields) -> Vec<Forged> {
    let mut files: Vec<Forged> = Vec::new();
    while let Some(step) = script.step() {
        let [what, a, b, c] = step;
        if what % 8 == 0 || files.is_empty() {
            if files.len() == SEGMENTS_MAX {
                break;
            }
            let before = files.last().map(|file| (file.seq, file.bytes.len() / BLOCK));
            files.push(Forged::segment(before, script, a, b, c));
        }
        let file = files.last_mut().expect("one was just pushed");
        match what % 8 {
            1 | 2 => {
                let (one, other) = if c & 1 == 0 { (0, 0) } else { (script.u64(), script.u64()) };
                let fields = fields(step, one, other);
                let payload = payload(script, b, c);
                file.record(&fields, &payload, c, what % 8 == 2);
            }
            3 => file.pad(BLOCK),
            4 => file.append(script.take(usize::from(a))),
            5 => file.footer(a, b),
            6 => file.alter(a, b, c),
            7 => {
                file.bytes.resize(usize::from(a % 65) * BLOCK + usize::from(b) * usize::from(c & 1), 0);
                file.whole = false;
            }
            _ => {}
        }
    }
    files.iter_mut().for_each(Forged::fill);
    files
}

/// A payload of bytes of the script, or a long one that takes few of it.
fn payload(script: &mut Script<'_>, length: u8, mode: u8) -> Vec<u8> {
    if mode & 2 == 0 {
        script.take(usize::from(length)).to_vec()
    } else {
        vec![length; usize::from(length) * 256]
    }
}

impl Forged {
    /// A segment's file with this content.
    pub(super) fn raw(bytes: &[u8]) -> Self {
        Self::named(&format!("seg-{:016x}.wal", 1), bytes.to_vec())
    }

    /// A file that is no segment.
    pub(super) fn named(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), bytes, whole: false, sealed: false, seq: 1, headers: Vec::new() }
    }

    /// Gives the file its full size.
    fn fill(&mut self) {
        if self.whole && !self.sealed {
            let room = ((self.headers.len() + 1) * HEADER_BYTES).next_multiple_of(BLOCK);
            let size = self.bytes.len().next_multiple_of(BLOCK) + room;
            self.bytes.resize(size.max(SEGMENT_BYTES), 0);
        }
    }

    fn segment(before: Option<(u64, usize)>, script: &mut Script<'_>, a: u8, b: u8, c: u8) -> Self {
        let seq = if a & 1 == 0 {
            before.map_or(1, |(seq, _)| seq.wrapping_add(u64::from(b % 4) + 1))
        } else {
            script.u64()
        };
        let (previous, previous_blocks) = before.unwrap_or((0, 0));
        let named = if a & 2 == 0 { seq } else { u64::from(c) };
        let mut head = Vec::with_capacity(BLOCK);
        head.extend_from_slice(b"SHOALWAL");
        head.extend_from_slice(&[0, if a & 4 == 0 { 1 } else { c }]);
        head.extend_from_slice(&[0; 6]);
        head.extend_from_slice(&if a & 8 == 0 { STORE_ID } else { [c; 16] });
        head.extend_from_slice(&named.to_be_bytes());
        head.extend_from_slice(&(SEGMENT_BYTES as u64).to_be_bytes());
        head.extend_from_slice(&if a & 16 == 0 { previous } else { u64::from(b) }.to_be_bytes());
        let end = u32::try_from(previous_blocks).expect("files are short").wrapping_sub(u32::from(c % 8));
        head.extend_from_slice(&if a & 32 == 0 { end } else { u32::from(c) << 8 }.to_be_bytes());
        let sum = crc(&head);
        head.extend_from_slice(&sum);
        head.resize(BLOCK, 0);
        if a & 64 != 0 {
            head.fill(0);
        }
        let kind = if a & 128 == 0 { "seg" } else { "free" };
        Self {
            name: format!("{kind}-{seq:016x}.wal"),
            bytes: head,
            whole: seq < SEQ_USUAL_MAX,
            sealed: false,
            seq,
            headers: Vec::new(),
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() <= FILE_BYTES_MAX {
            self.bytes.extend_from_slice(bytes);
            self.sealed = false;
        }
    }

    fn pad(&mut self, to: usize) {
        let padded = self.bytes.len().next_multiple_of(to);
        self.bytes.resize(padded.min(FILE_BYTES_MAX), 0);
    }

    /// Writes a record; `claims` lets it name a payload length, offset or durable end that is not
    /// so.
    fn record(&mut self, fields: &Fields, payload: &[u8], mode: u8, claims: bool) {
        self.pad(8);
        let length = u32::try_from(payload.len()).expect("payloads are short");
        let lie = if claims { u32::from(mode >> 4) } else { 0 };
        let table: Vec<u8> = payload.chunks(BLOCK).flat_map(crc).collect();
        let units = u32::try_from(self.bytes.len() / 8).expect("files are short");
        let durable = u32::try_from(self.bytes.len() / BLOCK).expect("files are short");
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(b"WREC");
        header.extend_from_slice(&[1, fields.kind, fields.role, (mode >> 2) & 1]);
        for number in [fields.stream, fields.epoch, fields.position, self.seq] {
            header.extend_from_slice(&number.to_be_bytes());
        }
        header.extend_from_slice(&fields.sub.to_be_bytes());
        let length = if lie & 1 == 0 { length } else { length.wrapping_add(lie << 20) };
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&if lie & 2 == 0 { units } else { units ^ lie }.to_be_bytes());
        let durable = if mode & 8 == 0 { 0 } else { durable };
        header.extend_from_slice(&if lie & 4 == 0 { durable } else { u32::MAX - lie }.to_be_bytes());
        header.extend_from_slice(&crc(&table));
        let sum = crc(&header);
        header.extend_from_slice(&sum);
        self.append(&header);
        self.append(&table);
        if PAYLOAD_ALIGNED_BYTES_MIN <= payload.len() {
            self.pad(BLOCK);
        }
        self.append(payload);
        self.headers.push(header.try_into().expect("sixty-four bytes"));
    }

    /// Ends the file with a footer over the records so far; the numbers change what it says.
    fn footer(&mut self, a: u8, b: u8) {
        self.pad(BLOCK);
        let end = u32::try_from(self.bytes.len() / BLOCK).expect("files are short");
        let skipped = usize::from(a & 3).min(self.headers.len());
        let entries = self.headers[skipped..].concat();
        let count = u32::try_from(self.headers.len() - skipped).expect("files are short");
        let footer = (entries.len() + HEADER_BYTES).next_multiple_of(BLOCK);
        let size = SEGMENT_BYTES.max(self.bytes.len() + footer);
        self.bytes.resize(size - footer, 0);
        let mut trailer = Vec::with_capacity(HEADER_BYTES);
        trailer.extend_from_slice(b"WFTR");
        trailer.extend_from_slice(&[0, 1, 0, 0]);
        trailer.extend_from_slice(&self.seq.to_be_bytes());
        trailer.extend_from_slice(&if a & 4 == 0 { count } else { count + u32::from(b) }.to_be_bytes());
        trailer.extend_from_slice(&if a & 8 == 0 { end } else { u32::from(b) }.to_be_bytes());
        trailer.extend_from_slice(&crc(&entries));
        trailer.extend_from_slice(&[0; 32]);
        let sum = crc(&trailer);
        trailer.extend_from_slice(&sum);
        self.bytes.extend_from_slice(&entries);
        self.bytes.resize(size - HEADER_BYTES, 0);
        self.bytes.extend_from_slice(&trailer);
        self.sealed = true;
    }

    /// Changes one byte.
    fn alter(&mut self, a: u8, b: u8, c: u8) {
        let at = usize::from(u16::from_be_bytes([a, b]));
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte ^= c;
        }
    }
}

/// A script: two segments with records, the first with its footer.
pub(super) fn script(records: &[([u8; 4], &[u8])]) -> Vec<u8> {
    let records: Vec<u8> = records.iter().flat_map(|(step, bytes)| [&step[..], bytes].concat()).collect();
    let pad = [3, 0, 0, 0];
    let footer = [5, 0, 0, 0];
    [&[0, 0, 0, 0][..], &records, &pad, &footer, &[0, 0, 0, 0], &records, &pad].concat()
}
