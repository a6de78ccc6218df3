//! Rebuilding images of a group from any `k` others: a range of one for a degraded read, or whole
//! ones for repair.
//!
//! [`Rebuild`] computes and does not check: what comes out is right if the sources were. A reader
//! that answers clients compares the blocks, or the frames in them, with their checksums.
//! [`Repair`] passes all of the images by and checks them all.
//!
//! Spec: docs/formats/group.md §2.3, §6.

use std::ops::Range;

use crate::ec::codec::{Codec, CodecId, Coefficients};
use crate::ec::footer;
use crate::ec::group::{ImageId, Shape};
use crate::ec::sums::{Summing, Sums};
use crate::ec::window::{Window, Windows};
use crate::limits::WINDOW_BYTES_MAX;

/// Why images cannot be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// There are fewer images left than the group has members: bytes are lost.
    #[error("{left} images are left of a group that needs {needed}")]
    TooFew {
        /// Images there are, empty members among them.
        left: usize,
        /// Images it takes.
        needed: usize,
    },
    /// A slot that is not in the group, twice, missing and there, or missing and empty. The
    /// caller's fault.
    #[error("slot {slot} cannot be rebuilt or rebuilt from")]
    Slot {
        /// Which one.
        slot: usize,
    },
    /// A window has not the bytes, or the place, that it should have. The caller's fault.
    #[error("{got} bytes of a window of slot {slot} instead of {expected}")]
    Window {
        /// Of which image.
        slot: usize,
        /// Bytes that were brought.
        got: usize,
        /// Bytes the image has there.
        expected: usize,
    },
    /// More or fewer windows than there are, or not one for each image. The caller's fault.
    #[error("windows do not cover what is rebuilt")]
    Cover,
    /// An image that was read is not the group's: its data server's fault, or of what lies between.
    /// Nothing that was made of it may be used.
    #[error("image {image} in slot {slot} is not what the group says")]
    Altered {
        /// In which slot.
        slot: usize,
        /// Which one.
        image: ImageId,
    },
}

/// How to make missing images of a group.
#[derive(Debug)]
pub struct Rebuild {
    shape: Shape,
    codec: Box<dyn Codec>,
    coefficients: Coefficients,
    sources: Vec<usize>,
    missing: Vec<usize>,
}

impl Rebuild {
    /// Finds how to make the missing images. `available` are slots whose images can be read, best
    /// ones first: no more are used than it takes. Empty members need no reading and are used
    /// without being named.
    ///
    /// # Errors
    /// [`RebuildError::TooFew`], [`RebuildError::Slot`].
    pub fn new(shape: &Shape, available: &[usize], missing: &[usize]) -> Result<Self, RebuildError> {
        let mut seen = vec![false; shape.slots()];
        for slot in missing.iter().chain(available) {
            match seen.get_mut(*slot) {
                Some(seen) if !*seen && shape.image(*slot).is_some() => *seen = true,
                _ => return Err(RebuildError::Slot { slot: *slot }),
            }
        }
        let needed = shape.profile().data();
        let empty = (0..needed).filter(|slot| shape.members()[*slot].is_none());
        let mut sources: Vec<usize> = empty.chain(available.iter().copied()).collect();
        if sources.len() < needed {
            return Err(RebuildError::TooFew { left: sources.len(), needed });
        }
        sources.truncate(needed);
        assert!(missing.iter().all(|slot| !sources.contains(slot)), "no image is made of itself");
        let codec = shape.codec().open(shape.profile());
        let coefficients = codec.solve(&sources, missing);
        Ok(Self { shape: shape.clone(), codec, coefficients, sources, missing: missing.to_vec() })
    }

    /// The slots that are read, `k` of them, in the order in which [`Rebuild::run`] wants their
    /// bytes.
    #[must_use]
    pub fn sources(&self) -> &[usize] {
        &self.sources
    }

