//! A row of the table: a target, its seeds, and the memory that a run may allocate.
//!
//! Each target's file fills one in; `target` lists them.

use crate::allocation::Peak;

/// What a target may allocate, as a function of its input's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// A single allocation has at most so many bytes for each byte of input,
    pub single_bytes_per_byte: usize,
    /// and so many more.
    pub single_bytes: usize,
    /// All together have at most so many bytes for each byte of input,
    pub live_bytes_per_byte: usize,
    /// and so many more.
    pub live_bytes: usize,
}

impl MemoryBound {
    /// What a decoder may allocate unless its row says otherwise: a list reserves at most
    /// [`wire_xdr::LIST_RESERVE_MAX`] elements before it has read them, and a value in memory is
    /// not much larger than on the wire.
    pub const DECODER: Self = Self {
        single_bytes_per_byte: 16,
        single_bytes: 64 * 1024,
        live_bytes_per_byte: 32,
        live_bytes: 128 * 1024,
    };

    /// The bound for an input of this length.
    #[must_use]
    pub const fn of(&self, input_bytes: usize) -> Peak {
        Peak {
            single_bytes: self.single_bytes_per_byte * input_bytes + self.single_bytes,
            live_bytes: self.live_bytes_per_byte * input_bytes + self.live_bytes,
        }
    }
}

/// What inputs look like, so that mutations fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Words of four bytes, as XDR has them.
    Words,
    /// Bytes.
    Bytes,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// On the command line, and as a folder of `regression/`.
    pub name: &'static str,
    /// What it drives.
    pub about: &'static str,
    /// Drives it; says how many messages or values were valid.
    pub run: fn(&[u8]) -> usize,
    /// Inputs in which something is valid.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What inputs look like.
    pub shape: Shape,
    /// What a run may allocate.
    pub bound: MemoryBound,
    /// Longest input worth trying.
    pub input_bytes_max: usize,
}
