//! Checksums of an image: one for each block of 64 KiB, and one for all of it that covers them.
//!
//! BLAKE3 is a tree, and a block is a whole subtree of it. So the blocks' checksums are the tree's
//! chaining values, hashing once gives them and the sum of the whole, and a reader that knows the
//! sum can check a list of blocks, and with the list any block, without reading the others.
//!
//! INVARIANT: a [`Sums`] has been checked against, or has made, its sum.
//! Spec: docs/formats/group.md §4; the BLAKE3 paper §2.1 (tree), §2.4 (chaining values).

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

use crate::limits::{BLOCK_BYTES, IMAGE_BYTES_MAX};

/// Bytes of a checksum.
pub const SUM_BYTES: usize = 32;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// BLAKE3 of all bytes of an image's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageSum(pub [u8; SUM_BYTES]);

impl ImageSum {
    /// The sum of an image that is in memory.
    #[must_use]
    pub fn of(image: &[u8]) -> Self {
        Self(*blake3::hash(image).as_bytes())
    }
}

/// Bytes of the list for an image of this length. One of at most one block has none: its sum says
/// it.
///
/// # Units
/// Bytes, of both.
#[must_use]
pub fn list_bytes(image_bytes: u64) -> u64 {
    if image_bytes <= BLOCK { 0 } else { image_bytes.div_ceil(BLOCK) * SUM_BYTES as u64 }
}

/// A list of checksums is not the one of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("list of block checksums does not add up to the image's")]
pub struct ListError;

/// The checksums of one image's blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    bytes: u64,
    whole: ImageSum,
    /// A chaining value for each block; none if there is but one block.
    blocks: Vec<[u8; SUM_BYTES]>,
}

impl Sums {
    /// Reads a list and checks it against the sum of the whole.
    ///
    /// # Errors
    /// [`ListError`] if its length is not that of an image of `bytes`, or it does not add up.
    pub fn read(bytes: u64, whole: ImageSum, list: &[u8]) -> Result<Self, ListError> {
        if IMAGE_BYTES_MAX < bytes || list_bytes(bytes) != list.len() as u64 {
            return Err(ListError);
        }
        let (blocks, rest) = list.as_chunks::<SUM_BYTES>();
        assert!(rest.is_empty(), "a list's length is a multiple of a checksum's");
        if !blocks.is_empty() && merge_root(blocks, bytes) != whole {
            return Err(ListError);
        }
        Ok(Self { bytes, whole, blocks: blocks.to_vec() })
    }

    /// The sum of the whole.
    #[must_use]
    pub fn whole(&self) -> ImageSum {
        self.whole
    }

    /// The list as it is stored.
    #[must_use]
    pub fn list(&self) -> &[u8] {
        self.blocks.as_flattened()
    }

    /// Whether these are the bytes of the image's block: 64 KiB, the last one shorter.
    #[must_use]
    pub fn check(&self, block: u64, bytes: &[u8]) -> bool {
        let Some(offset) = block.checked_mul(BLOCK) else { return false };
        let expected = self.bytes.saturating_sub(offset).min(BLOCK);
        if expected == 0 || expected != bytes.len() as u64 {
            return false;
        }
        match usize::try_from(block).ok().and_then(|at| self.blocks.get(at)) {
            Some(sum) => chaining_value(offset, bytes) == *sum,
            None => self.blocks.is_empty() && ImageSum::of(bytes) == self.whole,
        }
    }
}

/// Makes the checksums of an image that passes by, front to back.
#[derive(Clone, Debug)]
pub struct Summing {
    bytes: u64,
    blocks: Vec<[u8; SUM_BYTES]>,
    /// The sum if there is no second block.
    only: ImageSum,
}

impl Default for Summing {
    fn default() -> Self {
        Self { bytes: 0, blocks: Vec::new(), only: ImageSum::of(&[]) }
    }
}

impl Summing {
    /// Takes the next bytes: whole blocks, except at the image's end.
    ///
    /// # Panics
    /// If something follows a block that was not whole.
    pub fn update(&mut self, bytes: &[u8]) {
        assert!(bytes.is_empty() || self.bytes.is_multiple_of(BLOCK), "only the last block is short");
        for block in bytes.chunks(BLOCK_BYTES) {
            if self.bytes == 0 {
                self.only = ImageSum::of(block);
            }
            self.blocks.push(chaining_value(self.bytes, block));
            self.bytes += block.len() as u64;
        }
    }

    /// The checksums of what was taken.
    #[must_use]
    pub fn finish(mut self) -> Sums {
        let whole = if self.blocks.len() < 2 {
            self.blocks.clear();
            self.only
        } else {
            merge_root(&self.blocks, self.bytes)
        };
        let sums = Sums { bytes: self.bytes, whole, blocks: self.blocks };
        assert_eq!(sums.list().len() as u64, list_bytes(sums.bytes), "a checksum for each block");
        sums
    }
}

fn chaining_value(offset: u64, block: &[u8]) -> [u8; SUM_BYTES] {
    assert!(!block.is_empty() && block.len() <= BLOCK_BYTES && offset.is_multiple_of(BLOCK), "a subtree");
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(block).finalize_non_root()
}

/// The sum of an image of `bytes` that has at least two blocks.
fn merge_root(blocks: &[[u8; SUM_BYTES]], bytes: u64) -> ImageSum {
    let (left, right, left_bytes) = halves(blocks, bytes);
    let root = merge_subtrees_root(&merge(left, left_bytes), &merge(right, bytes - left_bytes), Mode::Hash);
    ImageSum(*root.as_bytes())
}

/// As deep as the tree is: 11 levels for the longest image.
fn merge(blocks: &[[u8; SUM_BYTES]], bytes: u64) -> [u8; SUM_BYTES] {
    if let [only] = blocks {
        return *only;
    }
    let (left, right, left_bytes) = halves(blocks, bytes);
    merge_subtrees_non_root(&merge(left, left_bytes), &merge(right, bytes - left_bytes), Mode::Hash)
}

type Blocks = [[u8; SUM_BYTES]];

fn halves(blocks: &Blocks, bytes: u64) -> (&Blocks, &Blocks, u64) {
    assert!(1 < blocks.len() && blocks.len() as u64 == bytes.div_ceil(BLOCK), "a block each 64 KiB");
    let left_bytes = left_subtree_len(bytes);
    assert!(left_bytes.is_multiple_of(BLOCK), "a left half is whole blocks");
    let (left, right) = blocks.split_at(usize::try_from(left_bytes / BLOCK).expect("less than the blocks"));
    (left, right, left_bytes)
}

#[cfg(test)]
mod tests;
