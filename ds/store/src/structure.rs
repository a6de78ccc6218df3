//! What a store has beside data: its superblock, twice, and the header blocks, footers and record headers of its journal. No request reads
//! them, so a scrub looks at them, and a start that meets a bad one goes on where the same is said elsewhere.
//!
//! INVARIANT: a superblock is written anew only with what the store was opened as. A segment of which such a part is bad stays until all
//! that lives in it was copied.
//! Spec: docs/formats/journal.md §1, §6.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::{Disk, Env, OpenMode};
use wal::Corruption;

use crate::error::OpenError;
use crate::store::Store;
use crate::superblock::{SUPERBLOCK_BYTES, Superblock, SuperblockError};

/// The superblock's file, and that of its copy.
const NAMES: [&str; 2] = ["superblock", "superblock.copy"];

/// Finds the superblock of a store; formats an empty directory. Tells how many of its two files were bad or missing and are good now.
pub(crate) async fn load_or_format(env: &Env, dir: &Path) -> Result<(Superblock, usize), OpenError> {
    let disk: &dyn Disk = &*env.disk;
    let journal = dir.join("journal");
    disk.create_dir_all(dir).await?;
    let [first, copy] = [read(disk, &dir.join(NAMES[0])).await?, read(disk, &dir.join(NAMES[1])).await?];
    match (first, copy) {
        // What another version wrote, nobody here may write.
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
            tracing::warn!(dir = %dir.display(), ?first, "the superblock was bad or gone: it is written anew from its copy");
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
async fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Result<Superblock, SuperblockError>>> {
    if !disk.exists(path).await? {
        return Ok(None);
    }
    let file = disk.open(path, OpenMode::READ).await?;
    // One byte more than a superblock: a longer file is not one.
    let bytes = file.read_at(0, SUPERBLOCK_BYTES + 1).await?;
    Ok(Some(Superblock::decode(&bytes)))
}

async fn write(disk: &dyn Disk, dir: &Path, name: &str, superblock: &Superblock) -> io::Result<()> {
    let fresh: PathBuf = dir.join("superblock.new");
    let file = disk.open(&fresh, OpenMode { truncate: true, ..OpenMode::CREATE }).await?;
    file.write_at_and_sync(vec![Bytes::copy_from_slice(&superblock.encode())], 0).await?;
    disk.rename(&fresh, &dir.join(name)).await?;
    disk.sync_dir(dir).await
}

impl Store {
    /// Compares both files of the superblock with what the store was opened as, and writes anew what is not that. Tells how many were
    /// bad, all of which are good now.
    ///
    /// # Errors
    /// The disk's.
    pub async fn check_superblock(&self) -> io::Result<u64> {
        let inner = &self.inner;
        let (disk, mut bad) = (&*inner.env.disk, 0);
        for name in NAMES {
            if read(disk, &inner.dir.join(name)).await? == Some(Ok(inner.superblock)) {
                continue;
            }
            write(disk, &inner.dir, name, &inner.superblock).await?;
            tracing::error!(name, "a superblock was bad or gone: it is written anew");
            bad += 1;
        }
        Ok(bad)
    }

    /// The segments of the journal that are complete, after the one that is being written was completed: then the headers of its records
    /// can be compared with its footer.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn complete_segments(&self) -> Result<Vec<u64>, crate::ChangeError> {
        self.inner.wal.roll().await?;
        Ok(self.inner.wal.segments().iter().filter(|one| one.sealed).map(|one| one.seq).collect())
    }

    /// Looks at what surrounds the payloads of a complete segment. Where something is bad, the segment is emptied as soon as that can be.
    /// Tells how many places were bad, and how many bytes were read.
    ///
    /// # Errors
    /// The disk's.
    pub async fn check_segment(&self, segment: u64) -> io::Result<(u64, u64)> {
        let (bad, bytes) = self.inner.wal.check_segment(segment).await?;
        self.inner.empty_bad(&bad);
        Ok((bad.len() as u64, bytes))
    }

    /// Whether a segment is still there.
    #[must_use]
    pub fn has_segment(&self, segment: u64) -> bool {
        self.inner.wal.segments().iter().any(|one| one.seq == segment)
    }

    /// What was said by records in these segments is said elsewhere now: they are emptied.
    pub fn relieve(&self, segments: &[u64]) {
        let mut known = self.inner.index.segments();
        segments.iter().for_each(|segment| known.relieve(*segment));
        drop(known);
        self.inner.wake.notify_one();
    }

    /// Places that the opening found bad, and that nothing was lost with.
    #[must_use]
    pub fn found_bad_at_start(&self) -> u64 {
        self.inner.found_bad
    }
}

impl crate::store::Inner {
    /// Has segments with bad places emptied.
    pub(crate) fn empty_bad(&self, bad: &[Corruption]) {
        for Corruption { segment, offset, end, what } in bad {
            tracing::error!(segment, offset, end, %what, "a part of the journal is bad: the segment is emptied");
            self.index.segments().relieve(*segment);
        }
        if !bad.is_empty() {
            self.wake.notify_one();
        }
    }
}
