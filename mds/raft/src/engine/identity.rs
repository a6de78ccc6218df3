//! A node's name in the engines: its number, and a random mark that is made with its directory.
//!
//! A node that lost its disk has forgotten its promises: the votes it gave, and the entries it
//! acknowledged. Under its old name its messages would still count. So a new directory is a new
//! node, which is in no shard until the others admit it.
//!
//! The name is stored twice: in the directory, and with the log, since only the log has the
//! promises made under it. So a directory that lost its log differs from one whose log is still
//! empty.
//!
//! INVARIANT: the name is durable, first with the log and then in the directory, before the node's
//! log gets an entry.
//! Spec: docs/formats/identity.md, docs/protocol/raft.md §Who is who.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::{Disk, Entropy, OpenMode};

use super::type_config::NodeId;

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

/// A new random name. Its first bit is zero.
fn new(number: u64, entropy: &dyn Entropy) -> NodeId {
    let id = (entropy.u64() >> 1 & !NUMBER_MAX) | number;
    assert!(number_of(id) == number, "a name has its node's number");
    assert!(id >> 63 == 0, "the first bit of a name is zero");
    id
}

/// The directory of a node's log, and of the second copy of its name.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn path(dir: &Path) -> PathBuf {
    dir.join("identity")
}

/// Whether the node in `dir` has a name.
///
/// # Errors
/// The disk's.
pub(crate) async fn exists(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    Ok(disk.exists(&path(dir)).await? || disk.exists(&path(&log_dir(dir))).await?)
}

/// The name of the node in `dir`; made if there is none. `is_blank`: its log is empty. A log
/// without a name is of an earlier version, whose nodes are named by their number.
///
/// # Errors
/// The disk's; [`io::ErrorKind::InvalidData`] if a file is not an identity, or another node's;
/// [`io::ErrorKind::NotFound`] if the log that was begun under the name is gone.
pub(crate) async fn load_or_make(
    disk: &dyn Disk,
    entropy: &dyn Entropy,
    dir: &Path,
    number: u64,
    is_blank: bool,
) -> io::Result<NodeId> {
    let log_dir = log_dir(dir);
    match (read(disk, dir, number).await?, read(disk, &log_dir, number).await?) {
        (Some(id), Some(of_log)) if id == of_log => Ok(id),
        (Some(_), Some(_)) => Err(other_log(dir, &log_dir)),
        (Some(_), None) if is_blank => Err(log_gone(dir, &log_dir, number)),
        // From a version whose log had no copy.
        (Some(id), None) => write(disk, &log_dir, id).await.map(|()| id),
        // The power failed between the two writes, or the file was lost: the promises are in the
        // log.
        (None, Some(id)) => write(disk, dir, id).await.map(|()| id),
        (None, None) if !is_blank => Ok(number),
        (None, None) => {
            let id = new(number, entropy);
            // In this order: a node that has a name has a log with a copy of it.
            write(disk, &log_dir, id).await?;
            write(disk, dir, id).await?;
            Ok(id)
        }
    }
}

