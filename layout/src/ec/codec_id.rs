//! The id of a codec, as records of groups have it.
//!
//! Spec: docs/formats/group.md §2.

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
}

const _: () = {
    let copies = CodecId::from_u8(CodecId::Copies.as_u8());
    assert!(matches!(copies, Some(CodecId::Copies)), "a number leads back to its codec");
    let leopard = CodecId::from_u8(CodecId::Leopard16.as_u8());
    assert!(matches!(leopard, Some(CodecId::Leopard16)), "a number leads back to its codec");
};
