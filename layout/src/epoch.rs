//! The epoch of an extent: raised whenever a client or server that could touch the extent no longer
//! may.
//!
//! Spec: none; docs/protocol/control.md (FENCE, CUT, DROP).

use serde::{Deserialize, Serialize};

/// A number per extent that only goes up. A data server refuses a handle with a lower one than it
/// knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of an extent that was just placed.
    pub const FIRST: Self = Self(1);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("2^64 fences do not happen"))
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_epoch_is_higher() {
        assert!(Epoch::FIRST < Epoch::FIRST.next());
        assert!(Epoch::default() < Epoch::FIRST);
    }
}
