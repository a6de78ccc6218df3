//! Named caps of a load.

/// Sessions of one load.
pub const SESSIONS_MAX: usize = 4_096;

/// Directories of one load.
pub const DIRECTORIES_MAX: u64 = 1_000_000;

/// Files of one load.
pub const FILES_MAX: u64 = 100_000_000;

/// Milliseconds that a request may take.
pub const CALL_MS_MAX: u64 = 60_000;

/// How long a server may put a request off, milliseconds: a server's period of grace is over by
/// then.
pub const PATIENCE_MS_MAX: u64 = 120_000;

/// Between two sends of a request that was answered DELAY, milliseconds.
pub const DELAY_MS: u64 = 50;

/// A session without a request for this long sends an empty one, milliseconds: a fraction of any
/// lease.
pub const RENEW_MS: u64 = 2_000;

/// Bytes of one answer to READDIR, as stock clients of today ask for.
pub const LIST_BYTES: u32 = 128 << 10;

/// Bytes of a request or an answer.
pub const MESSAGE_BYTES: u32 = 1 << 20;
