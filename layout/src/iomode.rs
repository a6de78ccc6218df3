//! What a layout or a data-server handle allows.
//!
//! ANY, the third value on the wire, is not here: it only ever appears in requests, as `None`.
//!
//! Spec: RFC 8881 §3.3.20.

use serde::{Deserialize, Serialize};

/// The iomode of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Iomode {
    /// READ only (LAYOUTIOMODE4_READ, 1).
    Read,
    /// READ, WRITE and COMMIT (LAYOUTIOMODE4_RW, 2).
    ReadWrite,
}

impl Iomode {
    /// The number on the wire.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        match self {
            Self::Read => 1,
            Self::ReadWrite => 2,
        }
    }

    /// The iomode of a number on the wire; `None` for ANY (3) and everything else.
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Read),
            2 => Some(Self::ReadWrite),
            _ => None,
        }
    }

    /// Whether it allows changing bytes.
    #[must_use]
    pub fn writes(self) -> bool {
        self == Self::ReadWrite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_wire() {
        for mode in [Iomode::Read, Iomode::ReadWrite] {
            assert_eq!(Iomode::from_u32(mode.as_u32()), Some(mode));
        }
        assert_eq!(Iomode::from_u32(3), None);
        assert!(Iomode::ReadWrite.writes());
        assert!(!Iomode::Read.writes());
    }
}
