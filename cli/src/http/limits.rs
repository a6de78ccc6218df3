//! Bounds of the metrics port.

/// Connections at a time. A scraper has one.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// Milliseconds in which a request comes whole, and a part of its answer is taken.
pub(crate) const QUIET_MS_MAX: u64 = 10_000;

/// Milliseconds that a connection lasts.
pub(crate) const LIFE_MS_MAX: u64 = 60_000;

/// Milliseconds after which it is tried again to accept when that failed: there are no descriptors
/// left.
pub(crate) const ACCEPT_RETRY_MS: u64 = 50;
