//! Bounds of how long an act may take while servers die.

/// What an application may wait for after `kill -9` of the leader, milliseconds.
pub(super) const STALL_P50_MS_MAX: u64 = 1_000;
pub(super) const STALL_P99_MS_MAX: u64 = 3_000;

/// What is to be said of the longest acts of rounds, in order, if they are above the bounds.
pub(super) fn is_over(what: &str, p50_ms_max: u64, longest: &[u64]) -> Option<String> {
    let (p50, p99) = (at(longest, 50), at(longest, 99));
    let is_over = p50_ms_max < p50 || STALL_P99_MS_MAX < p99;
    is_over.then(|| format!("{what}, p50 {p50} ms, p99 {p99} ms"))
}

/// The value that a share of all, in per cent, does not exceed.
pub(super) fn at(sorted: &[u64], per_cent: usize) -> u64 {
    let rank = (sorted.len() * per_cent).div_ceil(100);
    sorted[rank.clamp(1, sorted.len()) - 1]
}
