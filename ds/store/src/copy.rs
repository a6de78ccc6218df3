//! What copies of an extent on several servers need of a store: a home tells what it holds, a backup takes it in.
//!
//! The home gives every act on an extent its sequence, and backups keep it: so records may come in any order, and more than once.
//! Where a home cannot tell what a backup holds beyond its own knowledge, it moves its sequence above everything that is there
//! ([`Store::rise`]) and says all its bytes again.
//!
//! INVARIANT: what [`Store::rise`] answers is above every sequence that was given before, and every WRITE with a lower one is in
//! the index or never will be.
//! Spec: docs/protocol/replicate.md §1, §2.

use layout::{Epoch, ExtentId};

use crate::control::{Controlled, detached};
use crate::error::ChangeError;
use crate::limits::{EXTENT_BYTES, WRITE_BYTES_MAX};
use crate::pieces::Source;
use crate::record::{Act, Kind, SEQUENCE_END};
use crate::store::Store;

/// A run of bytes of an extent that a copy must be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First byte, from the extent's start.
    pub offset: u32,
    /// How many; of a cut, all to the extent's end.
    pub length: u32,
    /// Its place among the acts on the extent.
    pub sequence: u64,
    /// They were forgotten and not written again; else they are data.
    pub cut: bool,
}

impl Store {
    /// Raises the extent's epoch as a home knows it, and fences nobody. Returns once it is on stable storage.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub async fn raise(&self, extent: ExtentId, epoch: Epoch) -> Result<Epoch, ChangeError> {
        let inner = self.inner.clone();
        detached(async move { Controlled::begin(&inner, extent, epoch, false).await?.fence().await }).await
    }

    /// Gets ready to be a backup of the extent at this epoch: clients, and homes of lower epochs, are refused from now on, and
    /// so is every DROP that was meant for an earlier stay. Answers the highest sequence that is there.
    ///
    /// # Errors
    /// [`ChangeError::Stale`] if the extent is at a higher epoch; otherwise as [`fence`](Self::fence).
    pub async fn attach(&self, extent: ExtentId, epoch: Epoch) -> Result<u64, ChangeError> {
        self.not_above(extent, epoch)?;
        let inner = self.inner.clone();
        detached(async move {
            let controlled = Controlled::begin(&inner, extent, epoch, true).await?;
            let (sequence, mark) = {
                let shard = inner.index.shard(extent);
                let known = shard.get(&extent).expect("a controlled extent is not forgotten");
                (known.sequence, Epoch::FIRST < epoch && known.cut_epoch < epoch)
            };
            if mark {
                // It says the epoch and forgets nothing.
                let offset = EXTENT_BYTES;
                let act = Act { kind: Kind::Cut, extent, epoch, sequence: 0, offset, length: 0 };
                controlled.append(vec![act]).await?;
            }
            Ok(sequence)
        })
        .await
    }

    /// Takes in a CUT that the extent's home has given its place.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn cut_at(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        sequence: u64,
        keep_bytes: u32,
    ) -> Result<(), ChangeError> {
        if EXTENT_BYTES < keep_bytes || SEQUENCE_END <= sequence {
            return Err(ChangeError::Range);
        }
        self.not_above(extent, epoch)?;
        let inner = self.inner.clone();
        detached(async move {
            let controlled = Controlled::begin(&inner, extent, epoch, false).await?;
            let length = EXTENT_BYTES - keep_bytes;
            let act = Act { kind: Kind::Cut, extent, epoch, sequence, offset: keep_bytes, length };
            controlled.append(vec![act]).await.map(drop)
        })
        .await
    }

    /// Makes everything durable that was taken in before.
    ///
    /// # Errors
    /// [`ChangeError::Failed`], [`ChangeError::Closed`].
    pub async fn flush(&self) -> Result<(), ChangeError> {
        self.inner.sync().await
    }

    /// The highest sequence that was given, or taken in, for the extent.
    #[must_use]
    pub fn sequence(&self, extent: ExtentId) -> u64 {
        self.inner.index.shard(extent).get(&extent).map_or(0, |known| known.sequence)
    }

    /// Moves the extent's sequence above `floor` and everything given so far, leaving one place free: returns it. Every WRITE
    /// below has landed by then.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub async fn rise(&self, extent: ExtentId, floor: u64) -> Result<u64, ChangeError> {
        let inner = self.inner.clone();
        detached(async move {
            let controlled = Controlled::begin(&inner, extent, Epoch::default(), false).await?;
            let mut shard = inner.index.shard(controlled.extent);
            let known = shard.get_mut(&extent).expect("a controlled extent is not forgotten");
            let free = known.sequence.max(floor) + 1;
            if SEQUENCE_END <= free + 1 {
                return Err(ChangeError::NoSpace);
            }
            known.sequence = free + 1;
            Ok(free)
        })
        .await
    }

    /// Waits until every WRITE that has its place by now has landed.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub async fn landed(&self, extent: ExtentId) -> Result<(), ChangeError> {
        let inner = self.inner.clone();
        detached(async move { Controlled::begin(&inner, extent, Epoch::default(), false).await.map(drop) })
            .await
    }

    /// What a copy must be told that lacks everything from sequence `from` on: data in runs of at most a record, and cuts.
    #[must_use]
    pub fn runs_since(&self, extent: ExtentId, from: u64) -> Vec<Run> {
        let shard = self.inner.index.shard(extent);
        let Some(known) = shard.get(&extent) else { return Vec::new() };
        let mut runs: Vec<Run> = Vec::new();
        for (offset, piece) in known.pieces.iter().filter(|(_, piece)| from <= piece.sequence) {
            let sequence = piece.sequence;
            if piece.source == Source::Hole {
                // Holes come in order: what a CUT says is said from its lowest one on.
                if !runs.iter().any(|run| run.cut && run.sequence == sequence) {
                    runs.push(Run { offset, length: EXTENT_BYTES - offset, sequence, cut: true });
                }
            } else {
                runs.push(Run { offset, length: piece.length, sequence, cut: false });
            }
        }
        runs
    }

    /// All bytes of the extent: where there are data, joined, in runs of at most a record. Sequences are not told.
    #[must_use]
    pub fn runs(&self, extent: ExtentId) -> Vec<Run> {
        let shard = self.inner.index.shard(extent);
        let Some(known) = shard.get(&extent) else { return Vec::new() };
        let most = u32::try_from(WRITE_BYTES_MAX).expect("a small constant");
        let mut runs: Vec<Run> = Vec::new();
        for (offset, piece) in known.pieces.iter().filter(|(_, piece)| piece.source != Source::Hole) {
            let (mut at, end) = (offset, offset + piece.length);
            while at < end {
                let joins = runs.last().is_some_and(|run| run.offset + run.length == at && run.length < most);
                if !joins {
                    runs.push(Run { offset: at, length: 0, sequence: 0, cut: false });
                }
                let run = runs.last_mut().expect("pushed above, if there was none");
                let step = (most - run.length).min(end - at);
                run.length += step;
                at += step;
            }
        }
        runs
    }

    fn not_above(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ChangeError> {
        match self.inner.index.shard(extent).get(&extent) {
            Some(known) if epoch < known.epoch => Err(ChangeError::Stale { known: known.epoch }),
            Some(_) | None => Ok(()),
        }
    }
}
