//! Applies commands: one file for each family. Deterministic: all replicas apply the same entries
//! to equal stores and must end with equal stores. So nothing here reads a clock, draws a random
//! number or iterates in an undefined order.
//!
//! INVARIANT: a refused command has written nothing but the refusal itself, if it names its
//! request.

mod admin;
mod client;
mod data;
mod extents;
mod fencing;
mod governor;
mod handle_keys;
mod layout;
mod lock;
mod lock_table;
mod names;
mod once;
mod open;
mod open_table;
mod own_shard;
mod seal;
mod session;
mod session_table;
mod staged;
mod table;
mod waiting;

use mds_namespace::{FsError, Timestamp, Txn};

use crate::command::{Command, Outcome, Refusal};
use crate::entry::Entry;
use once::Known;
use staged::Staged;

/// The store failed: the replica must stop, since it cannot know what its store holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store failed while a command was applied: {0}")]
pub struct StoreFailed(pub String);

/// Applies one entry in an open transaction, unless it was applied before.
///
/// # Errors
/// [`StoreFailed`] if the store fails. A command that is refused is an `Ok(Outcome::Refused)`.
pub fn apply(txn: &mut dyn Txn, entry: &Entry) -> Result<Outcome, StoreFailed> {
    let outcome = apply_within(txn, entry, usize::MAX)?;
    Ok(outcome.expect("no command writes as many keys as there are numbers"))
}

/// As [`apply`], if the command writes at most `keys_max` keys. Else it writes nothing and there is
/// no outcome.
///
/// # Errors
/// As [`apply`].
pub fn apply_within(
    txn: &mut dyn Txn,
    entry: &Entry,
    keys_max: usize,
) -> Result<Option<Outcome>, StoreFailed> {
    let now = Timestamp::from_unix_ns(entry.now_unix_ns);
    let is_first = match governor::check(txn, entry) {
        Ok(is_first) => is_first,
        Err(Refusal::Namespace(FsError::Store(error))) => return Err(StoreFailed(error)),
        Err(refusal) => return Ok(Some(Outcome::Refused(refusal))),
    };
    let Some(origin) = &entry.origin else {
        return try_to(txn, keys_max, |staged| carry_out(staged, now, entry));
    };
    let slot = match once::find_request(txn, origin, is_first) {
        Ok(Known::Before(outcome)) => return Ok(Some(outcome)),
        Ok(Known::New(slot)) => slot,
        Err(Refusal::Namespace(FsError::Store(error))) => return Err(StoreFailed(error)),
        Err(refusal) => return Ok(Some(Outcome::Refused(refusal))),
    };
    let Some(outcome) = try_to(txn, keys_max, |staged| carry_out(staged, now, entry))? else {
        return Ok(None);
    };
    once::record(txn, origin, is_first, slot, &outcome).map_err(|error| StoreFailed(error.to_string()))?;
    Ok(Some(outcome))
}

