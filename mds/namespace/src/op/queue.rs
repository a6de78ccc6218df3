//! Raises the epochs of extents, and queues the work that follows.
//!
//! Every rise of an epoch queues work for the extent's primary; until that is done `pending_work`
//! is set, and no new handle may be given out. Old ones stay good until a fence or drop is done; a
//! cut refuses none. Work that is not done when more is asked is replaced by one item that asks for
//! both.
//!
//! Spec: docs/protocol/control.md; docs/formats/namespace.md.

use layout::copies::Formers;
use layout::{DataServerId, EXTENT_BYTES, ExtentId};

use crate::codec;
use crate::keys;
use crate::op::extent::{drop_at, extent, item, put, unfinished};
use crate::op::{formers, seal};
use crate::store::Txn;
use crate::superblock;
use crate::work::WorkItem;
use crate::{ExtentRecord, FsError};

/// Raises an extent's epoch: handles given out before are refused as soon as the primary has done
/// the queued work.
///
/// # Errors
/// [`FsError::NoSuchExtent`].
pub fn fence(txn: &mut dyn Txn, id: ExtentId) -> Result<ExtentRecord, FsError> {
    let record = extent(txn, id)?.ok_or(FsError::NoSuchExtent)?;
    Ok(queue_work(txn, record, Action::Fence)?.record)
}

/// Raises the epoch; unfinished work is done under the new one, by the primary there is now.
pub(super) fn requeue(txn: &mut dyn Txn, mut record: ExtentRecord) -> Result<ExtentRecord, FsError> {
    let Some(item) = unfinished(txn, &record)? else {
        record.epoch = record.epoch.next();
        put(txn, &record)?;
        return Ok(record);
    };
    let action = as_action(&item);
    Ok(queue_work(txn, record, action)?.record)
}

/// What a primary is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Fence,
    Cut {
        keep_bytes: u64,
        fences: bool,
    },
    Drop,
    Adopt {
        keep_bytes: u64,
    },
    /// Asked of `by`, which was primary before.
    Yield {
        by: DataServerId,
        keep_bytes: u64,
    },
    Prove {
        keep_bytes: u64,
        formers: Formers,
    },
}

impl Action {
    /// Bytes of the extent that stay.
    pub(crate) fn keep_bytes(self) -> u64 {
        match self {
            Self::Fence => EXTENT_BYTES,
            Self::Cut { keep_bytes, .. }
            | Self::Adopt { keep_bytes }
            | Self::Yield { keep_bytes, .. }
            | Self::Prove { keep_bytes, .. } => keep_bytes,
            Self::Drop => 0,
        }
    }
}

impl Action {
    /// Whether it refuses handles that were given out before.
    fn refuses_handles(self) -> bool {
        !matches!(self, Self::Cut { fences: false, .. })
    }
}

/// Work that stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) number: u64,
    pub(crate) record: ExtentRecord,
    /// What is asked, earlier unfinished work included.
    pub(crate) action: Action,
}

/// Raises the epoch and queues work for it, in place of unfinished work of the extent.
pub(crate) fn queue_work(
    txn: &mut dyn Txn,
    mut record: ExtentRecord,
    asked: Action,
) -> Result<Queued, FsError> {
    assert!(asked.keep_bytes() <= EXTENT_BYTES, "no more of an extent stays than it has");
    let (mut action, epoch_before) = (asked, record.epoch);
    if let Some(number) = record.pending_work {
        if let Some(unfinished) = item(txn, number)? {
            action = both(as_action(&unfinished), asked);
            if let (WorkItem::Yield { home, .. }, Action::Drop) = (&unfinished, action) {
                drop_at(txn, record.extent, *home, record.epoch.next())?;
            }
            if action == Action::Drop {
                let gone = ExtentRecord { epoch: record.epoch.next(), ..record.clone() };
                formers::dismiss(txn, &gone, formers::named(Some(&unfinished)))?;
            }
        }
        txn.delete(&keys::work(number))?;
    }
    let number = superblock::next_work(txn)?;
    record.epoch = record.epoch.next();
    record.pending_work = Some(number);
    put(txn, &record)?;
    let ExtentRecord { extent, home, epoch, .. } = record.clone();
    if let Action::Cut { .. } = asked {
        seal::note_cut(txn, extent, epoch)?;
    }
    let item = match action {
        Action::Adopt { keep_bytes } => WorkItem::Adopt { extent, home, epoch, keep_bytes },
        Action::Fence => WorkItem::Fence { extent, home, epoch },
        Action::Cut { keep_bytes, fences } => WorkItem::Cut { extent, home, epoch, keep_bytes, fences },
        Action::Drop => WorkItem::Drop { extent, home, epoch },
        Action::Yield { by, keep_bytes } => WorkItem::Yield { extent, home: by, epoch, keep_bytes },
        Action::Prove { keep_bytes, formers } => WorkItem::Prove { extent, home, epoch, keep_bytes, formers },
    };
    txn.put(&keys::work(number), &codec::encode_work(&item))?;
    assert!(epoch_before < record.epoch, "each work item has a higher epoch than what came before");
    Ok(Queued { number, record, action })
}

