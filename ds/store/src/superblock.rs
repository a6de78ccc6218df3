//! The file that says whose store a directory is.
//!
//! INVARIANT: written once; a store is never opened with another's journal.
//! Spec: docs/formats/journal.md §1.

/// Bytes of a superblock.
pub(crate) const SUPERBLOCK_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"SHOALDS1";
const VERSION: u32 = 1;
const CRC_AT: usize = 60;
const _: () = assert!(CRC_AT + 4 == SUPERBLOCK_BYTES, "the checksum ends the superblock");

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) uuid: [u8; 16],
    pub(crate) formatted_unix_ns: u64,
}

/// Why a superblock is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// It has another length.
    #[error("a superblock of {bytes} bytes")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// It begins with something else.
    #[error("not a data server's store")]
    Magic,
    /// A version that is not known.
    #[error("store version {version} is not known")]
    Version {
        /// Its version.
        version: u32,
    },
    /// The checksum is wrong.
    #[error("the superblock is damaged")]
    Damaged,
}

impl Superblock {
    pub(crate) fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.uuid);
        bytes[32..40].copy_from_slice(&self.formatted_unix_ns.to_be_bytes());
        let crc = crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        debug_assert_eq!(Self::decode(&bytes), Ok(*self), "a superblock reads back");
        bytes
    }

    /// # Errors
    /// Any [`SuperblockError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let bytes: &[u8; SUPERBLOCK_BYTES] =
            bytes.try_into().map_err(|_| SuperblockError::Length { bytes: bytes.len() })?;
        if bytes[..8] != *MAGIC {
            return Err(SuperblockError::Magic);
        }
        if bytes[CRC_AT..] != crc32c(&bytes[..CRC_AT]).to_be_bytes() {
            return Err(SuperblockError::Damaged);
        }
        let version = u32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(SuperblockError::Version { version });
        }
        let uuid = bytes[16..32].try_into().expect("sixteen bytes");
        let formatted_unix_ns = u64::from_be_bytes(bytes[32..40].try_into().expect("eight bytes"));
        Ok(Self { uuid, formatted_unix_ns })
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).expect("a CRC-32C has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblock_has_its_golden_bytes() {
        let block = Superblock { uuid: [0x11; 16], formatted_unix_ns: 0x22 };
        let bytes = block.encode();
        assert_eq!(bytes[..16], *b"SHOALDS1\0\0\0\x01\0\0\0\0");
        assert_eq!(
            bytes[16..40],
            *b"\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\0\0\0\0\0\0\0\x22"
        );
        assert_eq!(bytes[40..60], [0; 20]);
        assert_eq!(Superblock::decode(&bytes), Ok(block));
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let bytes = Superblock { uuid: [7; 16], formatted_unix_ns: 1 }.encode();
        for at in 0..SUPERBLOCK_BYTES {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert!(Superblock::decode(&changed).is_err(), "{at}");
            assert!(Superblock::decode(&bytes[..at]).is_err(), "{at}");
        }
    }
}
