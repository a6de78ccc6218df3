//! FENCE, CUT, DROP and SIZE.
//!
//! One of them at a time works on an extent. FENCE and DROP raise the fence first, so that no WRITE
//! under a lower epoch is admitted any more. All of them wait for the WRITEs that were admitted
//! before, then write their record and sync it.
//!
//! INVARIANT: when FENCE or DROP has returned, every WRITE under a lower epoch is in the index or
//! was refused. A WRITE that is admitted after a CUT has returned has a higher sequence than the
//! CUT, whatever its epoch.
//! Spec: docs/protocol/control.md §3, §4.

use std::sync::Arc;

use layout::{Epoch, ExtentId};
use tokio::sync::oneshot;
use wal::{Durability, Record};

use crate::error::ChangeError;
use crate::extent::Extent;
use crate::limits::EXTENT_BYTES;
use crate::record::{Act, Kind, SEQUENCE_END};
use crate::store::{Inner, Store};

/// How far an extent reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtentSize {
    /// One past the last byte, from the start of the extent.
    pub end_bytes: u32,
    /// Bytes stored: holes do not count.
    pub held_bytes: u32,
    /// The epoch as known.
    pub epoch: Epoch,
    /// Wall clock of the last WRITE since the store was opened, nanoseconds since 1970.
    pub mtime_unix_ns: u64,
    /// Grows with each WRITE, CUT and DROP.
    pub change: u64,
}

impl Store {
    /// Raises the extent's epoch and refuses requests under lower ones from now on. Returns the
    /// epoch as known afterwards, once it is on stable storage.
    ///
    /// # Errors
    /// [`ChangeError::Failed`], [`ChangeError::Closed`], [`ChangeError::NoSpace`].
    pub async fn fence(&self, extent: ExtentId, epoch: Epoch) -> Result<Epoch, ChangeError> {
        let inner = self.inner.clone();
        detached(async move { Controlled::begin(&inner, extent, epoch, true).await?.sync_epochs().await })
            .await
    }

    /// Forgets every byte at or behind `keep_bytes`. Handles from before stay good: a client that
    /// cuts a file goes on writing it through the layout it has. Nothing is done if a cut or drop
    /// at this epoch or a higher one was carried out before.
    ///
    /// # Units
    /// `keep_bytes` counts from the start of the extent.
    /// # Errors
    /// [`ChangeError::Range`] if it is behind the extent's end; otherwise as
    /// [`fence`](Self::fence).
    pub async fn cut(&self, extent: ExtentId, epoch: Epoch, keep_bytes: u32) -> Result<Epoch, ChangeError> {
        self.cut_beside(extent, epoch, keep_bytes, |_| ()).await
    }

    /// As [`cut`](Self::cut); `beside` has the sequence of the CUT before its record is written, to
    /// send it to replicas meanwhile. It is not called if nothing is done.
    ///
    /// # Errors
    /// As [`cut`](Self::cut). If the record could not be written, replicas may have done what was
    /// not done here: the metadata server asks again until both have.
    pub async fn cut_beside(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        keep_bytes: u32,
        beside: impl FnOnce(u64) + Send + 'static,
    ) -> Result<Epoch, ChangeError> {
        if EXTENT_BYTES < keep_bytes {
            return Err(ChangeError::Range);
        }
        let inner = self.inner.clone();
        let cut = async move {
            let controlled = Controlled::begin(&inner, extent, epoch, false).await?;
            controlled.cut(epoch, Kind::Cut, keep_bytes, beside).await
        };
        detached(cut).await
    }

    /// As a fence, and forgets all bytes of the extent, unless a cut or drop at this epoch or a
    /// higher one was carried out before.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub async fn drop_extent(&self, extent: ExtentId, epoch: Epoch) -> Result<Epoch, ChangeError> {
        if !self.inner.index.shard(extent).contains_key(&extent) {
            return Ok(epoch);
        }
        let inner = self.inner.clone();
        let cut = async move {
            let controlled = Controlled::begin(&inner, extent, epoch, true).await?;
            controlled.cut(epoch, Kind::Drop, 0, |_| ()).await
        };
        detached(cut).await
    }

    /// How far the extent reaches. Everything is zero for an extent without a record.
    #[must_use]
    pub fn size(&self, extent: ExtentId) -> ExtentSize {
        let shard = self.inner.index.shard(extent);
        let Some(known) = shard.get(&extent) else { return ExtentSize::default() };
        ExtentSize {
            end_bytes: known.pieces.end(),
            held_bytes: known.pieces.held(),
            epoch: known.epoch,
            mtime_unix_ns: known.mtime_unix_ns,
            change: known.sequence,
        }
    }
}

