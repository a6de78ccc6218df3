//! Extents: a file cut at every multiple of 64 MiB.
//!
//! Says which extent a byte is in, and cuts a range at the boundaries. Does not know whether an
//! extent exists.
//!
//! INVARIANT: offsets here are offsets in the file, on metadata and data servers alike (sparse, RFC
//! 8435 §6).
//! Spec: RFC 8435 §6.

use serde::{Deserialize, Serialize};

use crate::limits::{EXTENT_BYTES, FILE_BYTES_MAX};

/// One extent of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExtentId {
    /// Inode number of the file.
    pub ino: u64,
    /// Which extent: the byte offset divided by [`EXTENT_BYTES`].
    pub index: u32,
}

impl ExtentId {
    /// The extent that holds a byte of a file; `None` at or behind [`FILE_BYTES_MAX`].
    ///
    /// # Units
    /// `offset` counts bytes from the start of the file.
    #[must_use]
    pub fn of(ino: u64, offset: u64) -> Option<Self> {
        let index = u32::try_from(offset / EXTENT_BYTES).ok()?;
        let extent = Self { ino, index };
        debug_assert!(extent.contains(offset, 1), "the extent holds the byte that it was found by");
        Some(extent)
    }

    /// The first byte of the file that is in this extent.
    ///
    /// # Units
    /// Bytes from the start of the file.
    #[must_use]
    pub fn first_byte(self) -> u64 {
        u64::from(self.index) * EXTENT_BYTES
    }

    /// One past the last byte of the file that is in this extent.
    ///
    /// # Units
    /// Bytes from the start of the file.
    #[must_use]
    pub fn end_byte(self) -> u64 {
        self.first_byte() + EXTENT_BYTES
    }

    /// Whether every byte of a range of the file is in this extent. An empty range may also stand
    /// at its end.
    #[must_use]
    pub fn contains(self, offset: u64, len: u64) -> bool {
        match offset.checked_add(len) {
            Some(end) => self.first_byte() <= offset && end <= self.end_byte(),
            None => false,
        }
    }
}

impl std::fmt::Display for ExtentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ino, self.index)
    }
}

/// Cuts a range of a file at extent boundaries: (extent, offset in the file, length), ascending.
///
/// Bytes at or behind [`FILE_BYTES_MAX`] are in no extent and in no piece: the writer checks
/// that first.
#[must_use]
pub fn pieces(ino: u64, offset: u64, len: u64) -> Pieces {
    Pieces { ino, offset, end: offset.saturating_add(len).min(FILE_BYTES_MAX) }
}

/// What [`pieces`] yields.
#[derive(Clone, Debug)]
pub struct Pieces {
    ino: u64,
    offset: u64,
    end: u64,
}

impl Iterator for Pieces {
    type Item = (ExtentId, u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.end <= self.offset {
            return None;
        }
        let extent = ExtentId::of(self.ino, self.offset)?;
        let offset = self.offset;
        let end = extent.end_byte().min(self.end);
        assert!(offset < end, "a piece has bytes");
        self.offset = end;
        Some((extent, offset, end - offset))
    }
}

#[cfg(test)]
mod tests;
