//! Room of a data server that new bytes of clients do not get: sealing needs room to give room
//! back, and a full disk is written over.
//!
//! A cluster that is full of replicas seals itself smaller: an image and its parity are made first,
//! and what they stand for goes then.
//!
//! Spec: docs/protocol/seal.md §13.

use crate::limits::{RESERVE_BYTES_MAX, RESERVE_PARTS};

/// For what room is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Bytes that the server does not hold yet.
    New,
    /// Bytes that lie in an image here, or that a journal says in part: they take room until they
    /// are sealed again.
    OverImage,
    /// The image of an extent that rests here.
    Image,
    /// Parity, and images that are repaired; bytes in the place of bytes of the journal, which go
    /// at once.
    Neutral,
}

/// What a data server that may hold `capacity_bytes` keeps back.
#[must_use]
pub const fn reserve_bytes(capacity_bytes: u64) -> u64 {
    let part = capacity_bytes / RESERVE_PARTS;
    if part < RESERVE_BYTES_MAX { part } else { RESERVE_BYTES_MAX }
}

/// What of it is kept back from this. Images get a quarter that no client gets, and parity, without
/// which no image is of use, another.
#[must_use]
pub const fn kept_from(purpose: Purpose, capacity_bytes: u64) -> u64 {
    let reserve = reserve_bytes(capacity_bytes);
    match purpose {
        Purpose::New => reserve,
        Purpose::OverImage => reserve / 2,
        Purpose::Image => reserve / 4,
        Purpose::Neutral => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_comes_before_what_fills() {
        for capacity in [64 << 20, 1 << 30, 8 << 30, 1 << 44] {
            let kept = [Purpose::New, Purpose::OverImage, Purpose::Image, Purpose::Neutral]
                .map(|purpose| kept_from(purpose, capacity));
            assert!(kept.windows(2).all(|pair| pair[1] < pair[0]), "{kept:?}");
            assert!(kept[0] <= capacity / RESERVE_PARTS && kept[0] <= RESERVE_BYTES_MAX);
        }
        // Where servers are not small, whole extents fit each step.
        assert!(crate::EXTENT_BYTES < kept_from(Purpose::Image, 4 << 30));
    }
}
