//! WRITE and COMMIT.
//!
//! A WRITE is admitted under the lock of its extent's shard, appended without any lock, and laid
//! into the index under the lock again. FENCE waits for what was admitted, so an admitted WRITE
//! always completes.
//!
//! INVARIANT: a record that reached the journal reaches the index, even if the request that made it
//! was dropped.
//! Spec: docs/formats/journal.md §4.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use layout::reserve::Purpose;
use layout::{Epoch, ExtentId};
use wal::{AppendError, Appended, Durability, Location};

use crate::error::ChangeError;
use crate::limits::{EXTENT_BYTES, ROOM_WAIT_MS, ROOM_WAITS_MAX, WRITE_BYTES_MAX};
use crate::pieces::RECORD_WEIGHT_BYTES;
use crate::record::{Act, Kind, SEQUENCE_END};
use crate::store::{Inner, Store};

/// When a WRITE is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// When the operating system has the bytes.
    Unstable,
    /// When they are on stable storage.
    Synced,
}

impl Store {
    /// Writes `data` at `offset` of the extent.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    /// # Errors
    /// Any [`ChangeError`]. After `Failed` it is unknown whether the bytes are there.
    pub async fn write(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        offset: u32,
        data: Vec<Bytes>,
        stability: Stability,
    ) -> Result<(), ChangeError> {
        let bytes: usize = data.iter().map(Bytes::len).sum();
        let length = u32::try_from(bytes).map_err(|_| ChangeError::Range)?;
        if length == 0 && offset <= EXTENT_BYTES {
            return self.inner.check_epoch(extent, epoch).map(drop);
        }
        self.admit(extent, epoch, offset, length).await?.write(data, stability).await
    }

    /// Takes room for a WRITE of `length` bytes, at least one, and gives it its place among the
    /// acts on the extent.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    /// # Errors
    /// As [`write`](Self::write), but for `Failed`.
    pub async fn admit(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        offset: u32,
        length: u32,
    ) -> Result<Ticket, ChangeError> {
        check_range(offset, length)?;
        let room = Reserved::take(&self.inner, extent, (offset, length)).await?;
        Ok(Ticket { admitted: Admitted::new(room, extent, epoch, offset, length, None)? })
    }

    /// Whether a request at this epoch may be served: for a caller that does something before it is
    /// admitted.
    ///
    /// # Errors
    /// [`ChangeError::Stale`].
    pub fn check_epoch(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ChangeError> {
        self.inner.check_epoch(extent, epoch).map(drop)
    }

    /// As [`check_epoch`](Self::check_epoch), for a request that goes by the copies that its handle
    /// names: `true` says that the handle was made before the extent had the epoch with which the
    /// store was opened, so others may be in force, and no metadata server has
    /// [said](Self::note_copies_told) which.
    ///
    /// # Errors
    /// [`ChangeError::Stale`].
    pub fn check_copies(&self, extent: ExtentId, epoch: Epoch) -> Result<bool, ChangeError> {
        self.inner.check_epoch(extent, epoch)
    }

    /// A metadata server has said since the store was opened which copies of an extent are in
    /// force.
    pub fn note_copies_told(&self, extent: ExtentId) {
        if let Some(known) = self.inner.index.shard(extent).get_mut(&extent) {
            known.copies_told = true;
        }
    }

    /// Takes in a WRITE that the extent's primary has given its place, `sequence`. What is older
    /// than what is there does not show, whatever comes first.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    /// # Errors
    /// Any [`ChangeError`]; `Stale` if the extent is at a higher epoch.
    pub async fn write_at(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        sequence: u64,
        offset: u32,
        data: Bytes,
        stability: Stability,
    ) -> Result<(), ChangeError> {
        let length = u32::try_from(data.len()).map_err(|_| ChangeError::Range)?;
        check_range(offset, length)?;
        if SEQUENCE_END <= sequence {
            return Err(ChangeError::Range);
        }
        let room = Reserved::take(&self.inner, extent, (offset, length)).await?;
        let admitted = Admitted::new(room, extent, epoch, offset, length, Some(sequence))?;
        Ticket { admitted }.write(vec![data], stability).await
    }

    /// Returns when every WRITE to the extent that was answered before is on stable storage.
    ///
    /// # Errors
    /// [`ChangeError::Stale`], [`ChangeError::Failed`], [`ChangeError::Closed`].
    pub async fn commit(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ChangeError> {
        self.inner.check_epoch(extent, epoch)?;
        let stamp = self.inner.index.shard(extent).get(&extent).map_or(0, |known| known.stamp);
        if self.inner.stamps.is_synced(stamp) {
            return Ok(());
        }
        self.inner.sync().await
    }
}

fn check_range(offset: u32, length: u32) -> Result<(), ChangeError> {
    let inside = offset.checked_add(length).is_some_and(|end| end <= EXTENT_BYTES);
    let fits = 0 < length && length as usize <= WRITE_BYTES_MAX;
    if inside && fits { Ok(()) } else { Err(ChangeError::Range) }
}

/// A WRITE that has its place among the acts on its extent. Dropped, it never was.
pub struct Ticket {
    admitted: Admitted,
}

impl Ticket {
    /// Its place among the acts on the extent: the higher one shows.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.admitted.act.sequence
    }

    /// The sequence of the image that it would lie above, if it was not told yet that something
    /// does: see [`Store::thawed`]. A WRITE that came before the image did lies above it too, and
    /// says nothing here.
    #[must_use]
    pub fn above_image(&self) -> Option<u64> {
        self.admitted.above
    }

    /// Writes the bytes, as many as were announced.
    ///
    /// # Errors
    /// [`ChangeError::Failed`]: it is unknown whether the bytes are there; [`ChangeError::Range`]
    /// for another number of bytes.
    pub async fn write(self, data: Vec<Bytes>, stability: Stability) -> Result<(), ChangeError> {
        let Self { admitted } = self;
        if data.iter().map(Bytes::len).sum::<usize>() != admitted.act.length as usize {
            return Err(ChangeError::Range);
        }
        let inner = Arc::clone(&admitted.room.inner);
        let record = admitted.act.record(data);
        let durability = match stability {
            Stability::Unstable => Durability::Written,
            Stability::Synced => Durability::Synced,
        };
        // What was stamped by now is enqueued before this record, so a sync of this one covers it.
        let horizon = inner.stamps.horizon();
        let appended = inner.wal.enqueue(vec![record], durability).await?;
        Landing { work: Some((admitted, appended)), durability }.land().await?;
        if stability == Stability::Synced {
            inner.stamps.synced(horizon);
        }
        Ok(())
    }
}

impl Inner {
    /// Syncs the journal.
    pub(crate) async fn sync(&self) -> Result<(), ChangeError> {
        let horizon = self.stamps.horizon();
        self.wal.sync().await?;
        self.stamps.synced(horizon);
        Ok(())
    }

