//! What copies of an extent on several servers need of a store: a primary tells what it holds, a
//! replica takes it in.
//!
//! The primary gives every act on an extent its sequence, and replicas keep it: so records may come
//! in any order, and more than once. Where a primary cannot tell what a replica holds beyond its
//! own knowledge, it moves its sequence above everything that is there ([`Store::rise`]) and says
//! all its bytes again ([`Store::overlay`]). What is in an image is said by naming the image.
//!
//! INVARIANT: what [`Store::rise`] answers is above every sequence that was given before, and every
//! WRITE with a lower one is in the index or never will be.
//! Spec: docs/protocol/replicate.md §1, §2; docs/protocol/seal.md §4.

use layout::{Epoch, ExtentId};

use crate::control::{Controlled, detached};
use crate::error::{ChangeError, ReadError};
use crate::extent::{Base, Extent};
use crate::limits::{EXTENT_BYTES, WRITE_BYTES_MAX};
use crate::pieces::{Pieces, Source};
use crate::record::{Act, Kind, SEQUENCE_END};
use crate::store::Store;
use layout::ec::ImageRef;

/// Times that a look at an extent is taken again because the record of its image was moved.
const MOVES_MAX: usize = 8;

/// What a run of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Bytes, to be read.
    Data,
    /// They were forgotten and not written again.
    Cut,
    /// They are this image's, and what is behind them is a hole.
    Image(ImageRef),
}

/// A run of bytes of an extent that a copy must be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First byte, from the extent's start.
    pub offset: u32,
    /// How many; of a cut, all to the extent's end, which may be none.
    pub length: u32,
    /// Its place among the acts on the extent.
    pub sequence: u64,
    /// What they are.
    pub said: Said,
}

/// All of an extent, to be said again above whatever a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Data. A copy must have taken all of it before it is told the rest, so that at no time it
    /// lacks bytes that it had.
    pub above: Vec<Run>,
    /// What hides all else that the copy holds: to be told in this order, one after the other.
    pub beneath: Vec<Run>,
}

