//! The door to the code itself: a codec id, recorded per group, and what each codec must do.
//!
//! A codec is linear: an image of a group is a sum of any `k` others, each times a coefficient. It knows windows of bytes,
//! no images, lengths or checksums.
//!
//! Spec: docs/formats/group.md §2.

mod copies;
mod leopard16;

use crate::ec::profile::Profile;
use crate::limits::COLUMN_BYTES;

/// Which code a group is under. Recorded in the group, never changed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecId {
    /// Parity images are copies of the one member.
    Copies,
    /// Reed-Solomon over GF(2^16) as reed-solomon-simd (and Leopard before it) computes it.
    Leopard16,
}

impl CodecId {
    /// The number in records.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::Copies => 1,
            Self::Leopard16 => 2,
        }
    }

    /// The codec of a number in a record.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Copies),
            2 => Some(Self::Leopard16),
            _ => None,
        }
    }

    /// Whether groups of this profile can be under this codec.
    #[must_use]
    pub const fn can(self, profile: Profile) -> bool {
        match self {
            Self::Copies => profile.data() == 1,
            Self::Leopard16 => 1 < profile.data(),
        }
    }

    /// What lengths of parity are multiples of.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub const fn column_bytes(self) -> usize {
        match self {
            Self::Copies => 1,
            Self::Leopard16 => COLUMN_BYTES,
        }
    }

    /// Makes the codec ready for a profile.
    ///
    /// # Panics
    /// If it [cannot](Self::can) be.
    #[must_use]
    pub fn open(self, profile: Profile) -> Box<dyn Codec> {
        assert!(self.can(profile), "codec and profile are checked where a group is made or read");
        match self {
            Self::Copies => Box::new(copies::Copies { parity: profile.parity() }),
            Self::Leopard16 => Box::new(leopard16::Leopard16::new(profile)),
        }
    }
}

/// How to make the missing images of a group out of `k` others: a row for each missing one, a coefficient for each source,
/// in the codec's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coefficients {
    rows: Vec<Vec<u16>>,
}

/// A code. Images are numbered: members from 0, parity from `k`.
///
/// Windows of one call begin at the same offset in each image, a multiple of the column. Those that go in may be shorter
/// than those that come out: zeros follow. Those that come out have one length, a multiple of the column.
///
/// # Panics
/// All functions do if numbers or lengths are not as said: [`Encoder`](super::Encoder) and [`Rebuild`](super::Rebuild)
/// check what they were given.
pub trait Codec: Send + std::fmt::Debug {
    /// Computes a window of all parity images from one of all members.
    fn encode(&mut self, data: &[&[u8]], parity: &mut [&mut [u8]]);

    /// Finds how missing images are made. There are exactly `k` sources; none is missing, and none is there twice.
    fn solve(&self, sources: &[usize], missing: &[usize]) -> Coefficients;

    /// Computes a window of the missing images from one of the sources, both in the order given to [`Codec::solve`].
    fn rebuild(&mut self, coefficients: &Coefficients, sources: &[&[u8]], missing: &mut [&mut [u8]]);
}

/// The part of a window from an offset on, at most `len` bytes; nothing behind its end.
fn part(window: &[u8], offset: usize, len: usize) -> &[u8] {
    let rest = window.get(offset..).unwrap_or_default();
    &rest[..len.min(rest.len())]
}

#[cfg(test)]
mod tests;
