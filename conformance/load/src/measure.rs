//! What came of an act: how many, how long, and how long each took.

use serde::{Deserialize, Serialize};

/// One act's figures; one line of JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Measured {
    /// Which act.
    pub act: String,
    /// Files (of `list`: entries).
    pub done: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// `done` by `seconds`.
    pub per_second: f64,
    /// Requests that were timed: of `create` the OPEN, of `list` a whole directory.
    pub timed: u64,
    /// Half of them took no longer, microseconds.
    pub p50_us: u64,
    /// 99 of 100 took no longer, microseconds.
    pub p99_us: u64,
    /// The longest, microseconds.
    pub longest_us: u64,
}

impl Measured {
    /// From what single requests took, in nanoseconds.
    pub(crate) fn new(act: &str, done: u64, elapsed_ns: u64, mut took_ns: Vec<u64>) -> Self {
        took_ns.sort_unstable();
        let at = |part: f64| {
            let index = (took_ns.len() as f64 * part) as usize;
            took_ns.get(index.min(took_ns.len().saturating_sub(1))).copied().unwrap_or(0) / 1000
        };
        let seconds = elapsed_ns as f64 / 1e9;
        Self {
            act: act.to_owned(),
            done,
            seconds,
            per_second: if 0.0 < seconds { done as f64 / seconds } else { 0.0 },
            timed: took_ns.len() as u64,
            p50_us: at(0.5),
            p99_us: at(0.99),
            longest_us: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Measured;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let took = (1..=200u64).rev().map(|at| at * 1000).collect();
        let measured = Measured::new("stat", 200, 2_000_000_000, took);
        assert_eq!((measured.p50_us, measured.p99_us, measured.longest_us), (101, 199, 200));
        assert!((measured.per_second - 100.0).abs() < 1e-9);
        assert_eq!(Measured::new("stat", 0, 0, Vec::new()).p99_us, 0);
    }
}