    /// Refuses an epoch below the one that an extent had when the index dropped it.
    fn check_forgotten(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ChangeError> {
        let known = self.index.forgotten_epoch(extent);
        if epoch < known { Err(ChangeError::Stale { known }) } else { Ok(()) }
    }

    /// Refuses an epoch that is too low, remembers one that is higher. See [`Store::check_copies`].
    fn check_epoch(&self, extent: ExtentId, epoch: Epoch) -> Result<bool, ChangeError> {
        let mut shard = self.index.shard(extent);
        self.check_forgotten(extent, epoch)?;
        let Some(known) = shard.get_mut(&extent) else { return Ok(false) };
        if epoch < known.fence_epoch {
            return Err(ChangeError::Stale { known: known.fence_epoch });
        }
        known.epoch = known.epoch.max(epoch);
        Ok(epoch < known.opened_epoch && !known.copies_told)
    }
}

/// Room for one WRITE, counted until it is in the index.
struct Reserved {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Reserved {
    /// Takes room, waiting a while for compaction if there is little.
    async fn take(
        inner: &Arc<Inner>,
        extent: ExtentId,
        (offset, length): (u32, u32),
    ) -> Result<Self, ChangeError> {
        let bytes = u64::from(length) + RECORD_WEIGHT_BYTES;
        let before = inner.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
        let reserved = Self { inner: inner.clone(), bytes };
        let live = inner.index.segments().live_bytes();
        let taken = live + before + bytes;
        if inner.live_bytes_max_for(Purpose::New) < taken {
            // It may be written over what is there.
            let known = inner.index.shard(extent);
            let purpose =
                known.get(&extent).map_or(Purpose::New, |known| known.pieces.purpose(offset, length));
            drop(known);
            if inner.live_bytes_max_for(purpose) < taken {
                return Err(ChangeError::NoSpace);
            }
        }
        let rests = inner.rests.load(Ordering::Relaxed);
        for _ in 0..ROOM_WAITS_MAX {
            // Registered before looking, so that no change is missed.
            let compacted = inner.compacted.notified();
            tokio::pin!(compacted);
            compacted.as_mut().enable();
            if inner.wal.disk_bytes() <= inner.room().full_bytes() {
                return Ok(reserved);
            }
            // Twice: the first rest may have been decided before this WRITE came.
            if rests + 2 <= inner.rests.load(Ordering::Relaxed) {
                inner.nothing_to_gain.store(true, Ordering::Relaxed);
                return Err(ChangeError::NoSpace);
            }
            inner.wake.notify_one();
            tokio::select! {
                () = compacted => {}
                () = inner.env.clock.sleep_ms(ROOM_WAIT_MS) => {}
            }
        }
        Err(ChangeError::Busy)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let before = self.inner.reserved_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        assert!(self.bytes <= before, "room that is given back was taken");
    }
}

/// A WRITE that FENCE will wait for.
struct Admitted {
    room: Reserved,
    act: Act,
    generation: usize,
    number: u64,
    /// The image below, if it is not thawed.
    above: Option<u64>,
}

impl Admitted {
    fn new(
        room: Reserved,
        extent: ExtentId,
        epoch: Epoch,
        offset: u32,
        length: u32,
        told: Option<u64>,
    ) -> Result<Self, ChangeError> {
        let mut shard = room.inner.index.shard(extent);
        // Before the index gets an entry: a refused WRITE leaves none.
        room.inner.check_forgotten(extent, epoch)?;
        let known = shard.entry(extent).or_default();
        // A client's handle is good until it is fenced; a primary that knows less than we do is no
        // primary any more.
        let least = if told.is_some() { known.epoch } else { known.fence_epoch };
        if epoch < least {
            return Err(ChangeError::Stale { known: least });
        }
        if SEQUENCE_END <= known.sequence + 1 {
            return Err(ChangeError::NoSpace);
        }
        let epoch = known.epoch.max(epoch);
        known.epoch = epoch;
        let sequence = told.unwrap_or(known.sequence + 1);
        known.is_replica = told.is_some();
        known.sequence = known.sequence.max(sequence);
        assert!(known.fence_epoch <= epoch, "a WRITE is admitted above the fence");
        assert!(sequence <= known.sequence, "a place that was given is not given again");
        let generation = known.generation;
        known.writers[generation] += 1;
        let frozen = known.base.as_ref().filter(|base| !base.thawed);
        let above = frozen.map(|base| base.sequence);
        let act = Act { kind: Kind::Write, extent, epoch, sequence, offset, length };
        drop(shard);
        let number = room.inner.in_flight.begin();
        Ok(Self { room, act, generation, number, above })
    }

