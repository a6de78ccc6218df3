//! What a store has beside data: its superblock, twice, and the header blocks, footers and record
//! headers of its journal. No request reads them, so a scrub looks at them, and a start that meets
//! a bad one goes on where the same is said elsewhere.
//!
//! INVARIANT: a superblock is rewritten only with what the store was opened as. A segment of
//! which such a part is bad stays until all that lives in it was copied.
//! Spec: docs/formats/journal.md §1, §6.

use std::io;

use wal::Corruption;

use crate::store::{Inner, Store};
use crate::superblock_files::{NAMES, read, write};

impl Store {
    /// Compares both files of the superblock with what the store was opened as, and rewrites
    /// what is not that. Tells how many were bad, all of which are good now.
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
            tracing::error!(name, "a superblock was bad or gone: it is rewritten");
            bad += 1;
        }
        assert!(bad <= NAMES.len() as u64, "no more are bad than there are");
        Ok(bad)
    }

    /// The segments of the journal that are complete, after the one that is being written was
    /// completed: then the headers of its records can be compared with its footer.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn complete_segments(&self) -> Result<Vec<u64>, crate::ChangeError> {
        self.inner.wal.roll().await?;
        Ok(self.inner.wal.segments().iter().filter(|one| one.sealed).map(|one| one.seq).collect())
    }

    /// Looks at what surrounds the payloads of a complete segment. Where something is bad, the
    /// segment is emptied as soon as that can be. Tells how many places were bad, and how many
    /// bytes were read.
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

impl Inner {
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
