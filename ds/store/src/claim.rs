//! What an open store claims of its journal: how far it goes, and which segments are listed.
//!
//! Spec: docs/formats/segments.md.

use std::io;
use std::sync::atomic::Ordering;

use wal::LogEnd;

use crate::limits::SEGMENTS_LISTED_MAX;
use crate::manifest::{Listed, Manifest, NAME};
use crate::store::{Inner, Store};

/// What a store tells a metadata server of how far its journal went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The least that was found by a start that was not judged yet, else how far it is now.
    pub found: LogEnd,
    /// The operator has accepted that something may be missing.
    pub is_loss_accepted: bool,
}

impl Store {
    /// How far the journal is on stable storage: what was acknowledged as stable lies before.
    #[must_use]
    pub fn durable_end(&self) -> LogEnd {
        self.inner.durable_end()
    }

    /// What a metadata server is to judge.
    pub async fn claim(&self) -> Claim {
        let inner = &self.inner;
        let found = inner.manifest.lock().await.on_disk.unjudged.unwrap_or_else(|| inner.durable_end());
        Claim { found, is_loss_accepted: inner.is_loss_accepted.load(Ordering::Relaxed) }
    }

    /// A metadata server has judged the store, and found nothing missing. On stable storage when it
    /// returns.
    ///
    /// # Errors
    /// The disk's: then it does not count as judged.
    pub async fn judged(&self) -> io::Result<()> {
        let inner = &self.inner;
        let mut listed = inner.manifest.lock().await;
        let next = Manifest { unjudged: None, ..listed.on_disk.clone() };
        if !listed.has(&next) {
            match inner.save(&mut listed, next.clone()).await {
                // A store of an earlier version, without room for a list: the next start finds
                // nothing that is to be judged.
                Err(error)
                    if error.kind() == io::ErrorKind::StorageFull
                        && !inner.env.disk.exists(&inner.dir.join(NAME)).await? =>
                {
                    listed.on_disk = next;
                }
                saved => saved?,
            }
        }
        // Only now: until then the metadata server is told so again.
        inner.is_loss_accepted.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Inner {
    pub(crate) fn durable_end(&self) -> LogEnd {
        self.wal.durable_end().max(self.floor)
    }

    /// Lists the segments that were completed, and none that are gone or about to be dropped.
    pub(crate) async fn list_segments(&self) -> io::Result<()> {
        let mut listed = self.manifest.lock().await;
        let listed = &mut *listed;
        let stats = self.wal.segments();
        // In their order, as in the set: mostly nothing has changed, and then nothing is built.
        listed.dropping.retain(|segment| stats.binary_search_by_key(segment, |one| one.seq).is_ok());
        let dropping = &listed.dropping;
        let segments = stats.iter().filter(|one| one.sealed && !dropping.contains(&one.seq));
        let segments = segments.map(|one| one.seq).take(SEGMENTS_LISTED_MAX);
        if !listed.is_unsure && segments.clone().eq(listed.on_disk.segments.iter().copied()) {
            return Ok(());
        }
        let next = Manifest { segments: segments.collect(), ..listed.on_disk.clone() };
        assert!(next.segments.is_disjoint(&listed.dropping), "what is dropped is not listed again");
        self.save(listed, next).await
    }

    /// Takes a segment off the list: it is dropped next. What the file does not name needs no
    /// write, if a younger one is there after any crash.
    pub(crate) async fn unlist_segment(&self, segment: u64) -> io::Result<()> {
        let mut listed = self.manifest.lock().await;
        listed.dropping.insert(segment);
        let mut next = listed.on_disk.clone();
        let durable = self.wal.durable_end();
        if durable.segment <= segment {
            next.floor = next.floor.max(durable);
        }
        next.segments.remove(&segment);
        assert!(listed.on_disk.floor <= next.floor, "the floor only rises");
        if listed.has(&next) {
            return Ok(());
        }
        self.save(&mut listed, next).await
    }

    async fn save(&self, listed: &mut Listed, next: Manifest) -> io::Result<()> {
        // Also if this is dropped meanwhile.
        listed.is_unsure = true;
        next.save(&*self.env.disk, &self.dir, &self.superblock.uuid).await?;
        (listed.on_disk, listed.is_unsure) = (next, false);
        Ok(())
    }
}
