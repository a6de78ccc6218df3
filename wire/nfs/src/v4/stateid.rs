//! The stateid: a name for locking and layout state, with a counter.
//!
//! Special values are recognised here; what they mean for an operation is the server's business.
//!
//! Spec: RFC 8881 §8.2.2, §8.2.3.

use wire_xdr::xdr_struct;

/// Bytes of the part that names the state.
pub const STATEID_OTHER_BYTES: usize = 12;

/// A stateid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stateid {
    /// Counts the changes of the state; 0 in a request means "the latest".
    pub seqid: u32,
    /// Names the state.
    pub other: [u8; STATEID_OTHER_BYTES],
}

xdr_struct! { Stateid { seqid, other } }

impl Stateid {
    /// No state at all: READ, WRITE and SETATTR without an open.
    pub const ANONYMOUS: Self = Self { seqid: 0, other: [0; STATEID_OTHER_BYTES] };
    /// As anonymous, and a READ may pass by locks.
    pub const READ_BYPASS: Self = Self { seqid: u32::MAX, other: [0xff; STATEID_OTHER_BYTES] };
    /// The stateid that an earlier operation of this compound gave (RFC 8881 §16.2.3.1.2).
    pub const CURRENT: Self = Self { seqid: 1, other: [0; STATEID_OTHER_BYTES] };
    /// Never valid: what a callback names when it has no state to name.
    pub const INVALID: Self = Self { seqid: u32::MAX, other: [0; STATEID_OTHER_BYTES] };

    /// Whether `other` is one of the two reserved patterns, so that this can name no state of a
    /// server's making. Such a stateid is one of the four constants, or an error (RFC 8881 §8.2.3).
    #[must_use]
    pub fn is_special(&self) -> bool {
        self.other == [0; STATEID_OTHER_BYTES] || self.other == [0xff; STATEID_OTHER_BYTES]
    }

    /// The same state after one more change. The counter passes over 0, which means "the latest"
    /// (RFC 8881 §8.2.2).
    #[must_use]
    pub fn next(self) -> Self {
        Self { seqid: self.seqid.checked_add(1).unwrap_or(1), other: self.other }
    }
}

#[cfg(test)]
mod tests {
    use wire_xdr::{Decode, Encode, Reader, Writer};

    use super::*;

    #[test]
    fn golden_bytes() {
        let stateid = Stateid { seqid: 0x0102_0304, other: *b"abcdefghijkl" };
        let mut w = Writer::new();
        stateid.encode(&mut w);
        let bytes = w.into_bytes();
        assert_eq!(bytes, b"\x01\x02\x03\x04abcdefghijkl".as_slice());
        assert_eq!(Stateid::decode(&mut Reader::new(bytes)), Ok(stateid));
    }

    #[test]
    fn special_values_and_wrap() {
        for special in [Stateid::ANONYMOUS, Stateid::READ_BYPASS, Stateid::CURRENT, Stateid::INVALID] {
            assert!(special.is_special());
        }
        let last = Stateid { seqid: u32::MAX, other: *b"abcdefghijkl" };
        assert!(!last.is_special());
        assert_eq!(last.next().seqid, 1);
    }
}
