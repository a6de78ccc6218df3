//! Bounds of the data path.

/// Most bytes of one READ or WRITE call; larger ones are cut.
pub const TRANSFER_BYTES_MAX: u64 = 1 << 20;
/// Calls of one read or write that are under way at the same time.
pub const PARALLEL_CALLS_MAX: usize = 8;
/// How long a data server may take for one call.
pub const CALL_MS_MAX: u64 = 20_000;
/// How long a control call may take.
pub const CONTROL_MS_MAX: u64 = 10_000;
/// How long the parity of a group may take: twelve images are read and four written, while clients
/// come first.
pub const ENCODE_MS_MAX: u64 = 300_000;
/// How long an image may take that is made again from up to eight others.
pub const REBUILD_MS_MAX: u64 = 300_000;
/// How long what an administrator asks may take: extents may have to be counted.
pub const ADMIN_MS_MAX: u64 = 120_000;
/// Metadata servers that are asked one after the other which of them leads.
pub const ADMIN_CALLS_MAX: usize = 16;
/// Pause before a call that was answered JUKEBOX is made again.
pub const JUKEBOX_PAUSE_MS: u64 = 200;
/// How often a call that was answered JUKEBOX is made again.
pub const JUKEBOX_RETRIES_MAX: u32 = 25;
/// Data servers with an open connection.
pub const CONNECTIONS_MAX: usize = 1024;