/// The least that does both. A cut refuses no handle, so a fence must not be lost in one. The
/// smaller of two cuts takes no byte that a client was promised: while a cut is not done, its
/// truncation is not answered, or the primary has no lease and serves no WRITE. To adopt an
/// extent is to fence it, and so is to yield or to prove it: no handle was given out since that was
/// asked.
fn both(unfinished: Action, asked: Action) -> Action {
    let action = combine(unfinished, asked);
    let keep_bytes = unfinished.keep_bytes().min(asked.keep_bytes());
    assert!(action.keep_bytes() == keep_bytes, "no more stays than either of the two leaves");
    let refuses = unfinished.refuses_handles() || asked.refuses_handles();
    assert!(refuses == action.refuses_handles(), "a fence is not lost in a cut");
    action
}

fn combine(unfinished: Action, asked: Action) -> Action {
    match (unfinished, asked) {
        (Action::Drop, _) | (_, Action::Drop) => Action::Drop,
        (Action::Fence, Action::Fence) => Action::Fence,
        (Action::Yield { by, keep_bytes }, other) | (other, Action::Yield { by, keep_bytes }) => {
            Action::Yield { by, keep_bytes: keep_bytes.min(other.keep_bytes()) }
        }
        (Action::Adopt { keep_bytes }, other) | (other, Action::Adopt { keep_bytes }) => {
            Action::Adopt { keep_bytes: keep_bytes.min(other.keep_bytes()) }
        }
        // The former servers of before are among those that are asked for now.
        (Action::Prove { keep_bytes, .. }, Action::Prove { formers, keep_bytes: asked }) => {
            Action::Prove { keep_bytes: keep_bytes.min(asked), formers }
        }
        (Action::Prove { keep_bytes, formers }, other) | (other, Action::Prove { keep_bytes, formers }) => {
            Action::Prove { keep_bytes: keep_bytes.min(other.keep_bytes()), formers }
        }
        (Action::Fence, Action::Cut { keep_bytes, .. }) | (Action::Cut { keep_bytes, .. }, Action::Fence) => {
            Action::Cut { keep_bytes, fences: true }
        }
        (Action::Cut { keep_bytes, fences }, Action::Cut { keep_bytes: asked, fences: asks }) => {
            Action::Cut { keep_bytes: asked.min(keep_bytes), fences: fences || asks }
        }
    }
}

fn as_action(item: &WorkItem) -> Action {
    match *item {
        WorkItem::Fence { .. } => Action::Fence,
        WorkItem::Cut { keep_bytes, fences, .. } => Action::Cut { keep_bytes, fences },
        WorkItem::Drop { .. } => Action::Drop,
        WorkItem::Adopt { keep_bytes, .. } => Action::Adopt { keep_bytes },
        WorkItem::Yield { home, keep_bytes, .. } => Action::Yield { by: home, keep_bytes },
        WorkItem::Prove { keep_bytes, formers, .. } => Action::Prove { keep_bytes, formers },
    }
}
