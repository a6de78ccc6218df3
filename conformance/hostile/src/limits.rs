//! Named caps of a run.

/// Bytes of memory that a server process may use.
pub(crate) const RSS_BYTES_MAX: u64 = 1 << 30;

/// The honest client's p99 during an attack may be so many times that without it.
pub(crate) const LATENCY_RATIO_MAX: u64 = 2;

/// What the p99 may grow by whatever the ratio is, microseconds: noise of a machine of few
/// processors.
pub(crate) const LATENCY_SLACK_US: u64 = 5_000;

/// The same in the short run, whose windows hold few operations, on machines that do other work
/// too: it looks for servers that stand still.
pub(crate) const LATENCY_SLACK_QUICK_US: u64 = 2_000_000;

/// A call may wait so long for its answer, milliseconds.
pub(crate) const CALL_MS_MAX: u64 = 60_000;

/// The honest client repeats a request for so long before it counts as failed, milliseconds.
pub(crate) const PATIENCE_MS_MAX: u64 = 120_000;

/// Between two sends of a request that is to be repeated, milliseconds.
pub(crate) const REPEAT_MS: u64 = 50;

/// A server may take so long to start, milliseconds.
pub(crate) const START_MS_MAX: u64 = 60_000;

/// The cluster may take so long to be healthy after an attack, milliseconds.
pub(crate) const HEALTHY_MS_MAX: u64 = 150_000;

/// Between two samples of each process's memory and descriptors, milliseconds.
pub(crate) const SAMPLE_MS: u64 = 100;

/// After an attack window, samples of so many milliseconds count to no window.
pub(crate) const REST_MS: u64 = 500;

/// Bytes of the honest client's large file.
pub(crate) const HONEST_FILE_BYTES: usize = 8 << 20;

/// Bytes of each of its transfers.
pub(crate) const HONEST_TRANSFER_BYTES: usize = 64 << 10;

/// Bytes of its small files.
pub(crate) const HONEST_SMALL_BYTES: usize = 3_000;

/// Between two operations of the honest client, milliseconds: it leaves the servers time.
pub(crate) const HONEST_PAUSE_MS: u64 = 2;

/// Operations that a window must have for its p99 to count.
pub(crate) const SAMPLES_MIN: usize = 20;

/// Bytes of a log that a flood of refusals may add in a window.
pub(crate) const LOG_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a message.
pub(crate) const MESSAGE_BYTES: u32 = (1 << 20) + 4096;

/// The same, for a call to a data server.
pub(crate) const DATA_CALL_MS_MAX: u64 = 15_000;

/// The honest client has so long to give everything back in the end, milliseconds.
pub(crate) const LEAVE_MS_MAX: u64 = 3_000;

/// A data server's handle may be good for so long after its layout ended, milliseconds.
pub(crate) const HANDLE_MS_MAX: u64 = 65_000;

/// A handle under a key that was replaced may be good for so long, milliseconds: two heartbeats of
/// a data server.
pub(crate) const KEY_MS_MAX: u64 = 2_000;

/// A server may hold the cluster keys of its file as it was so long ago, milliseconds: it reads the
/// file every 2 s.
pub(crate) const CLUSTER_KEY_MS_MAX: u64 = 5_000;

/// `shoal admin` may take so long, seconds: a handle key is dropped half a minute after layouts
/// were recalled that stay out.
pub(crate) const ADMIN_S_MAX: u64 = 60;

/// An operation may wait so long when a data server's disk fails or hangs, milliseconds: until that
/// is noticed, its lease, and what moving takes.
pub(crate) const FAILOVER_MS_MAX: u64 = 12_000;

/// A file must be readable so long after a data server came back with less than it had,
/// milliseconds.
pub(crate) const READABLE_MS_MAX: u64 = 60_000;