impl Store {
    /// Raises the extent's epoch as a primary knows it, and fences no handle. Returns once it is on
    /// stable storage.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub async fn raise(&self, extent: ExtentId, epoch: Epoch) -> Result<Epoch, ChangeError> {
        let inner = self.inner.clone();
        detached(async move { Controlled::begin(&inner, extent, epoch, false).await?.sync_epochs().await })
            .await
    }

    /// Gets ready to be a replica of the extent at this epoch: clients, and primaries of lower
    /// epochs, are refused from now on, and so is every DROP that was meant for an earlier stay.
    /// Answers the highest sequence that is there.
    ///
    /// # Errors
    /// [`ChangeError::Stale`] if the extent is at a higher epoch; otherwise as
    /// [`fence`](Self::fence).
    pub async fn attach(&self, extent: ExtentId, epoch: Epoch) -> Result<u64, ChangeError> {
        self.not_above(extent, epoch)?;
        let inner = self.inner.clone();
        detached(async move {
            let controlled = Controlled::begin(&inner, extent, epoch, true).await?;
            let (sequence, mark) = {
                let mut shard = inner.index.shard(extent);
                let known = shard.get_mut(&extent).expect("a controlled extent is not forgotten");
                known.is_replica = true;
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

    /// Takes in a CUT that the extent's primary has given its place. At the extent's end it only
    /// says that there was an act: no CUT of a metadata server is done by it.
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
            let epoch = {
                let mut shard = inner.index.shard(extent);
                let known = shard.get_mut(&extent).expect("a controlled extent is not forgotten");
                known.is_replica = true;
                known.sequence = known.sequence.max(sequence);
                if length == 0 { known.cut_epoch } else { epoch }
            };
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

    /// Moves the extent's sequence above `floor` and everything given so far, leaving three places
    /// free: returns the first. Every WRITE below has landed by then.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub async fn rise(&self, extent: ExtentId, floor: u64) -> Result<u64, ChangeError> {
        let inner = self.inner.clone();
        detached(async move {
            // Taken with the turn: a WRITE that comes while older ones are waited for has its place
            // above.
            let turn = Controlled::turn(&inner, extent, Epoch::default(), false, |known| {
                // A replica told the floor: it may be any number.
                let free = known.sequence.max(floor).saturating_add(1);
                if SEQUENCE_END <= free.saturating_add(3) {
                    return Err(ChangeError::NoSpace);
                }
                assert!(known.sequence < free && floor < free, "free ones are above all");
                known.sequence = free + 2;
                known.is_replica = false;
                Ok(free)
            });
            turn.await.map(|(_, free)| free)
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

    /// What a copy must be told that lacks everything from sequence `from` on, each act with its
    /// own sequence: data, cuts, the image, and the newest act if it changed nothing.
    ///
    /// # Errors
    /// [`ReadError::Log`], [`ReadError::ImageRecord`]: the record of an image cannot be read.
    pub async fn runs_since(&self, extent: ExtentId, from: u64) -> Result<Vec<Run>, ReadError> {
        let (mut runs, image) = self.looked(extent, |known| (since(known, from), known.base.clone())).await?;
        if let Some((sequence, image)) = image.filter(|(sequence, _)| from <= *sequence) {
            runs.push(image_run(sequence, image));
        }
        Ok(runs)
    }

    /// All of the extent, to be said above whatever a copy holds, with the three sequences that
    /// [`rise`](Self::rise) left free from `free` on.
    ///
    /// # Errors
    /// As [`runs_since`](Self::runs_since).
    pub async fn overlay(&self, extent: ExtentId, free: u64) -> Result<Overlay, ReadError> {
        let look = |known: &Extent| {
            let above = joined(&known.pieces, free + 2, |source| matches!(source, Source::Data { .. }));
            ((above, known.base.as_ref().and_then(|base| cut_above(&known.pieces, base))), known.base.clone())
        };
        let ((above, cut), image) = self.looked(extent, look).await?;
        let beneath = match image {
            None => vec![cut_run(0, free)],
            Some((_, image)) => {
                let cut = cut.map(|offset| cut_run(offset, free + 1));
                cut.into_iter().chain([image_run(free, image)]).collect()
            }
        };
        assert!(!beneath.is_empty(), "whatever a copy holds is hidden");
        Ok(Overlay { above, beneath })
    }

    /// One look at an extent, and which image its base was at that moment.
    async fn looked<T: Default>(
        &self,
        extent: ExtentId,
        look: impl Fn(&Extent) -> (T, Option<Base>),
    ) -> Result<(T, Option<(u64, ImageRef)>), ReadError> {
        let again = || self.inner.index.shard(extent).get(&extent).map_or_else(Default::default, &look);
        let (mut found, mut base) = again();
        for _ in 0..MOVES_MAX {
            let Some(named) = base else { return Ok((found, None)) };
            let error = match self.name_of(extent, &named).await {
                Ok(image) => return Ok((found, Some((named.sequence, image)))),
                Err(error) => error,
            };
            (found, base) = again();
            if base.as_ref().is_some_and(|base| base.at == named.at) {
                return Err(self.damaged(extent, error));
            }
        }
        Err(ReadError::moving())
    }

    pub(crate) fn not_above(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ChangeError> {
        match self.inner.index.shard(extent).get(&extent) {
            Some(known) if epoch < known.epoch => Err(ChangeError::Stale { known: known.epoch }),
            Some(_) | None => Ok(()),
        }
    }
}

fn cut_run(offset: u32, sequence: u64) -> Run {
    Run { offset, length: EXTENT_BYTES - offset, sequence, said: Said::Cut }
}

fn image_run(sequence: u64, image: ImageRef) -> Run {
    Run { offset: 0, length: image.content_bytes, sequence, said: Said::Image(image) }
}

/// All of an extent that lies in records of a sequence from `from` on, but for the image.
fn since(known: &Extent, from: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // The hole behind an image's bytes is said by the image.
    let image = known.base.as_ref().map(|base| base.sequence);
    for (offset, piece) in known.pieces.iter().filter(|(_, piece)| from <= piece.sequence) {
        let sequence = piece.sequence;
        match piece.source {
            Source::Image => {}
            Source::Hole if image == Some(sequence) => {}
            // Holes come in order: what a CUT says is said from its lowest one on.
            Source::Hole if runs.iter().any(|run| run.said == Said::Cut && run.sequence == sequence) => {}
            Source::Hole => runs.push(cut_run(offset, sequence)),
            Source::Data { .. } => {
                runs.push(Run { offset, length: piece.length, sequence, said: Said::Data });
            }
        }
    }
    let bare = known.bare_newest().filter(|newest| from <= *newest);
    runs.extend(bare.map(|sequence| cut_run(EXTENT_BYTES, sequence)));
    runs
}

/// The bytes that `counts`, joined, in runs of at most a record.
pub(crate) fn joined(pieces: &Pieces, sequence: u64, counts: impl Fn(&Source) -> bool) -> Vec<Run> {
    let most = u32::try_from(WRITE_BYTES_MAX).expect("a small constant");
    let mut runs: Vec<Run> = Vec::new();
    for (offset, piece) in pieces.iter().filter(|(_, piece)| counts(&piece.source)) {
        let (mut at, end) = (offset, offset + piece.length);
        while at < end {
            let joins = runs.last().is_some_and(|run| run.offset + run.length == at && run.length < most);
            if !joins {
                runs.push(Run { offset: at, length: 0, sequence, said: Said::Data });
            }
            let run = runs.last_mut().expect("pushed above, if there was none");
            let step = (most - run.length).min(end - at);
            run.length += step;
            at += step;
        }
    }
    debug_assert!(runs.iter().all(|run| 0 < run.length && run.length <= most), "a run is a record");
    debug_assert!(runs.is_sorted_by(|run, next| run.offset + run.length <= next.offset), "they go up");
    runs
}

/// Where the lowest hole above the image begins: no byte of the image shows behind it, as a cut
/// takes all to the end.
fn cut_above(pieces: &Pieces, base: &Base) -> Option<u32> {
    let mut holes = pieces.iter().filter(|(_, piece)| piece.source == Source::Hole);
    holes.find(|(_, hole)| base.sequence < hole.sequence).map(|(offset, _)| offset)
}
