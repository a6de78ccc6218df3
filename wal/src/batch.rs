//! Lays records out for one write: headers, tables and padding in one buffer, payloads from where
//! they are. Pure.
//!
//! INVARIANT: a batch begins and ends at a block.

use bytes::{BufMut, Bytes, BytesMut};

use crate::format::footer::footer_bytes;
use crate::format::record::{Span, StoredHeader};
use crate::limits::{BLOCK_BYTES, PAYLOAD_COPIED_BYTES_MAX, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES};
use crate::queue::Summed;
use crate::record::Location;

/// A write being put together.
pub(crate) struct Batch {
    segment: u64,
    segment_bytes: u64,
    earlier_durable: bool,
    durable_blocks: u32,
    start: u64,
    /// Where the bytes so far end.
    at: u64,
    /// Record headers, for the footer.
    entries: Vec<u8>,
    /// Records the segment had before.
    records_before: u64,
    /// Bytes not yet handed over to `parts`.
    open: BytesMut,
    parts: Vec<Bytes>,
}

/// What the writer needs of a finished batch.
pub(crate) struct Laid {
    pub(crate) data: Vec<Bytes>,
    pub(crate) entries: Vec<u8>,
    /// Where the next batch begins.
    pub(crate) end: u64,
}

/// Where a batch goes and what is durable meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) start: u64,
    pub(crate) records_before: u64,
    pub(crate) earlier_durable: bool,
    pub(crate) durable_blocks: u32,
}

impl Batch {
    pub(crate) fn new(place: Place) -> Self {
        assert!(place.start.is_multiple_of(BLOCK_BYTES));
        assert!(u64::from(place.durable_blocks) * BLOCK_BYTES <= place.start);
        Self {
            segment: place.segment,
            segment_bytes: place.segment_bytes,
            earlier_durable: place.earlier_durable,
            durable_blocks: place.durable_blocks,
            start: place.start,
            at: place.start,
            entries: Vec::new(),
            records_before: place.records_before,
            open: BytesMut::new(),
            parts: Vec::new(),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.at - self.start
    }

    /// Whether a payload of this length still fits the segment, its place in the footer included.
    pub(crate) fn fits(&self, payload_len: u32) -> bool {
        let span = Span::of(self.at.next_multiple_of(RECORD_ALIGN_BYTES), payload_len);
        let records = self.records_before + (self.entries.len() / RECORD_HEADER_BYTES) as u64 + 1;
        span.end.next_multiple_of(BLOCK_BYTES) + footer_bytes(records) <= self.segment_bytes
    }

    /// Adds a record that fits.
    pub(crate) fn push(&mut self, record: Summed) -> (Location, Span) {
        self.pad_to(self.at.next_multiple_of(RECORD_ALIGN_BYTES));
        let header = StoredHeader {
            user: record.header,
            segment: self.segment,
            offset: self.at,
            earlier_durable: self.earlier_durable,
            durable_blocks: self.durable_blocks,
            table_crc: record.table_crc,
        };
        let (span, encoded) = (header.span(), header.encode());
        assert!(record.table.len() == span.table_bytes);
        self.entries.extend_from_slice(&encoded);
        self.put(&encoded);
        self.put(&record.table);
        self.pad_to(span.payload);
        for buffer in record.payload {
            if buffer.len() <= PAYLOAD_COPIED_BYTES_MAX {
                self.put(&buffer);
            } else {
                self.close_open();
                self.at += buffer.len() as u64;
                self.parts.push(buffer);
            }
        }
        assert!(self.at == span.payload + u64::from(record.header.payload_len));
        (header.location(), span)
    }

    /// Pads to a block and hands everything over.
    pub(crate) fn finish(mut self) -> Laid {
        self.pad_to(self.at.next_multiple_of(BLOCK_BYTES));
        self.close_open();
        Laid { data: self.parts, entries: self.entries, end: self.at }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
    }

    fn pad_to(&mut self, end: u64) {
        let zeros = usize::try_from(end - self.at).expect("less than a block");
        self.open.put_bytes(0, zeros);
        self.at = end;
    }

    fn close_open(&mut self) {
        if !self.open.is_empty() {
            self.parts.push(self.open.split().freeze());
        }
    }
}