/// Runs to its end even if its caller waits no more: what is in the journal must get into the
/// index.
pub(crate) async fn detached<T: Send + 'static>(
    act: impl Future<Output = Result<T, ChangeError>> + Send + 'static,
) -> Result<T, ChangeError> {
    tokio::spawn(act).await.unwrap_or(Err(ChangeError::Closed))
}

/// The right to be the one FENCE, CUT or DROP at work on an extent.
pub(crate) struct Controlled {
    pub(crate) inner: Arc<Inner>,
    pub(crate) extent: ExtentId,
}

impl Controlled {
    /// Waits for its turn, raises the epoch, if it `fences` the fence too, and waits for the WRITEs
    /// that were admitted before.
    pub(crate) async fn begin(
        inner: &Arc<Inner>,
        extent: ExtentId,
        epoch: Epoch,
        fences: bool,
    ) -> Result<Self, ChangeError> {
        let nothing = |_: &mut Extent| Ok(());
        Self::turn(inner, extent, epoch, fences, nothing).await.map(|(controlled, ())| controlled)
    }

    /// As [`begin`](Self::begin); `take` sees the extent when the turn has come. Whatever sequence
    /// it takes there, the WRITEs below it are those that are then waited for.
    pub(crate) async fn turn<T>(
        inner: &Arc<Inner>,
        extent: ExtentId,
        epoch: Epoch,
        fences: bool,
        take: impl FnOnce(&mut Extent) -> Result<T, ChangeError>,
    ) -> Result<(Self, T), ChangeError> {
        let (mut waits_for, mut take, mut taken) = (None, Some(take), None);
        loop {
            let woken = {
                let mut shard = inner.index.shard(extent);
                let known = shard.entry(extent).or_default();
                if waits_for.is_none() && !known.controlled {
                    if SEQUENCE_END <= known.sequence + 2 {
                        return Err(ChangeError::NoSpace);
                    }
                    let take = take.take().expect("there is one turn");
                    taken = Some(take(known)?);
                    known.controlled = true;
                    known.epoch = known.epoch.max(epoch);
                    if fences {
                        known.fence_epoch = known.fence_epoch.max(epoch);
                    }
                    assert!(known.fence_epoch <= known.epoch, "no fence is above the epoch");
                    waits_for = Some(known.generation);
                    known.generation = 1 - known.generation;
                    assert!(known.writers[known.generation] == 0, "the turn before waited for them");
                }
                if waits_for.is_some_and(|generation| known.writers[generation] == 0) {
                    let taken = taken.expect("its turn has come");
                    return Ok((Self { inner: inner.clone(), extent }, taken));
                }
                let (waker, woken) = oneshot::channel();
                known.waiters.push(waker);
                woken
            };
            // Woken or not, the loop looks for itself.
            let _ = woken.await;
        }
    }

    /// Makes durable how high the epoch is, and the fence.
    pub(crate) async fn sync_epochs(&self) -> Result<Epoch, ChangeError> {
        let acts = {
            let mut shard = self.inner.index.shard(self.extent);
            let known = shard.get_mut(&self.extent).expect("a controlled extent is not forgotten");
            let (epoch, fence) = (known.epoch, known.fence_epoch);
            let is_fence_new = known.fence_synced < fence;
            let is_epoch_new = known.epoch_synced < epoch && !(is_fence_new && fence == epoch);
            let mut act = |kind, epoch| {
                known.sequence += 1;
                let sequence = known.sequence;
                Act { kind, extent: self.extent, epoch, sequence, offset: 0, length: 0 }
            };
            let fence = is_fence_new.then(|| act(Kind::Fence, fence));
            let epoch = is_epoch_new.then(|| act(Kind::Epoch, epoch));
            let acts: Vec<Act> = fence.into_iter().chain(epoch).collect();
            assert!(acts.iter().all(|act| act.epoch <= known.epoch), "no epoch is above it");
            if acts.is_empty() {
                return Ok(known.epoch);
            }
            acts
        };
        self.append(acts).await
    }

