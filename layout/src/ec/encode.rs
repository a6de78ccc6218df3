//! Encoding a group: windows of its members in, windows of its parity out, at the end the shape and
//! the parity images' footers.
//!
//! Sums are made on the way. A member that is not what its data server said, because something
//! altered it on a disk or on the way, is found before the group becomes real.
//!
//! Spec: docs/formats/group.md §2, §5.

use crate::ec::codec::Codec;
use crate::ec::footer;
use crate::ec::group::{Draft, GroupError, ImageId, Shape};
use crate::ec::sums::{ImageSum, Summing, Sums};
use crate::ec::window::{Window, Windows};
use crate::limits::IMAGE_BYTES_MAX;

/// Why a group cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The draft is no group. Its maker's fault.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A window does not have the bytes it should have. The caller's fault.
    #[error("slot {slot}: {got} bytes of a window instead of {expected}")]
    Window {
        /// Of which image.
        slot: usize,
        /// Bytes that were brought.
        got: usize,
        /// Bytes the image has there.
        expected: usize,
    },
    /// More or fewer windows than there are, or not one for each image. The caller's fault.
    #[error("windows do not cover the group")]
    Cover,
    /// A member's bytes are not those its data server vouched for. Its data server's fault, or of
    /// what lies between.
    #[error("image {image} is not what its data server said it is")]
    Altered {
        /// Which one.
        image: ImageId,
    },
}

/// A group being encoded.
#[derive(Debug)]
pub struct Encoder {
    draft: Draft,
    codec: Box<dyn Codec>,
    windows: Windows,
    summing: Vec<Summing>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The group, complete.
    pub shape: Shape,
    /// What follows the payload of each parity image. Copies have none.
    pub footers: Vec<Vec<u8>>,
}

impl Encoder {
    /// Begins a group, in windows of at most `window_bytes` (brought to whole blocks within
    /// [`WINDOW_BYTES_MAX`](crate::limits::WINDOW_BYTES_MAX)).
    ///
    /// # Errors
    /// [`EncodeError::Group`].
    pub fn new(draft: Draft, window_bytes: usize) -> Result<Self, EncodeError> {
        draft.check()?;
        let codec = draft.codec.open(draft.profile);
        let windows = Windows::over(draft.payload_bytes(), window_bytes);
        assert!(draft.payload_bytes() <= IMAGE_BYTES_MAX, "a checked draft has bounded parity");
        let summing = vec![Summing::default(); draft.profile.images()];
        Ok(Self { draft, codec, windows, summing })
    }

    /// The window to bring next; `None` when the group is through.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.windows.next()
    }

    /// Takes a window: of each member what [`Window::of`] says is in it, nothing of an empty one.
    /// Fills the window of each parity image, [`Window::bytes`] long.
    ///
    /// # Errors
    /// [`EncodeError::Window`], [`EncodeError::Cover`]; nothing has happened then.
    pub fn push(&mut self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), EncodeError> {
        let window = self.window().ok_or(EncodeError::Cover)?;
        let profile = self.draft.profile;
        if data.len() != profile.data() || parity.len() != profile.parity() {
            return Err(EncodeError::Cover);
        }
        for (slot, (member, bytes)) in self.draft.members.iter().zip(data).enumerate() {
            check_window(slot, bytes.len(), window.len_of(member.map_or(0, |member| member.bytes)))?;
        }
        for (at, bytes) in parity.iter().enumerate() {
            check_window(profile.data() + at, bytes.len(), window.bytes)?;
        }
        self.codec.encode(data, parity);
        let (of_data, of_parity) = self.summing.split_at_mut(data.len());
        for (summing, bytes) in of_data.iter_mut().zip(data) {
            summing.update(bytes);
        }
        for (summing, bytes) in of_parity.iter_mut().zip(parity) {
            summing.update(bytes);
        }
        self.windows.pass(window);
        Ok(())
    }

    /// Ends the group.
    ///
    /// # Errors
    /// [`EncodeError::Cover`] if windows are missing; [`EncodeError::Altered`] for the first member
    /// that is not what it should be.
    pub fn finish(self) -> Result<Encoded, EncodeError> {
        if self.window().is_some() {
            return Err(EncodeError::Cover);
        }
        let sums: Vec<Sums> = self.summing.into_iter().map(Summing::finish).collect();
        for (member, sums) in self.draft.members.iter().zip(&sums) {
            if let Some(member) = member.filter(|member| member.sum != sums.whole()) {
                return Err(EncodeError::Altered { image: member.image });
            }
        }
        let of_parity: Vec<ImageSum> = sums[self.draft.members.len()..].iter().map(Sums::whole).collect();
        let shape = self.draft.shape(&of_parity)?;
        let footers = footer::encode_all(&shape, &sums);
        let file_bytes = |footer: &Vec<u8>| shape.payload_bytes() + footer.len() as u64;
        let announced = shape.draft().parity_file_bytes();
        assert!(
            footers.iter().all(|footer| file_bytes(footer) == announced),
            "a parity image is as long as its draft announced"
        );
        Ok(Encoded { shape, footers })
    }
}

fn check_window(slot: usize, got: usize, expected: usize) -> Result<(), EncodeError> {
    if got == expected { Ok(()) } else { Err(EncodeError::Window { slot, got, expected }) }
}

#[cfg(test)]
mod tests;
