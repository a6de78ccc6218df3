//! `nfstime4`: seconds and nanoseconds since 1970, before it when negative.
//!
//! Spec: RFC 8881 §3.3.1.

use wire_xdr::xdr_struct;

/// Nanoseconds of a second: the first value that `nseconds` must not have.
pub const NSECONDS_END: u32 = 1_000_000_000;

/// A point in time, or a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nfstime4 {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds to add to them.
    pub nseconds: u32,
}

xdr_struct! { Nfstime4 { seconds, nseconds } }

impl Nfstime4 {
    /// The time that lies this many nanoseconds after 1970.
    #[must_use]
    pub fn from_ns(ns: i64) -> Self {
        let second_ns = i64::from(NSECONDS_END);
        let nseconds = u32::try_from(ns.rem_euclid(second_ns)).expect("a remainder is below 10^9");
        Self { seconds: ns.div_euclid(second_ns), nseconds }
    }

    /// Nanoseconds since 1970, at the ends of the range if it does not fit.
    #[must_use]
    pub fn to_ns(self) -> i64 {
        self.seconds.saturating_mul(i64::from(NSECONDS_END)).saturating_add(i64::from(self.nseconds))
    }

    /// Whether the nanoseconds are fewer than a second's. A time that is not valid gets INVAL from
    /// a server.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.nseconds < NSECONDS_END
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_round_trip_on_both_sides_of_1970() {
        for ns in [0, 1, -1, 1_500_000_000, -1_500_000_000, i64::MAX] {
            let time = Nfstime4::from_ns(ns);
            assert!(time.is_valid());
            assert_eq!(time.to_ns(), ns);
        }
        assert_eq!(Nfstime4::from_ns(-1), Nfstime4 { seconds: -1, nseconds: 999_999_999 });
        assert_eq!(Nfstime4 { seconds: i64::MAX, nseconds: 0 }.to_ns(), i64::MAX);
    }
}