/// Applies all of `act` or nothing; `None` if it would write more than `keys_max` keys.
fn try_to(
    txn: &mut dyn Txn,
    keys_max: usize,
    act: impl FnOnce(&mut Staged<'_>) -> Result<Outcome, Refusal>,
) -> Result<Option<Outcome>, StoreFailed> {
    let mut staged = Staged::new(txn, keys_max);
    let acted = act(&mut staged);
    if staged.is_full() {
        return Ok(None);
    }
    match acted {
        Ok(outcome) => {
            staged.write_through().map_err(|error| StoreFailed(error.to_string()))?;
            Ok(Some(outcome))
        }
        Err(Refusal::Namespace(FsError::Store(error))) => Err(StoreFailed(error)),
        Err(refusal) => Ok(Some(Outcome::Refused(refusal))),
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each command, and none is to be forgotten")]
fn carry_out(txn: &mut Staged<'_>, now: Timestamp, entry: &Entry) -> Result<Outcome, Refusal> {
    match &entry.command {
        Command::Bound(asked) => names::bound(txn, now, asked),
        Command::ExchangeId(asked) => client::exchange_id(txn, asked, None, None).map(client::as_before),
        Command::ExchangeIdAs(asked) => {
            client::exchange_id(txn, &asked.asked, Some(asked.fresh), None).map(client::as_before)
        }
        Command::ExchangeIdFrom(asked) => client::exchange_id_from(txn, asked),
        Command::ConfirmClient(asked) => client::confirm(txn, asked),
        Command::ReclaimComplete(asked) => client::reclaim_complete(txn, asked),
        Command::RemoveClient(asked) => client::remove(txn, asked),
        Command::Open(asked) => open::open(txn, now, asked),
        Command::OpenDowngrade(asked) => open::downgrade(txn, asked),
        Command::Close(asked) => open::close(txn, asked),
        Command::Lock(asked) => lock::lock(txn, asked),
        Command::Unlock(asked) => lock::unlock(txn, asked),
        Command::FreeStateid(asked) => lock::free_stateid(txn, asked),
        Command::Create(asked) => names::create(txn, now, asked),
        Command::Link(asked) => names::link(txn, now, asked),
        Command::Remove(asked) => names::remove(txn, now, asked),
        Command::Rename(asked) => names::rename(txn, now, asked),
        Command::SetAttributes(asked) => names::set_attributes(txn, now, asked),
        Command::WriteInline(asked) => data::write_inline(txn, now, asked),
        Command::MoveToExtents(asked) => data::move_to_extents(txn, asked),
        Command::Allocate(asked) => extents::allocate(txn, asked, None),
        Command::Written(asked) => data::written(txn, now, asked),
        Command::WrittenAt(asked) => data::written_at(txn, now, asked),
        Command::Measured(asked) => data::measured(txn, now, asked),
        Command::WorkDone(asked) => data::work_done(txn, asked),
        Command::Fence(asked) => extents::fence(txn, asked),
        Command::RegisterDataServer(asked) => data::register(txn, asked, ""),
        Command::RegisterNamed(asked) => data::register(txn, &asked.server, &asked.name),
        Command::LayoutGet(asked) => layout::get(txn, asked),
        Command::LayoutReturn(asked) => layout::give_back(txn, now, asked, None),
        Command::LayoutWrite(asked) => layout::write(txn, asked),
        Command::LayoutGiveBack(asked) => layout::give_back(txn, now, &asked.what, asked.settlement.as_ref()),
        Command::SettleSize(asked) => layout::settle_size(txn, now, asked),
        Command::SetMeasured(asked) => names::set_measured(txn, now, asked),
        Command::Accessed(asked) => names::accessed(txn, now, asked),
        Command::LayoutCommit(asked) => layout::commit(txn, now, asked),
        Command::LayoutRecall(asked) => layout::recall(txn, asked),
        Command::Format(asked) => data::format(txn, now, asked),
        Command::LayoutPlace(asked) => layout::place(txn, asked, None),
        Command::ChangeCopies(asked) => extents::change_copies(txn, asked),
        Command::TakeGroup => seal::take_group(txn),
        Command::MakeGroup(asked) => seal::make_group(txn, asked),
        Command::UseImages(asked) => seal::use_images(txn, asked),
        Command::RehomeImage(asked) => seal::rehome(txn, asked),
        Command::ThawExtent(asked) => seal::thaw(txn, asked),
        Command::AdoptExtents(asked) => seal::adopt(txn, asked),
        Command::RemoveDataServer(asked) => admin::remove(txn, asked),
        Command::DrainDataServer(asked) => admin::drain(txn, asked),
        Command::HandOver(asked) => admin::hand_over(txn, asked),
        Command::WaitNoLonger(asked) => admin::wait_no_longer(txn, asked),
        Command::UnderCode(asked) => data::under_code(txn, asked),
        Command::CreateSession(asked) => session::create(txn, asked),
        Command::DestroySession(asked) => session::destroy(txn, asked),
        Command::TakeUpSession(asked) => session::resume(txn, asked),
        Command::SetCallback(asked) => session::set_callback(txn, asked),
        Command::FormatShard(asked) => governor::format_shard(txn, asked),
        Command::Govern(_) => governor::govern(txn, entry.governor),
        Command::ReserveInodes(asked) => governor::reserve(txn, asked),
        Command::Intend(asked) => governor::intend(txn, asked),
        Command::Carry(asked) => governor::carry(txn, asked),
        Command::Settle(asked) => governor::settle(txn, asked),
        Command::Reap(asked) => governor::reap(txn, asked),
        Command::ForgetClient(asked) => governor::forget(txn, asked),
        Command::ForgetSession(asked) => governor::forget_session(txn, asked),
        Command::FixShards(asked) => admin::fix_shards(txn, *asked),
        Command::SetExports(asked) => admin::set_exports(txn, asked.replaces, &asked.exports),
        Command::ReplaceExports(asked) => fencing::replace_exports(txn, asked.replaces, &asked.exports),
        Command::ReplaceExportsWhole(asked) => fencing::replace_exports(txn, asked.replaces, &asked.exports),
        Command::FenceExports(asked) => fencing::fence_exports(txn, asked),
        Command::ExportsFenced(asked) => fencing::exports_fenced(txn, asked),
        Command::LayoutThrough(asked) => fencing::layout_through(txn, asked),
        Command::MarkStores(asked) => data::mark_stores(txn, asked),
        Command::AddHandleKey(asked) => handle_keys::add(txn, asked),
        Command::UseHandleKey(asked) => handle_keys::use_newest(txn, asked),
        Command::DropHandleKey(asked) => handle_keys::drop_old(txn, asked),
    }
}

#[cfg(test)]
mod tests;
