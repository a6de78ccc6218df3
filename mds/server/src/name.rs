//! Names from the wire: refused before they reach a command.
//!
//! Any bytes but `/` and NUL make a name. RFC 8881 §14.4 allows only UTF-8; like Linux and its
//! servers we keep the bytes that the client's programs wrote.
//!
//! Spec: RFC 8881 §14, §18.4.3 (ZERO-length names are INVAL), §15.1.7.

use wire_nfs::v4::Nfsstat4;

/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 255;

/// The rules of a name.
#[derive(Debug)]
pub(crate) struct Name;

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// INVAL for an empty name, NAMETOOLONG above 255 bytes, BADNAME for `.`, `..` and names with
    /// `/` or NUL.
    pub(crate) fn check(name: &[u8]) -> Result<&[u8], Nfsstat4> {
        if name.is_empty() {
            return Err(Nfsstat4::Inval);
        }
        if NAME_BYTES_MAX < name.len() {
            return Err(Nfsstat4::Nametoolong);
        }
        if name == b"." || name == b".." || name.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(Nfsstat4::Badname);
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(Name::check(b"a"), Ok(b"a".as_slice()));
        assert_eq!(Name::check(b"..."), Ok(b"...".as_slice()));
        assert_eq!(Name::check(&[0xff; 255]), Ok([0xff; 255].as_slice()));
        assert_eq!(Name::check(b""), Err(Nfsstat4::Inval));
        assert_eq!(Name::check(&[b'a'; 256]), Err(Nfsstat4::Nametoolong));
        for bad in [b".".as_slice(), b"..", b"a/b", b"a\0b"] {
            assert_eq!(Name::check(bad), Err(Nfsstat4::Badname));
        }
    }
}
