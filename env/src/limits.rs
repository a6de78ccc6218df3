//! Named caps of the disk, network and clock back ends.

/// A process that did not look at its clock for so long did not run: it was stopped, or its machine
/// was.
pub const PAUSE_NS_MIN: u64 = 1_000_000_000;

/// How often it looks, if it runs.
pub const PAUSE_LOOK_MS: u64 = 200;

/// One write of [`zero_fill`](crate::disk::zero_fill).
pub const ZERO_FILL_BYTES: usize = 1 << 20;

/// Threads of a blocking disk: enough that a few long syncs do not hold up reads.
pub const BLOCKING_THREADS: usize = 8;

/// Bytes that a prompt disk writes and syncs on the caller's thread; more goes to another.
pub const PROMPT_BYTES_MAX: u64 = 256 << 10;

/// How long syncs may take on average for a prompt disk to make them on the caller's thread.
pub const PROMPT_SYNC_NS_MAX: u64 = 500_000;

/// Operations waiting for a thread of a blocking disk, or for the ring thread; further callers
/// wait.
pub const SUBMISSIONS_MAX: usize = 1024;

/// Threads beside a ring, for the calls that have to do with names and are rare.
pub const RING_NAME_THREADS: usize = 2;

/// Entries of a ring's submission queue.
pub const RING_ENTRIES: u32 = 256;

/// Operations under way in one ring. The completion queue is made twice the submission queue, so it
/// cannot overflow.
pub const RING_IN_FLIGHT_MAX: usize = 400;

/// Buffers in one vectored write; the kernel's `IOV_MAX`.
pub const WRITE_BUFFERS_MAX: usize = 1024;

/// Bytes of one `read` or `write` call (the kernel's own cap is just under 2 GiB).
pub const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// Connections that a guard keeps open for its server. What comes beyond ends with the server as
/// any connection does.
pub const GUARDED_SOCKETS_MAX: usize = 4096;

const _: () = assert!(RING_IN_FLIGHT_MAX < 2 * RING_ENTRIES as usize, "completions fit the ring");
