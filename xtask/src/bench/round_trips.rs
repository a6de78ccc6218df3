//! Where a phase's time went, as the client's kernel counts it: each operation's time from sending
//! to answer, whichever server serves.
//!
//! What is neither here nor in the queue went by in the client itself: system calls, page cache,
//! the emulated processor.

use serde::{Deserialize, Serialize};

/// Prints the mount's statistics.
pub(super) const STATISTICS: &str =
    "awk '/ mounted on \\/mnt\\/c /{on=1} /^device/&&!/\\/mnt\\/c /{on=0} on' /proc/self/mountstats";

/// One operation during one phase, or since the mount.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct RoundTrips {
    pub(super) op: String,
    pub(super) count: u64,
    /// From sending to answer, summed over all of them.
    pub(super) round_trip_ms: u64,
    /// From the call to its end in the client, waiting to be sent included.
    pub(super) whole_ms: u64,
}

/// Reads `/proc/self/mountstats`: `OP: operations transmissions timeouts sent received queue_ms
/// rtt_ms execute_ms errors`.
pub(super) fn parse(statistics: &str) -> Vec<RoundTrips> {
    let of_line = |line: &str| {
        let (op, numbers) = line.trim().split_once(": ")?;
        let numbers: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[count, _, _, _, _, _, round_trip_ms, whole_ms, ..] = &numbers[..] else { return None };
        let is_operation = op.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
        (is_operation && 0 < count).then(|| RoundTrips { op: op.to_owned(), count, round_trip_ms, whole_ms })
    };
    statistics.lines().filter_map(of_line).collect()
}

/// Operations between two readings, the longest first; without those that took less than a
/// hundredth of the longest.
pub(super) fn between(before: &[RoundTrips], after: &[RoundTrips]) -> Vec<RoundTrips> {
    let mut all: Vec<RoundTrips> = after
        .iter()
        .filter_map(|now| {
            let then = before.iter().find(|one| one.op == now.op);
            let less = |now: u64, then: Option<u64>| now.checked_sub(then.unwrap_or(0));
            let count = less(now.count, then.map(|one| one.count)).filter(|count| 0 < *count)?;
            Some(RoundTrips {
                op: now.op.clone(),
                count,
                round_trip_ms: less(now.round_trip_ms, then.map(|one| one.round_trip_ms))?,
                whole_ms: less(now.whole_ms, then.map(|one| one.whole_ms))?,
            })
        })
        .collect();
    all.sort_by_key(|op| std::cmp::Reverse(op.whole_ms));
    let least = all.first().map_or(0, |longest| longest.whole_ms / 100);
    all.retain(|op| least < op.whole_ms);
    all
}

/// One line for a reader.
pub(super) fn line(all: &[RoundTrips]) -> String {
    let mean_us = |ms: u64, count: u64| ms * 1000 / count;
    let op = |op: &RoundTrips| {
        let (trip, whole) = (mean_us(op.round_trip_ms, op.count), mean_us(op.whole_ms, op.count));
        format!("{} {} x {trip} us on the way and in the server, {whole} us in all", op.op, op.count)
    };
    all.iter().map(op).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "device 10.77.0.1:/ mounted on /mnt/c with fstype nfs4 statvers=1.1\n\
        \tRPC iostats version: 1.1  p/v: 100003/4 (nfs)\n\txprt:\ttcp 0 0 1 0 0 7 7 0 7 0 2 0 0\n\
        \t        NULL: 1 1 0 44 24 0 0 0 0\n\t        OPEN: 2 2 0 400 600 1 4 6 0\n";

    #[test]
    fn differences_by_operation() {
        let after = BEFORE.replace("OPEN: 2 2 0 400 600 1 4 6 0", "OPEN: 6 6 0 900 1600 1 8 14 0")
            + "\t       WRITE: 4 4 0 900 1600 1 80 90 0\n";
        let between = between(&parse(BEFORE), &parse(&after));
        let said: Vec<(&str, u64, u64, u64)> =
            between.iter().map(|one| (&*one.op, one.count, one.round_trip_ms, one.whole_ms)).collect();
        assert_eq!(said, [("WRITE", 4, 80, 90), ("OPEN", 4, 4, 8)]);
        assert!(
            line(&between).starts_with("WRITE 4 x 20000 us on the way and in the server, 22500 us in all")
        );
    }

    /// It was mounted again in between: counters began again.
    #[test]
    fn counters_that_went_back_are_no_figures() {
        assert_eq!(between(&parse("OPEN: 9 9 0 0 0 1 4 6 0"), &parse(BEFORE)), []);
        assert_eq!(parse("garbage: x\nOPEN: 1 2\n"), []);
    }
}