fn other_log(dir: &Path, log_dir: &Path) -> io::Error {
    let (dir, log_dir) = (dir.display(), log_dir.display());
    let what =
        format!("{log_dir} is the log of another metadata server's life than {dir} is of: it is not used");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn log_gone(dir: &Path, log_dir: &Path, number: u64) -> io::Error {
    let (dir, log_dir) = (dir.display(), log_dir.display());
    let what = format!(
        "the log of this metadata server is gone: {log_dir} has nothing of it. If it is on a disk that is not mounted, mount that. Else what this \
         server promised the others is forgotten: move {dir} away, start it with an empty directory, and have it taken in again (shoal admin mds \
         readmit {number})"
    );
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// The name in a directory, if there is one.
async fn read(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<Option<NodeId>> {
    let path = path(dir);
    if !disk.exists(&path).await? {
        return Ok(None);
    }
    let file = disk.open(&path, OpenMode::READ).await?;
    let id = decode(&file.read_at(0, BYTES + 1).await?)?;
    if number_of(id) != number {
        let what = format!("this directory is of metadata server {}, not of {number}", number_of(id));
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(Some(id))
}

/// Writes a name into a directory, durably.
async fn write(disk: &dyn Disk, dir: &Path, id: NodeId) -> io::Result<()> {
    let fresh = dir.join("identity.new");
    let file = disk.open(&fresh, OpenMode { truncate: true, ..OpenMode::CREATE }).await?;
    file.write_at_and_sync(vec![encode(id)], 0).await?;
    disk.rename(&fresh, &path(dir)).await?;
    disk.sync_dir(dir).await
}

fn encode(id: NodeId) -> Bytes {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&checksum(&bytes).to_be_bytes());
    assert!(bytes.len() == BYTES, "a name has fields of fixed lengths");
    debug_assert!(decode(&bytes).is_ok_and(|read| read == id), "a written name can be read");
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
    use std::time::Duration;

    use env::memory::{Crash, CrashPoint, MemoryDisk, SeededEntropy};

    use super::*;

    const DIR: &str = "/node";

    async fn load(disk: &MemoryDisk, seed: u64, number: u64, is_blank: bool) -> io::Result<NodeId> {
        let dir = Path::new(DIR);
        disk.create_dir_all(&log_dir(dir)).await.unwrap();
        load_or_make(disk, &SeededEntropy::new(seed), dir, number, is_blank).await
    }

    async fn remove(disk: &MemoryDisk, dir: &Path) {
        disk.remove(&path(dir)).await.unwrap();
        disk.sync_dir(dir).await.unwrap();
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
        assert!(!exists(&disk, Path::new(DIR)).await.unwrap());
    }

    /// The log's directory was removed, or is on a disk that is not mounted.
    #[tokio::test]
    async fn a_directory_whose_log_is_gone_is_refused() {
        let (disk, dir) = (MemoryDisk::new(), Path::new(DIR));
        let id = load(&disk, 1, 3, true).await.unwrap();
        remove(&disk, &log_dir(dir)).await;
        for _ in 0..2 {
            let refused = load(&disk, 2, 3, true).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::NotFound);
            let said = refused.to_string();
            assert!(said.contains("/node/log has nothing of it") && said.contains("mds readmit 3"), "{said}");
        }
        // A directory of a version whose log had no copy gets it, and is refused from then on.
        assert_eq!(load(&disk, 2, 3, false).await.unwrap(), id);
        assert_eq!(load(&disk, 2, 3, true).await.unwrap(), id);
        remove(&disk, &log_dir(dir)).await;
        assert!(load(&disk, 2, 3, true).await.is_err());
    }

    #[tokio::test]
    async fn the_log_knows_whose_it_is() {
        let (disk, dir) = (MemoryDisk::new(), Path::new(DIR));
        let id = load(&disk, 1, 3, true).await.unwrap();
        remove(&disk, dir).await;
        assert_eq!(load(&disk, 2, 3, false).await.unwrap(), id);
        // The log of an earlier incarnation, or of a later one.
        write(&disk, &log_dir(dir), id ^ 1 << 40).await.unwrap();
        let refused = load(&disk, 2, 3, false).await.unwrap_err();
        assert!(refused.to_string().contains("another metadata server's life"), "{refused}");
    }

    /// Whenever the power fails while the name is made, the node starts, and has one name from then
    /// on.
    #[tokio::test]
    async fn a_power_cut_at_any_time_leaves_one_name() {
        let whole = MemoryDisk::new();
        load(&whole, 1, 3, true).await.unwrap();
        assert!(4 <= whole.operations(), "two files, two directories");
        for operation in 0..whole.operations() {
            for point in [CrashPoint::Fails, CrashPoint::Before, CrashPoint::After, CrashPoint::Lost] {
                for crash in [Crash::Drop, Crash::Keep, Crash::Tear { seed: operation }] {
                    let disk = MemoryDisk::new();
                    disk.crash_at(operation, point);
                    let made = tokio::time::timeout(Duration::from_millis(20), load(&disk, 1, 3, true)).await;
                    disk.crash(crash);
                    let id = load(&disk, 2, 3, true).await.unwrap();
                    if let Ok(Ok(made)) = made {
                        assert_eq!(made, id, "{operation} {point:?}");
                    }
                    disk.crash(Crash::Drop);
                    assert_eq!(load(&disk, 3, 3, true).await.unwrap(), id, "{operation} {point:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn both_copies_are_alike() {
        let (disk, dir) = (MemoryDisk::new(), Path::new(DIR));
        let id = load(&disk, 1, 3, true).await.unwrap();
        for dir in [dir, &log_dir(dir)] {
            let file = disk.open(&path(dir), OpenMode::READ).await.unwrap();
            assert_eq!(file.read_at(0, BYTES + 1).await.unwrap(), encode(id));
        }
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