    async fn cut(
        &self,
        epoch: Epoch,
        kind: Kind,
        offset: u32,
        beside: impl FnOnce(u64),
    ) -> Result<Epoch, ChangeError> {
        let planned = {
            let mut shard = self.inner.index.shard(self.extent);
            let known = shard.get_mut(&self.extent).expect("a controlled extent is not forgotten");
            if epoch <= known.cut_epoch && kind == Kind::Cut {
                return Ok(known.epoch);
            }
            (known.cut_epoch < epoch).then(|| self.cut_acts(known, epoch, kind, offset))
        };
        let Some((acts, sequence)) = planned else {
            // It was carried out, as a CUT maybe, which fences nothing.
            return self.sync_epochs().await;
        };
        beside(sequence);
        let epoch = self.append(acts).await?;
        self.inner.wake.notify_one();
        Ok(epoch)
    }

    /// The records of a CUT or DROP, and its sequence.
    fn cut_acts(&self, known: &mut Extent, epoch: Epoch, kind: Kind, offset: u32) -> (Vec<Act>, u64) {
        known.sequence += 2;
        let (extent, sequence, length) = (self.extent, known.sequence, EXTENT_BYTES - offset);
        let mut acts = vec![Act { kind, extent, epoch, sequence, offset, length }];
        if epoch < known.epoch {
            // The record of the CUT says a lower epoch than the one that is now promised.
            let (epoch, sequence) = (known.epoch, sequence - 1);
            acts.insert(0, Act { kind: Kind::Epoch, extent, epoch, sequence, offset: 0, length: 0 });
        }
        assert!(acts.is_sorted_by(|one, next| one.sequence < next.sequence), "acts have places");
        assert!(acts.iter().any(|act| act.epoch == known.epoch), "the epoch is said");
        (acts, sequence)
    }

    /// Writes records without data, syncs them, and takes them in.
    pub(crate) async fn append(&self, acts: Vec<Act>) -> Result<Epoch, ChangeError> {
        let records = acts.iter().map(|act| act.record(vec![])).collect();
        self.append_records(acts, records).await
    }

    /// Writes the records of these acts, syncs them, and takes them in.
    pub(crate) async fn append_records(
        &self,
        acts: Vec<Act>,
        records: Vec<Record>,
    ) -> Result<Epoch, ChangeError> {
        let number = self.inner.in_flight.begin();
        let landing = Landing { inner: self.inner.clone(), number };
        let horizon = self.inner.stamps.horizon();
        let places = landing.inner.wal.append_batch(records, Durability::Synced).await?;
        self.inner.stamps.synced(horizon);
        assert_eq!(places.len(), acts.len(), "each record has its place");
        let mut shard = self.inner.index.shard(self.extent);
        let known = shard.get_mut(&self.extent).expect("a controlled extent is not forgotten");
        let synced = acts.iter().map(|act| act.epoch).max().expect("at least one record");
        acts.iter().zip(places).for_each(|(act, at)| self.inner.index.apply(known, act, at));
        known.epoch_synced = known.epoch_synced.max(synced);
        let fenced = acts.iter().filter(|act| act.fences()).map(|act| act.epoch).max();
        known.fence_synced = known.fence_synced.max(fenced.unwrap_or_default());
        assert!(known.epoch_synced <= known.epoch, "what is on stable storage is known");
        assert!(known.fence_synced <= known.fence_epoch, "what is on stable storage is in force");
        if acts.iter().any(|act| matches!(act.kind, Kind::Cut | Kind::Drop) && 0 < act.length) {
            known.changed_ms = known.changed_ms.max(self.inner.env.clock.monotonic_ms());
        }
        Ok(known.epoch)
    }
}

impl Drop for Controlled {
    fn drop(&mut self) {
        let mut shard = self.inner.index.shard(self.extent);
        if let Some(known) = shard.get_mut(&self.extent) {
            debug_assert!(known.controlled, "one act at a time has its turn");
            known.controlled = false;
            known.wake();
        }
    }
}

/// An append that compaction waits for.
struct Landing {
    inner: Arc<Inner>,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.inner.in_flight.end(self.number);
    }
}
