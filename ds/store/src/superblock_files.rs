//! The two files of the superblock: found, formatted, read, written.
//!
//! INVARIANT: a superblock is written again only with what the store was opened as.
//! Spec: docs/formats/journal.md §1.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::{Disk, Env, OpenMode};

use crate::error::OpenError;
use crate::superblock::{SUPERBLOCK_BYTES, Superblock, SuperblockError};

/// The superblock's file, and that of its copy.
pub(crate) const NAMES: [&str; 2] = ["superblock", "superblock.copy"];

/// Finds the superblock of a store; formats an empty directory. Tells how many of its two files
/// were bad or missing and are good now.
pub(crate) async fn load_or_format(env: &Env, dir: &Path) -> Result<(Superblock, usize), OpenError> {
    let disk: &dyn Disk = &*env.disk;
    let journal = dir.join("journal");
    disk.create_dir_all(dir).await?;
    let [first, copy] = [read(disk, &dir.join(NAMES[0])).await?, read(disk, &dir.join(NAMES[1])).await?];
    match (first, copy) {
        // What another version wrote is not overwritten.
        (Some(Err(error @ SuperblockError::Version { .. })), _) => Err(error.into()),
        (_, Some(Err(error @ SuperblockError::Version { .. }))) => Err(error.into()),
        (Some(Ok(one)), Some(Ok(other))) if one == other => Ok((one, 0)),
        (Some(Ok(one)), Some(Ok(_))) => Err(OpenError::TwoStores { uuid: one.uuid }),
        (Some(Ok(one)), copy) => {
            write(disk, dir, NAMES[1], &one).await?;
            // A store of an earlier start has no copy yet: nothing was bad.
            Ok((one, usize::from(copy.is_some())))
        }
        (first, Some(Ok(other))) => {
            tracing::warn!(dir = %dir.display(), ?first, "the superblock was bad or gone: it is written again from its copy");
            write(disk, dir, NAMES[0], &other).await?;
            Ok((other, 1))
        }
        (Some(Err(error)), _) | (None, Some(Err(error))) => Err(error.into()),
        (None, None) => {
            disk.create_dir_all(&journal).await?;
            if !disk.list(&journal).await?.is_empty() {
                return Err(OpenError::Headless);
            }
            let mut uuid = [0; 16];
            env.entropy.fill(&mut uuid);
            let superblock = Superblock { uuid, formatted_unix_ns: env.clock.wall_ns() };
            write(disk, dir, NAMES[0], &superblock).await?;
            write(disk, dir, NAMES[1], &superblock).await?;
            Ok((superblock, 0))
        }
    }
}

/// What a file says; `None` if there is none.
pub(crate) async fn read(
    disk: &dyn Disk,
    path: &Path,
) -> io::Result<Option<Result<Superblock, SuperblockError>>> {
    if !disk.exists(path).await? {
        return Ok(None);
    }
    let file = disk.open(path, OpenMode::READ).await?;
    // One byte more than a superblock: a longer file is not one.
    let bytes = file.read_at(0, SUPERBLOCK_BYTES + 1).await?;
    Ok(Some(Superblock::decode(&bytes)))
}

/// Replaces one of the two files. On stable storage when it returns.
pub(crate) async fn write(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    superblock: &Superblock,
) -> io::Result<()> {
    let fresh: PathBuf = dir.join("superblock.new");
    let file = disk.open(&fresh, OpenMode { truncate: true, ..OpenMode::CREATE }).await?;
    file.write_at_and_sync(vec![Bytes::copy_from_slice(&superblock.encode())], 0).await?;
    disk.rename(&fresh, &dir.join(name)).await?;
    disk.sync_dir(dir).await
}