    /// The record lies at `at`.
    fn land(&self, at: Location, durability: Durability) {
        let inner = &self.room.inner;
        let (now_unix_ns, now_ms) = (inner.env.clock.wall_ns(), inner.env.clock.monotonic_ms());
        let mut shard = inner.index.shard(self.act.extent);
        let known = shard.get_mut(&self.act.extent).expect("an extent with writers is not forgotten");
        assert!(0 < known.writers[self.generation], "a WRITE is counted until it has landed");
        inner.index.apply(known, &self.act, at);
        known.mtime_unix_ns = known.mtime_unix_ns.max(now_unix_ns);
        known.changed_ms = known.changed_ms.max(now_ms);
        if durability == Durability::Written {
            known.stamp = inner.stamps.stamp();
        }
        drop(shard);
        inner.note_segment(at.segment);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let inner = &self.room.inner;
        let mut shard = inner.index.shard(self.act.extent);
        let known = shard.get_mut(&self.act.extent).expect("an extent with writers is not forgotten");
        assert!(0 < known.writers[self.generation], "a WRITE was counted when it was admitted");
        known.writers[self.generation] -= 1;
        if known.writers[self.generation] == 0 {
            known.wake();
        }
        drop(shard);
        inner.in_flight.end(self.number);
    }
}

/// An append on its way into the index. Dropped early, it finishes on its own.
struct Landing {
    work: Option<(Admitted, Appended)>,
    durability: Durability,
}

impl Landing {
    async fn land(mut self) -> Result<(), ChangeError> {
        let (_, appended) = self.work.as_mut().expect("it is only taken below");
        let outcome = appended.await;
        let (admitted, _) = self.work.take().expect("it is only taken here");
        finish(&admitted, self.durability, outcome)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let Some((admitted, appended)) = self.work.take() else { return };
        let durability = self.durability;
        // Without a runtime the process is ending, and the index is not read again.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { finish(&admitted, durability, appended.await) });
        }
    }
}

fn finish(
    admitted: &Admitted,
    durability: Durability,
    outcome: Result<Vec<Location>, AppendError>,
) -> Result<(), ChangeError> {
    let places = outcome?;
    assert_eq!(places.len(), 1, "one record, one place");
    admitted.land(places[0], durability);
    Ok(())
}