    /// The window that covers a range of the missing images: the range in whole columns, nothing
    /// behind the longest member. `None` if nothing is left or it is longer than
    /// [`WINDOW_BYTES_MAX`].
    ///
    /// # Units
    /// Bytes from the start of the images.
    #[must_use]
    pub fn window(&self, range: Range<u64>) -> Option<Window> {
        let column = self.shape.codec().column_bytes() as u64;
        let end = range.end.min(self.shape.payload_bytes());
        let offset = range.start - range.start % column;
        if range.end <= range.start || end <= range.start {
            return None;
        }
        let end = end.next_multiple_of(column);
        assert!(end <= self.shape.payload_bytes(), "the payload is whole columns");
        let bytes = usize::try_from(end - offset).ok()?;
        (bytes <= WINDOW_BYTES_MAX).then_some(Window { offset, bytes })
    }

    /// What must be read for a window: of each source the range that is in it, which may be empty.
    ///
    /// # Units
    /// Bytes from the start of the images.
    pub fn reads(&self, window: Window) -> impl Iterator<Item = (usize, Range<u64>)> + '_ {
        self.sources.iter().map(move |slot| (*slot, window.of(self.shape.bytes(*slot))))
    }

    /// Makes a window of each missing image, [`Window::bytes`] long, in the order they were named.
    /// What is behind the end of an image comes out as zeros.
    ///
    /// # Errors
    /// [`RebuildError::Window`], [`RebuildError::Cover`]; nothing has happened then.
    pub fn run(
        &mut self,
        window: Window,
        sources: &[&[u8]],
        missing: &mut [&mut [u8]],
    ) -> Result<(), RebuildError> {
        let column = self.shape.codec().column_bytes();
        let whole = window.offset.is_multiple_of(column as u64) && window.bytes.is_multiple_of(column);
        let counts = sources.len() == self.sources.len() && missing.len() == self.missing.len();
        if !whole
            || !counts
            || WINDOW_BYTES_MAX < window.bytes
            || u64::MAX - window.offset < window.bytes as u64
        {
            return Err(RebuildError::Cover);
        }
        let expected = self.sources.iter().map(|slot| window.len_of(self.shape.bytes(*slot)));
        let brought = self.sources.iter().zip(sources.iter().map(|bytes| bytes.len())).zip(expected);
        let made = self.missing.iter().zip(missing.iter().map(|bytes| bytes.len()));
        let wrong = |((slot, got), expected): ((&usize, usize), usize)| {
            (got != expected).then_some(RebuildError::Window { slot: *slot, got, expected })
        };
        let mut pairs = brought.chain(made.map(|pair| (pair, window.bytes)));
        if let Some(error) = pairs.find_map(wrong) {
            return Err(error);
        }
        self.codec.rebuild(&self.coefficients, sources, missing);
        Ok(())
    }
}

/// Missing images of a group being made again, whole and checked.
///
/// Parity images carry the checksums of the whole group, so if one of them is missing, images that
/// are neither missing nor read are computed too, and only summed.
#[derive(Debug)]
pub struct Repair {
    rebuild: Rebuild,
    /// How many of the rebuild's images the caller wants; the rest is computed for its sums.
    wanted: usize,
    unread: Vec<Vec<u8>>,
    windows: Windows,
    /// By slot.
    summing: Vec<Summing>,
}

/// What repair ends with.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// For each missing image, in order: what follows its payload if it is parity; nothing follows
    /// a member.
    pub footers: Vec<Vec<u8>>,
}

