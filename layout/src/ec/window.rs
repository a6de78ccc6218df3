//! Windows: a group is worked through front to back, the same range of all its images at a time.
//!
//! Spec: docs/formats/group.md §2.3.

use std::ops::Range;

use crate::limits::{BLOCK_BYTES, WINDOW_BYTES_MAX};

/// A range of all images of a group. Begins at a block; is whole blocks unless it is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes from the start of each image.
    pub offset: u64,
    /// Bytes of parity in it: what is in it of the longest member, in whole columns.
    pub bytes: usize,
}

impl Window {
    /// What of an image of this length is in the window; empty if it ends before it.
    ///
    /// # Units
    /// Bytes from the start of the image.
    #[must_use]
    pub fn of(&self, image_bytes: u64) -> Range<u64> {
        let end = self.offset + self.bytes as u64;
        self.offset.min(image_bytes)..end.min(image_bytes)
    }

    /// How many bytes of an image of this length are in the window.
    #[must_use]
    pub fn len_of(&self, image_bytes: u64) -> usize {
        let range = self.of(image_bytes);
        usize::try_from(range.end - range.start).expect("no longer than the window")
    }
}

/// Gives out windows, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    offset: u64,
    payload_bytes: u64,
    window_bytes: usize,
}

impl Windows {
    /// Windows of at most `window_bytes`, which is brought to whole blocks and within its bound.
    pub(super) fn over(payload_bytes: u64, window_bytes: usize) -> Self {
        let window_bytes = (window_bytes.min(WINDOW_BYTES_MAX) / BLOCK_BYTES).max(1) * BLOCK_BYTES;
        assert!(window_bytes <= WINDOW_BYTES_MAX, "a window keeps within its bound");
        Self { offset: 0, payload_bytes, window_bytes }
    }

    /// The window that comes next; `None` at the end.
    pub(super) fn next(&self) -> Option<Window> {
        let rest = self.payload_bytes - self.offset;
        let bytes = usize::try_from(rest).unwrap_or(usize::MAX).min(self.window_bytes);
        (0 < bytes).then_some(Window { offset: self.offset, bytes })
    }

    /// Goes on behind a window.
    pub(super) fn pass(&mut self, window: Window) {
        assert!(Some(window) == self.next(), "windows pass in order");
        self.offset += window.bytes as u64;
        assert!(self.offset <= self.payload_bytes, "windows end with the payload");
    }
}
