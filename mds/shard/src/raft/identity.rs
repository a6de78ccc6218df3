//! Who a node is to the engines: its number, and a mark that is made with its directory.
//!
//! A node that lost its disk has forgotten what it promised: which votes it gave, and which entries it said it had. Under the name of before
//! its word would still count. So a directory that is made anew is somebody else, who is in no shard until the others take it in.
//!
//! INVARIANT: the name is durable before the node's log gets an entry.
//! Spec: docs/formats/identity.md, docs/protocol/raft.md §Who is who.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::{Disk, Entropy, OpenMode};

use super::NodeId;

/// Bits of a name that are the node's number.
const NUMBER_BITS: u32 = 16;
/// The highest number.
pub(crate) const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;

const MAGIC: &[u8; 8] = b"SHOALNOD";
const VERSION: u32 = 1;
const BYTES: usize = 24;

/// The number that its operator gave a node.
pub(crate) fn number_of(id: NodeId) -> u64 {
    id & NUMBER_MAX
}

/// A name that nobody had before. Its first bit is zero.
fn new(number: u64, entropy: &dyn Entropy) -> NodeId {
    (entropy.u64() >> 1 & !NUMBER_MAX) | number
}

fn path(dir: &Path) -> PathBuf {
    dir.join("identity")
}

/// Whether the node in `dir` has a name.
///
/// # Errors
/// What the disk says.
pub(crate) async fn exists(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    disk.exists(&path(dir)).await
}

/// The name of the node in `dir`; made if there is none. `is_blank`: its log has nothing yet. A log from before there were names is
/// that of the node whose name is its number.
///
/// # Errors
/// What the disk says; [`io::ErrorKind::InvalidData`] if the file is none of ours, or another node's.
pub(crate) async fn load_or_make(
    disk: &dyn Disk,
    entropy: &dyn Entropy,
    dir: &Path,
    number: u64,
    is_blank: bool,
) -> io::Result<NodeId> {
    let path = path(dir);
    if disk.exists(&path).await? {
        let file = disk.open(&path, OpenMode::READ).await?;
        let id = decode(&file.read_at(0, BYTES + 1).await?)?;
        if number_of(id) != number {
            let what = format!("this directory is of metadata server {}, not of {number}", number_of(id));
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        return Ok(id);
    }
    if !is_blank {
        return Ok(number);
    }
    let id = new(number, entropy);
    let fresh = dir.join("identity.new");
    let file = disk.open(&fresh, OpenMode { truncate: true, ..OpenMode::CREATE }).await?;
    file.write_at_and_sync(vec![encode(id)], 0).await?;
    disk.rename(&fresh, &path).await?;
    disk.sync_dir(dir).await?;
    Ok(id)
}

fn encode(id: NodeId) -> Bytes {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&checksum(&bytes).to_be_bytes());
    bytes.into()
}

fn decode(bytes: &[u8]) -> io::Result<NodeId> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("identity: {what}"));
    if bytes.len() != BYTES || bytes[..8] != MAGIC[..] {
        return Err(invalid("not one of a metadata server"));
    }
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if word(20) != checksum(&bytes[..20]) {
        return Err(invalid("checksum is wrong"));
    }
    if word(8) != VERSION {
        return Err(invalid("of a version that is not known"));
    }
    Ok(u64::from_be_bytes(bytes[12..20].try_into().expect("eight bytes")))
}

fn checksum(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).expect("a CRC-32 has 32 bits")
}

#[cfg(test)]
mod tests {
    use env::memory::{Crash, MemoryDisk, SeededEntropy};

    use super::*;

    const DIR: &str = "/node";

    async fn load(disk: &MemoryDisk, seed: u64, number: u64, is_blank: bool) -> io::Result<NodeId> {
        disk.create_dir_all(Path::new(DIR)).await.unwrap();
        load_or_make(disk, &SeededEntropy::new(seed), Path::new(DIR), number, is_blank).await
    }

    #[tokio::test]
    async fn a_name_stays_and_a_new_directory_has_another() {
        let disk = MemoryDisk::new();
        let id = load(&disk, 1, 3, true).await.unwrap();
        assert_eq!((number_of(id), id >> 63), (3, 0));
        disk.crash(Crash::Drop);
        assert_eq!(load(&disk, 2, 3, true).await.unwrap(), id);
        assert_eq!(load(&disk, 2, 3, false).await.unwrap(), id);
        assert_ne!(load(&MemoryDisk::new(), 2, 3, true).await.unwrap(), id);
        let other = load(&disk, 2, 4, false).await.unwrap_err().to_string();
        assert_eq!(other, "this directory is of metadata server 3, not of 4");
    }

    #[tokio::test]
    async fn a_log_from_before_there_were_names_keeps_its_number() {
        let disk = MemoryDisk::new();
        assert_eq!(load(&disk, 1, 3, false).await.unwrap(), 3);
        assert!(!disk.exists(&path(Path::new(DIR))).await.unwrap());
    }

    #[test]
    fn identity_bytes() {
        let bytes = encode(0x0102_0304_0506_0003);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(&hex[..40], "53484f414c4e4f44000000010102030405060003");
        assert_eq!(decode(&bytes).unwrap(), 0x0102_0304_0506_0003);
        for at in 0..bytes.len() {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            assert!(decode(&other).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
