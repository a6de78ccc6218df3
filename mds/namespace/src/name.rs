//! Names of directory entries: the bytes that are valid.
//!
//! A name is 1 to 255 bytes of any value but `/` and NUL, and neither `.` nor `..`. It need not be
//! UTF-8.

use crate::FsError;
use crate::limits::NAME_BYTES_MAX;

/// Checks a client's name.
///
/// # Errors
/// [`FsError::Invalid`] if empty, [`FsError::NameTooLong`], [`FsError::BadName`].
pub fn check(name: &[u8]) -> Result<(), FsError> {
    if name.is_empty() {
        return Err(FsError::Invalid);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(FsError::NameTooLong);
    }
    if name == b"." || name == b".." || name.iter().any(|&byte| byte == b'/' || byte == 0) {
        return Err(FsError::BadName);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bytes_with_few_exceptions() {
        for good in [&b"a"[..], b"...", b".x", b"\xff\xfe", b" ", &[b'x'; 255]] {
            assert_eq!(check(good), Ok(()));
        }
        assert_eq!(check(b""), Err(FsError::Invalid));
        assert_eq!(check(&[b'x'; 256]), Err(FsError::NameTooLong));
        for bad in [&b"."[..], b"..", b"a/b", b"/", b"a\0"] {
            assert_eq!(check(bad), Err(FsError::BadName));
        }
    }
}
