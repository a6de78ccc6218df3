//! Builds an XDR message as a rope: small values gather in a buffer, large payloads are spliced in
//! between untouched.
//!
//! A reply is often written before its outcome is known, so the writer can go back: [`Slot`]
//! patches a number that stands further ahead, [`Mark`] drops everything written since.
//!
//! INVARIANT: `closed_bytes` is the sum of the pieces' lengths; no piece is empty; a slot's four
//! bytes lie in one piece.
//! Spec: RFC 4506 §4.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{SPLICE_BYTES_MIN, padding};

const ZEROS: [u8; 4] = [0; 4];
const FIRST_RESERVE_BYTES: usize = 256;

/// A message being written.
#[derive(Debug, Default)]
pub struct Writer {
    pieces: Vec<Piece>,
    closed_bytes: usize,
    tail: BytesMut,
}

#[derive(Debug)]
enum Piece {
    /// Written by us: still patchable.
    Own(BytesMut),
    /// A payload of the caller's.
    Spliced(Bytes),
}

/// Four bytes that were reserved to be filled in later. Good for the writer that gave it, until
/// that is truncated below it or appended to another.
#[derive(Debug, Clone, Copy)]
#[must_use = "a slot that is never patched stays zero"]
pub struct Slot {
    offset: usize,
}

/// A place to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    len: usize,
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Spliced(bytes) => bytes.len(),
        }
    }
}

impl Writer {
    /// An empty message.
    pub fn new() -> Self {
        Self::with_capacity(FIRST_RESERVE_BYTES)
    }

    /// An empty message with room for `bytes` bytes that are not spliced.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { pieces: Vec::new(), closed_bytes: 0, tail: BytesMut::with_capacity(bytes) }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.closed_bytes + self.tail.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes an unsigned integer (RFC 4506 §4.2).
    pub fn u32(&mut self, value: u32) {
        self.tail.put_u32(value);
    }

    /// Writes an integer (RFC 4506 §4.1).
    pub fn i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    /// Writes an unsigned hyper integer (RFC 4506 §4.5).
    pub fn u64(&mut self, value: u64) {
        self.tail.put_u64(value);
    }

    /// Writes a hyper integer (RFC 4506 §4.5).
    pub fn i64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    /// Writes a boolean (RFC 4506 §4.4).
    pub fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// Writes the number of elements of an array, or of bytes of an opaque.
    ///
    /// # Panics
    /// If it does not fit 32 bits: no message of ours comes near.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("a message has fewer than 2^32 bytes"));
    }

    /// Writes opaque data of fixed length, and its padding (RFC 4506 §4.9).
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.raw(bytes);
        self.raw(&ZEROS[..padding(bytes.len())]);
    }

    /// Writes opaque data of variable length by copying it: length, bytes, padding (RFC 4506
    /// §4.10).
    pub fn opaque(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.fixed(bytes);
    }

    /// Writes opaque data of variable length; from [`SPLICE_BYTES_MIN`] bytes on without copying
    /// it.
    pub fn opaque_bytes(&mut self, bytes: Bytes) {
        let len = bytes.len();
        self.count(len);
        self.raw_bytes(bytes);
        self.raw(&ZEROS[..padding(len)]);
    }

    /// Writes a string (RFC 4506 §4.11).
    pub fn string(&mut self, text: &str) {
        self.opaque(text.as_bytes());
    }

    /// Writes bytes as they are: they must be well-formed XDR already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Writes bytes as they are; from [`SPLICE_BYTES_MIN`] bytes on without copying them.
    pub fn raw_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < SPLICE_BYTES_MIN {
            return self.raw(&bytes);
        }
        self.close_tail();
        self.push(Piece::Spliced(bytes));
    }

    /// Writes a zero that [`patch_u32`](Self::patch_u32) fills in later.
    pub fn reserve_u32(&mut self) -> Slot {
        let offset = self.len();
        self.u32(0);
        Slot { offset }
    }

    /// Fills in a reserved number.
    ///
    /// # Panics
    /// If the slot is not this writer's, or was truncated away.
    pub fn patch_u32(&mut self, slot: Slot, value: u32) {
        let bytes = value.to_be_bytes();
        if self.closed_bytes <= slot.offset {
            let at = slot.offset - self.closed_bytes;
            self.tail[at..at + 4].copy_from_slice(&bytes);
            return;
        }
        let mut start = 0;
        for piece in &mut self.pieces {
            let at = slot.offset - start;
            start += piece.len();
            if slot.offset < start {
                match piece {
                    Piece::Own(own) => own[at..at + 4].copy_from_slice(&bytes),
                    Piece::Spliced(_) => panic!("the slot is of another writer"),
                }
                return;
            }
        }
    }

    /// The present end, to come back to.
    pub fn mark(&self) -> Mark {
        Mark { len: self.len() }
    }

    /// Drops everything written since `mark`.
    ///
    /// # Panics
    /// If the mark lies beyond the end.
    pub fn truncate_to(&mut self, mark: Mark) {
        assert!(mark.len <= self.len(), "the mark was truncated away");
        if self.closed_bytes <= mark.len {
            self.tail.truncate(mark.len - self.closed_bytes);
            return;
        }
        self.tail.clear();
        while let Some(piece) = self.pieces.pop() {
            let len = piece.len();
            self.closed_bytes -= len;
            let Some(keep) = mark.len.checked_sub(self.closed_bytes) else { continue };
            match piece {
                Piece::Own(mut own) => {
                    own.truncate(keep);
                    self.tail = own;
                }
                Piece::Spliced(mut bytes) if 0 < keep => {
                    bytes.truncate(keep);
                    self.push(Piece::Spliced(bytes));
                }
                Piece::Spliced(_) => {}
            }
            break;
        }
        assert_eq!(self.len(), mark.len);
    }

    /// Writes what another writer holds; its payloads stay spliced.
    pub fn append(&mut self, other: Self) {
        if other.pieces.is_empty() && other.tail.len() < SPLICE_BYTES_MIN {
            return self.raw(&other.tail);
        }
        self.close_tail();
        for piece in other.pieces {
            self.push(piece);
        }
        self.tail = other.tail;
    }

    /// Ends the message: its segments in order, none of them empty.
    pub fn into_segments(mut self) -> Vec<Bytes> {
        self.close_tail();
        let freeze = |piece| match piece {
            Piece::Own(bytes) => BytesMut::freeze(bytes),
            Piece::Spliced(bytes) => bytes,
        };
        self.pieces.into_iter().map(freeze).collect()
    }

    /// Ends the message as one run of bytes: copies unless it has one segment.
    pub fn into_bytes(self) -> Bytes {
        let len = self.len();
        let mut segments = self.into_segments();
        if segments.len() == 1 {
            return segments.remove(0);
        }
        let mut all = BytesMut::with_capacity(len);
        segments.iter().for_each(|segment| all.extend_from_slice(segment));
        all.freeze()
    }

    /// A copy of the message so far as one run of bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.len());
        for piece in &self.pieces {
            match piece {
                Piece::Own(bytes) => all.extend_from_slice(bytes),
                Piece::Spliced(bytes) => all.extend_from_slice(bytes),
            }
        }
        all.extend_from_slice(&self.tail);
        all.freeze()
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            // What room is left behind the split serves the next small values.
            let own = self.tail.split();
            self.push(Piece::Own(own));
        }
    }

    fn push(&mut self, piece: Piece) {
        assert!(0 < piece.len());
        self.closed_bytes += piece.len();
        self.pieces.push(piece);
    }
}

#[cfg(test)]
mod tests;
