//! Which blocks of an image's file have arrived, when its raw bytes come in any order.
//!
//! Spec: docs/formats/image.md (the length); the blocks are ours.

use crate::error::ReceiveError;
use crate::format::FormatError;
use crate::limits::{FILE_BYTES_MAX, IMAGE_BYTES_MIN, RAW_BLOCK_BYTES};

/// The blocks of one file.
#[derive(Debug)]
pub(crate) struct Assembly {
    image_bytes: u64,
    arrived: Vec<bool>,
}

impl Assembly {
    /// No block of a file of `image_bytes`.
    ///
    /// # Errors
    /// [`FormatError::Length`]: no image, of an extent or of parity, has this length.
    pub(crate) fn new(image_bytes: u64) -> Result<Self, FormatError> {
        if !(IMAGE_BYTES_MIN..=FILE_BYTES_MAX).contains(&image_bytes) {
            return Err(FormatError::Length { bytes: image_bytes });
        }
        let blocks = usize::try_from(image_bytes.div_ceil(RAW_BLOCK_BYTES)).expect("at most FILE_BYTES_MAX");
        Ok(Self { image_bytes, arrived: vec![false; blocks] })
    }

    /// Bytes of the file.
    pub(crate) fn image_bytes(&self) -> u64 {
        self.image_bytes
    }

    /// Which blocks a range is.
    ///
    /// # Errors
    /// [`ReceiveError::Blocks`]: it does not begin and end at blocks, or leaves the file.
    pub(crate) fn blocks(&self, offset: u64, length: usize) -> Result<std::ops::Range<usize>, ReceiveError> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.image_bytes);
        let whole = |at: u64| at.is_multiple_of(RAW_BLOCK_BYTES) || at == self.image_bytes;
        match end {
            Some(end) if offset.is_multiple_of(RAW_BLOCK_BYTES) && whole(end) => {
                let block = |at: u64| usize::try_from(at).expect("inside the file");
                Ok(block(offset / RAW_BLOCK_BYTES)..block(end.div_ceil(RAW_BLOCK_BYTES)))
            }
            Some(_) | None => Err(ReceiveError::Blocks { offset, length }),
        }
    }

    /// Takes note that blocks are in the file.
    pub(crate) fn note(&mut self, blocks: std::ops::Range<usize>) {
        self.arrived[blocks].fill(true);
    }

    /// The first byte that has not arrived; `None` if all have.
    pub(crate) fn missing(&self) -> Option<u64> {
        let block = self.arrived.iter().position(|arrived| !arrived)?;
        Some(block as u64 * RAW_BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_arrive_in_any_order() {
        let block = RAW_BLOCK_BYTES;
        let size = usize::try_from(block).unwrap();
        let mut assembly = Assembly::new(3 * block + 10).unwrap();
        for (offset, length) in [(3 * block, 10), (0, size), (block, 2 * size)] {
            assert!(assembly.missing().is_some());
            let blocks = assembly.blocks(offset, length).unwrap();
            assembly.note(blocks);
        }
        assert_eq!(assembly.missing(), None);
    }

    #[test]
    fn parts_of_blocks_are_refused() {
        let block = RAW_BLOCK_BYTES;
        let size = usize::try_from(block).unwrap();
        let assembly = Assembly::new(block + 10).unwrap();
        for (offset, length) in [(1, 5), (0, 5), (block, 9), (block, 11), (u64::MAX, 2), (2 * block, size)] {
            assert!(assembly.blocks(offset, length).is_err(), "{offset} {length}");
        }
        assert_eq!(assembly.missing(), Some(0));
        assert!(Assembly::new(127).is_err() && Assembly::new(u64::MAX).is_err());
    }
}
