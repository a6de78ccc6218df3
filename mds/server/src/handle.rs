//! The metadata server's filehandle: export, inode, generation, and a MAC so that clients cannot
//! forge one.
//!
//! A client that guesses inode numbers could otherwise walk out of the export it was given. Data
//! servers have handles of their own (`layout::handle`).
//!
//! ```text
//!  0        1        2                 4                                   8
//!  +--------+--------+--------+--------+--------+--------+--------+--------+
//!  |version |zero    |export           |generation                         |
//!  +--------+--------+--------+--------+--------+--------+--------+--------+
//!  |inode number                                                           |
//!  +--------+--------+--------+--------+--------+--------+--------+--------+
//!  |first 8 bytes of keyed BLAKE3 over the 16 bytes before                 |
//!  +--------+--------+--------+--------+--------+--------+--------+--------+
//! ```
//!
//! Spec: RFC 8881 §4 (persistent handles; `fh_expire_type` is FH4_PERSISTENT).

use mds_namespace::Ino;

/// Length on the wire.
pub const HANDLE_BYTES: usize = 24;
const VERSION: u8 = 1;
const MAC_AT: usize = 16;

/// Number of an export: its path keeps it for as long as the cluster lives. `PSEUDO` is the
/// read-only tree that leads to the exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExportId(pub u16);

impl ExportId {
    /// The read-only tree above the exports.
    pub const PSEUDO: Self = Self(u16::MAX);
}

/// An object as a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHandle {
    /// The export it was reached through.
    pub export: ExportId,
    /// Guards against a restored backup.
    pub generation: u32,
    /// Its inode.
    pub ino: Ino,
}

/// Why a handle is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// Not ours: wrong length, version or MAC (BADHANDLE).
    #[error("filehandle was not made by this cluster")]
    Bad,
}

/// Makes and checks handles.
#[derive(Clone)]
pub struct HandleMaker {
    key: [u8; 32],
}

impl std::fmt::Debug for HandleMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandleMaker")
    }
}

impl HandleMaker {
    /// Derives the key for metadata handles from the file system's handle key.
    #[must_use]
    pub fn new(file_system_key: &[u8; 32]) -> Self {
        Self { key: blake3::derive_key("shoal 2026-11 metadata filehandle v1", file_system_key) }
    }

    /// The wire form of a handle.
    #[must_use]
    pub fn seal(&self, handle: FileHandle) -> [u8; HANDLE_BYTES] {
        let mut bytes = [0; HANDLE_BYTES];
        bytes[0] = VERSION;
        bytes[2..4].copy_from_slice(&handle.export.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&handle.generation.to_be_bytes());
        bytes[8..16].copy_from_slice(&handle.ino.to_be_bytes());
        let mac = self.mac(&bytes[..MAC_AT]);
        bytes[MAC_AT..].copy_from_slice(&mac);
        bytes
    }

    /// Checks a handle from the wire.
    ///
    /// # Errors
    /// [`HandleError::Bad`] for anything this cluster did not make.
    pub fn open(&self, bytes: &[u8]) -> Result<FileHandle, HandleError> {
        let bytes: &[u8; HANDLE_BYTES] = bytes.try_into().map_err(|_| HandleError::Bad)?;
        if bytes[0] != VERSION || bytes[1] != 0 || self.mac(&bytes[..MAC_AT]) != bytes[MAC_AT..] {
            return Err(HandleError::Bad);
        }
        let [_, _, e0, e1, g0, g1, g2, g3, rest @ ..] = bytes;
        let ino = rest.first_chunk::<8>().expect("24 bytes less 8 hold 8 more");
        Ok(FileHandle {
            export: ExportId(u16::from_be_bytes([*e0, *e1])),
            generation: u32::from_be_bytes([*g0, *g1, *g2, *g3]),
            ino: Ino::from_be_bytes(*ino),
        })
    }

    fn mac(&self, bytes: &[u8]) -> [u8; HANDLE_BYTES - MAC_AT] {
        let hash = blake3::keyed_hash(&self.key, bytes);
        *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_and_back() {
        let maker = HandleMaker::new(&[7; 32]);
        let handle = FileHandle { export: ExportId(2), generation: 3, ino: 0x0001_0000_0000_002a };
        let bytes = maker.seal(handle);
        assert_eq!(bytes[..16], [1, 0, 0, 2, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0x2a]);
        assert_eq!(maker.open(&bytes), Ok(handle));
    }

    #[test]
    fn any_changed_bit_and_any_other_length_is_refused() {
        let maker = HandleMaker::new(&[7; 32]);
        let bytes = maker.seal(FileHandle { export: ExportId(0), generation: 0, ino: 1 });
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(maker.open(&bad), Err(HandleError::Bad), "bit {bit}");
        }
        for length in 0..HANDLE_BYTES {
            assert_eq!(maker.open(&bytes[..length]), Err(HandleError::Bad));
        }
        assert_eq!(HandleMaker::new(&[8; 32]).open(&bytes), Err(HandleError::Bad));
    }
}
