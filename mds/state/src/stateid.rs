//! Stateids: their value, the kinds of state that they name, and how their identity is made.
//!
//! INVARIANT: an identity begins with its kind and its shard, so that the shard of a stateid is
//! known without a table.
//! Spec: RFC 8881 §8.2; docs/formats/state.md.

use serde::{Deserialize, Serialize};

/// Bytes of a stateid's identity.
pub const OTHER_BYTES: usize = 12;

/// The value of a stateid: sequence and identity (RFC 8881 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateidValue {
    /// Grows with each change of the state it names; never zero on the wire from us.
    pub seqid: u32,
    /// Names the state.
    pub other: [u8; 12],
}

/// The kinds of state that a stateid names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StateKind {
    /// An open file.
    Open,
    /// Byte-range locks of one lock-owner on one file.
    Lock,
    /// Layouts of one client on one file.
    Layout,
}

impl StateKind {
    /// The number in keys and stateids.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Lock => 2,
            Self::Layout => 3,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Open),
            2 => Some(Self::Lock),
            3 => Some(Self::Layout),
            _ => None,
        }
    }
}

/// Makes a stateid's identity.
#[must_use]
pub fn other(kind: StateKind, shard: u16, counter: u64) -> [u8; OTHER_BYTES] {
    let mut bytes = [0; OTHER_BYTES];
    bytes[0] = kind.number();
    assert!(StateKind::of_number(bytes[0]) == Some(kind), "the number of a kind names that kind");
    bytes[2..4].copy_from_slice(&shard.to_be_bytes());
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    bytes
}
