//! Bounds of the RPC layer.

/// The longest body of a credential or a verifier, in bytes (RFC 5531 §8.2).
pub const AUTH_BODY_BYTES_MAX: usize = 400;

/// The longest machine name in an AUTH_SYS credential, in bytes (RFC 5531 §14).
pub const MACHINE_NAME_BYTES_MAX: usize = 255;

/// The most supplementary groups in an AUTH_SYS credential (RFC 5531 §14).
pub const GIDS_MAX: usize = 16;

/// How far a stream is read ahead while the length of the next record is not known. It is also the
/// most that is ever moved when a large record turns out to follow, so it stays small against one.
pub const READ_AHEAD_BYTES: usize = 16 * 1024;

const _: () = assert!(20 + MACHINE_NAME_BYTES_MAX + 1 + 4 * GIDS_MAX <= AUTH_BODY_BYTES_MAX);
