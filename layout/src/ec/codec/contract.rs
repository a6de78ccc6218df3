//! The trait that each codec implements.
//!
//! Spec: docs/formats/group.md §2.

/// How to make the missing images of a group out of `k` others: a row for each missing one, a
/// coefficient for each source, in the codec's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coefficients {
    pub(super) rows: Vec<Vec<u16>>,
}

/// A code. Images are numbered: members from 0, parity from `k`.
///
/// Windows of one call begin at the same offset in each image, a multiple of the column. Those that
/// go in may be shorter than those that come out: zeros follow. Those that come out have one
/// length, a multiple of the column.
///
/// # Panics
/// All functions do if numbers or lengths are not as said: [`Encoder`](crate::ec::Encoder) and
/// [`Rebuild`](crate::ec::Rebuild) check what they were given.
pub trait Codec: Send + std::fmt::Debug {
    /// Computes a window of all parity images from one of all members.
    fn encode(&mut self, data: &[&[u8]], parity: &mut [&mut [u8]]);

    /// Finds how missing images are made. There are exactly `k` sources; none is missing, and none
    /// is there twice.
    fn solve(&self, sources: &[usize], missing: &[usize]) -> Coefficients;

    /// Computes a window of the missing images from one of the sources, both in the order given to
    /// [`Codec::solve`].
    fn rebuild(&mut self, coefficients: &Coefficients, sources: &[&[u8]], missing: &mut [&mut [u8]]);
}

/// The part of a window from an offset on, at most `len` bytes; nothing behind its end.
pub(super) fn part(window: &[u8], offset: usize, len: usize) -> &[u8] {
    let rest = window.get(offset..).unwrap_or_default();
    &rest[..len.min(rest.len())]
}
