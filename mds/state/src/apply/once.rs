//! Exactly once: a command that names its request is applied the first time only, and has the same
//! outcome every time.
//!
//! INVARIANT: the transaction that has a command's effect records its outcome.
//! INVARIANT: once a slot has a record of a sequence, or its session was resumed, no earlier
//! request is carried out.
//! Spec: docs/protocol/sessions.md §2.

use mds_namespace::{FsError, Txn, View};
use postcard::ser_flavors::Size;

use super::table;
use crate::command::{Outcome, Refusal};
use crate::entry::Origin;
use crate::key;
use crate::limits::{RECORDED_BYTES_MAX, RECORDED_PER_SLOT_MAX};
use crate::record::{Recorded, SlotRecord, StoredSession};
use crate::values;

/// The record of the request that a command names.
pub(super) enum Known {
    /// This operation of the request was carried out, with this outcome.
    Before(Outcome),
    /// This operation was not carried out. The slot's record of the request so far, which may be
    /// empty.
    New(SlotRecord),
}

/// Finds the record of a command's request. `is_first`: in shard 0.
///
/// # Errors
/// `UnknownSession`, `Superseded`, `FalseRetry`: the command must not be carried out.
pub(super) fn find_request(view: &dyn View, origin: &Origin, is_first: bool) -> Result<Known, Refusal> {
    if is_first {
        check_session(view, origin)?;
    } else if wire_session::limits::SLOTS_MAX <= origin.slot {
        return Err(Refusal::UnknownSession);
    }
    let fresh = || SlotRecord { sequence: origin.sequence, request: origin.request, outcomes: Vec::new() };
    let Some(recorded) = values::read::<SlotRecord>(view, &key::slot(&origin.session, origin.slot))? else {
        return Ok(Known::New(fresh()));
    };
    match origin.sequence.wrapping_sub(recorded.sequence) {
        0 if recorded.request != origin.request => Err(Refusal::FalseRetry),
        0 => match recorded.outcome_of(origin.operation) {
            Some(outcome) => Ok(Known::Before(outcome.clone())),
            None if RECORDED_PER_SLOT_MAX <= recorded.outcomes.len() => Err(Refusal::TableFull),
            None => Ok(Known::New(recorded)),
        },
        // Half of the number space counts as earlier.
        ahead if ahead <= wire_session::limits::SEQUENCE_AHEAD_MAX => Ok(Known::New(fresh())),
        _ => Err(Refusal::Superseded),
    }
}

/// Only shard 0 has sessions: the other shards rely on the governor's check.
fn check_session(view: &dyn View, origin: &Origin) -> Result<(), Refusal> {
    let session: StoredSession =
        values::read(view, &key::session(&origin.session))?.ok_or(Refusal::UnknownSession)?;
    if session.record.fore.requests_max <= origin.slot {
        return Err(Refusal::UnknownSession);
    }
    if session.tenure == origin.tenure { Ok(()) } else { Err(Refusal::Superseded) }
}

/// Records a command's outcome, unless it ended its session or the server plans it again.
pub(super) fn record(
    txn: &mut dyn Txn,
    origin: &Origin,
    is_first: bool,
    mut slot: SlotRecord,
    outcome: &Outcome,
) -> Result<(), FsError> {
    let is_gone = is_first && txn.get(&key::session(&origin.session))?.is_none();
    let is_planned_again = matches!(outcome, Outcome::Refused(Refusal::ContentMoved | Refusal::NamesMoved));
    if is_planned_again || is_gone {
        return Ok(());
    }
    assert!(slot.sequence == origin.sequence, "the record is of the request's sequence");
    assert!(slot.request == origin.request, "the record is of the request");
    assert!(slot.outcome_of(origin.operation).is_none(), "an operation is carried out once");
    assert!(slot.outcomes.len() < RECORDED_PER_SLOT_MAX, "a slot has room for the outcome");
    slot.outcomes.push(Recorded { operation: origin.operation, outcome: cut(outcome) });
    table::put(txn, &key::slot(&origin.session, origin.slot), &slot).map_err(|refusal| match refusal {
        Refusal::Namespace(error) => error,
        refusal => FsError::Store(refusal.to_string()),
    })
}

/// Reduces an outcome to what the reply needs. The rest is work that the store keeps by itself.
fn cut(outcome: &Outcome) -> Outcome {
    let cut = match outcome {
        Outcome::Opened(opened) => {
            let mut opened = opened.clone();
            opened.truncated = None;
            Outcome::Opened(opened)
        }
        Outcome::Attributes(answer) => {
            let mut answer = answer.clone();
            answer.truncated = None;
            Outcome::Attributes(answer)
        }
        Outcome::Removed(removed) => {
            let mut removed = removed.clone();
            removed.wrote = Vec::new();
            Outcome::Removed(removed)
        }
        whole => whole.clone(),
    };
    let bytes = postcard::serialize_with_flavor(&cut, Size::default()).unwrap_or(usize::MAX);
    if bytes <= RECORDED_BYTES_MAX { cut } else { Outcome::Done }
}
