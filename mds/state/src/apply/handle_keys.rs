//! Keys of data-server handles: replaces one by another, step by step.
//!
//! INVARIANT: the key that handles are sealed under is good.
//! Spec: docs/formats/ds_handle.md; docs/formats/state.md.

use mds_namespace::Txn;

use super::table;
use crate::command::data::{AddHandleKey, DropHandleKey, UseHandleKey};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::query;
use crate::record::HandleKeys;

pub(super) fn add(txn: &mut dyn Txn, asked: &AddHandleKey) -> Result<Outcome, Refusal> {
    change(txn, asked.version, |keys| keys.added(asked.bytes))
}

pub(super) fn use_newest(txn: &mut dyn Txn, asked: &UseHandleKey) -> Result<Outcome, Refusal> {
    change(txn, asked.version, HandleKeys::using_newest)
}

pub(super) fn drop_old(txn: &mut dyn Txn, asked: &DropHandleKey) -> Result<Outcome, Refusal> {
    change(txn, asked.version, HandleKeys::without_old)
}

/// An entry that no longer fits was proposed twice, or by an earlier leader: it changes nothing.
fn change(
    txn: &mut dyn Txn,
    version: u64,
    next: impl FnOnce(&HandleKeys) -> Option<HandleKeys>,
) -> Result<Outcome, Refusal> {
    let before = query::handle_keys(txn)?;
    let Some(after) = next(&before).filter(|_| before.version == version) else {
        return Ok(Outcome::HandleKeys(before.version));
    };
    let is_good = |number| after.later.iter().any(|key| key.number == number);
    assert!(version <= after.version, "versions of the keys grow");
    assert!(after.count() <= 2, "one key replaces one");
    assert!(is_good(after.used) || (after.used == 0 && after.is_first_good), "the key in use is good");
    table::put(txn, key::HANDLE_KEYS, &after)?;
    Ok(Outcome::HandleKeys(after.version))
}
