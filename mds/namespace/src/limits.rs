//! Bounds of the namespace.

/// Longest name of a directory entry, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest target of a symbolic link, in bytes (Linux PATH_MAX without its terminating zero).
pub const SYMLINK_BYTES_MAX: usize = 4095;

/// Most content kept in the metadata store for one file, in bytes.
pub const INLINE_BYTES_MAX: u64 = 16 * 1024;

/// Most images of one extent: the one in use, and newer ones that its primary and replicas do not
/// use yet.
pub const EXTENT_IMAGES_MAX: usize = 4;

/// Longest regular file, in bytes: behind it no extent could hold data.
pub const FILE_BYTES_MAX: u64 = layout::FILE_BYTES_MAX;

/// A read updates an access time that is older than this, seconds.
pub const ACCESS_S_MAX: i64 = 24 * 60 * 60;

/// Reads of a file with a modification time in the future update the access time no more often,
/// seconds.
pub const ACCESS_S_MIN: i64 = 60;

/// Most names one file may have.
pub const LINKS_MAX: u32 = 1_000_000;

/// Most directories between an object and the root that an operation walks. A client can make
/// deeper trees, directory by directory; in these, directories cannot be moved.
pub const DEPTH_MAX: u32 = 1 << 16;

/// Keys that an act on several shards may write in one of them: a rename between two directories
/// that replaces an object writes ten.
pub const PART_WRITES_MAX: usize = 32;

/// Cookies tried for one name before a directory counts as full: the low byte of a cookie.
pub const COOKIES_PER_NAME: u64 = 256;

/// Most entries that one listing call returns, whatever limit the caller passes.
pub const LIST_ENTRIES_MAX: usize = 4096;

/// Target size of one chunk of a store export, in bytes.
pub const EXPORT_CHUNK_BYTES: usize = 1024 * 1024;

/// Keys removed or written per transaction while a store is replaced.
pub const LOAD_PAIRS_PER_COMMIT: usize = 16 * 1024;

/// Memory for cached pages of the store on disk, unless configured otherwise, in bytes.
pub const DISK_CACHE_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

const _: () = assert!(FILE_BYTES_MAX < i64::MAX as u64, "offsets are positive as `off_t`");
const _: () = assert!(ACCESS_S_MIN <= ACCESS_S_MAX, "the longest wait is the longer one");
const _: () = assert!(10 <= PART_WRITES_MAX, "a rename writes ten keys");
const _: () = assert!(2 <= EXTENT_IMAGES_MAX, "a newer image waits beside the one in use");
const _: () = assert!(INLINE_BYTES_MAX <= layout::EXTENT_BYTES, "inline content fits extent 0");