impl Repair {
    /// Begins to make the missing images, in windows of at most `window_bytes`. The rest as for
    /// [`Rebuild::new`].
    ///
    /// # Errors
    /// As [`Rebuild::new`].
    pub fn new(
        shape: &Shape,
        available: &[usize],
        missing: &[usize],
        window_bytes: usize,
    ) -> Result<Self, RebuildError> {
        let first = Rebuild::new(shape, available, missing)?;
        let mut all = missing.to_vec();
        if missing.iter().any(|slot| shape.profile().data() <= *slot) && shape.codec() != CodecId::Copies {
            let unread = |slot: &usize| !first.sources.contains(slot) && !missing.contains(slot);
            all.extend((0..shape.slots()).filter(unread));
        }
        let chosen: Vec<usize> =
            first.sources.iter().copied().filter(|slot| shape.image(*slot).is_some()).collect();
        let rebuild = Rebuild::new(shape, &chosen, &all)?;
        assert_eq!(rebuild.sources, first.sources, "what is only summed is not read");
        let windows = Windows::over(shape.payload_bytes(), window_bytes);
        let unread = vec![Vec::new(); all.len() - missing.len()];
        let summing = vec![Summing::default(); shape.slots()];
        Ok(Self { rebuild, wanted: missing.len(), unread, windows, summing })
    }

    /// The slots that are read, in the order in which [`Repair::push`] wants their bytes.
    #[must_use]
    pub fn sources(&self) -> &[usize] {
        self.rebuild.sources()
    }

    /// The window to bring next; `None` when the group is through.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.windows.next()
    }

    /// What must be read for a window, as [`Rebuild::reads`].
    pub fn reads(&self, window: Window) -> impl Iterator<Item = (usize, Range<u64>)> + '_ {
        self.rebuild.reads(window)
    }

    /// Takes a window of the sources and fills one of each missing image, [`Window::bytes`] long.
    /// Of a member only the part that [`Window::of`] says is in its image is to be kept.
    ///
    /// # Errors
    /// [`RebuildError::Window`], [`RebuildError::Cover`]; nothing has happened then.
    pub fn push(&mut self, sources: &[&[u8]], missing: &mut [&mut [u8]]) -> Result<(), RebuildError> {
        let window = self.window().ok_or(RebuildError::Cover)?;
        if missing.len() != self.wanted {
            return Err(RebuildError::Cover);
        }
        self.unread.iter_mut().for_each(|buffer| buffer.resize(window.bytes, 0));
        let mut made: Vec<&mut [u8]> = missing.iter_mut().map(|bytes| &mut **bytes).collect();
        made.extend(self.unread.iter_mut().map(Vec::as_mut_slice));
        self.rebuild.run(window, sources, &mut made)?;
        let slots = self.rebuild.sources.iter().chain(&self.rebuild.missing);
        let windows = sources.iter().copied().chain(made.iter().map(|bytes| &**bytes));
        for (slot, bytes) in slots.zip(windows) {
            let held = window.len_of(self.rebuild.shape.bytes(*slot));
            self.summing[*slot].update(&bytes[..held]);
        }
        self.windows.pass(window);
        Ok(())
    }

    /// Ends the repair. What was made may be used only if this is no error.
    ///
    /// # Errors
    /// [`RebuildError::Cover`] if windows are missing; [`RebuildError::Altered`] for the first
    /// image that is not the group's, sources before what was made of them.
    pub fn finish(self) -> Result<Repaired, RebuildError> {
        if self.window().is_some() {
            return Err(RebuildError::Cover);
        }
        let Rebuild { shape, sources, missing, .. } = self.rebuild;
        let sums: Vec<Sums> = self.summing.into_iter().map(Summing::finish).collect();
        for slot in sources.iter().chain(&missing) {
            if let Some((image, sum)) = shape.image(*slot)
                && sum != sums[*slot].whole()
            {
                return Err(RebuildError::Altered { slot: *slot, image });
            }
        }
        let wanted = &missing[..self.wanted];
        let data = shape.profile().data();
        let parity_missing = shape.codec() != CodecId::Copies && wanted.iter().any(|slot| data <= *slot);
        let all = if parity_missing { footer::encode_all(&shape, &sums) } else { Vec::new() };
        let footer_of =
            |slot: &usize| slot.checked_sub(data).and_then(|at| all.get(at)).cloned().unwrap_or_default();
        let footers: Vec<Vec<u8>> = wanted.iter().map(footer_of).collect();
        assert_eq!(footers.len(), self.wanted, "a footer for each missing image");
        Ok(Repaired { footers })
    }
}

#[cfg(test)]
mod tests;
