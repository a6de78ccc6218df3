//! What sealing an extent needs of a store: a point to seal at, its bytes as of then, and whether
//! that is still all.
//!
//! INVARIANT: what [`Store::mark`] answers is above every act before it, is never given to another,
//! and every WRITE below it has landed and is on stable storage.
//! Spec: docs/protocol/seal.md §1.

use layout::{Epoch, ExtentId};

use crate::control::{Controlled, detached};
use crate::copy::{Run, joined};
use crate::error::ChangeError;
use crate::limits::EXTENT_BYTES;
use crate::pieces::Source;
use crate::record::{Act, Kind, SEQUENCE_END};
use crate::store::Store;

impl Store {
    /// Gives the next sequence to an act that changes nothing: a CUT at the extent's end. When it
    /// returns, every WRITE below has landed, and all of it is on stable storage.
    /// [`runs_since`](Self::runs_since) tells the act to replicas, as long as no later one is
    /// known.
    ///
    /// # Errors
    /// [`ChangeError::Stale`] if the extent is not known; otherwise as [`fence`](Self::fence).
    pub async fn mark(&self, extent: ExtentId) -> Result<u64, ChangeError> {
        if !self.inner.index.shard(extent).contains_key(&extent) {
            return Err(ChangeError::Stale { known: Epoch::default() });
        }
        let inner = self.inner.clone();
        detached(async move {
            let turn = Controlled::turn(&inner, extent, Epoch::default(), false, |known| {
                if SEQUENCE_END <= known.sequence + 1 {
                    return Err(ChangeError::NoSpace);
                }
                known.sequence += 1;
                known.is_replica = false;
                // No metadata server asked for this CUT: one that it asks for at this epoch is
                // still to be carried out.
                let (epoch, sequence, offset) = (known.cut_epoch, known.sequence, EXTENT_BYTES);
                Ok(Act { kind: Kind::Cut, extent, epoch, sequence, offset, length: 0 })
            });
            let (controlled, act) = turn.await?;
            controlled.append(vec![act]).await?;
            Ok(act.sequence)
        })
        .await
    }

    /// What is to be read to seal the extent as of `sequence`: all that is in no hole, in runs of
    /// at most a record. `None` if there was an act above it.
    #[must_use]
    pub fn capture(&self, extent: ExtentId, sequence: u64) -> Option<Vec<Run>> {
        let shard = self.inner.index.shard(extent);
        let known = shard.get(&extent).filter(|known| known.sequence == sequence)?;
        Some(joined(&known.pieces, sequence, |source| *source != Source::Hole))
    }

    /// Whether no act came above `sequence`: then all that was read since it was given is as of
    /// then.
    #[must_use]
    pub fn is_at(&self, extent: ExtentId, sequence: u64) -> bool {
        self.sequence(extent) == sequence
    }
}
