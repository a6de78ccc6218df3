//! Checks which node may propose entries to this shard, and applies this shard's part of acts on
//! several.
//!
//! INVARIANT: behind the entry with which a node begins to govern, no entry of an earlier governor
//! is applied.
//! INVARIANT: an act whose intent is kept here has this shard's part written.
//! Spec: docs/protocol/shards.md.

use mds_namespace::op::write_part::write_part;
use mds_namespace::op::{format, reap};
use mds_namespace::{FsError, Superblock, Txn, View, shard_of, superblock};

use super::open::reap_if_gone;
use super::{client, own_shard, table};
use crate::command::governor::{
    Carry, ForgetClient, ForgetSession, FormatShard, Intend, Reap, ReserveInodes, Settle,
};
use crate::command::{Command, Outcome, Refusal};
use crate::entry::Entry;
use crate::key;
use crate::limits::{INTENT_BYTES_MAX, INTENTS_MAX, RESERVED_INODES_MAX};
use crate::record::{Governor, Intent};
use crate::values;

/// Whether the node that proposed an entry may; and whether this is shard 0.
///
/// # Errors
/// `Superseded` if it may not, or no longer.
pub(super) fn check(view: &dyn View, entry: &Entry) -> Result<bool, Refusal> {
    let stored: Option<Governor> = values::read(view, key::GOVERNOR)?;
    let may = match (&stored, &entry.command) {
        (None, _) => entry.governor == 0 || matches!(entry.command, Command::FormatShard(_)),
        (Some(stored), Command::Govern(_)) => stored.term <= entry.governor,
        (Some(stored), _) => stored.term == entry.governor,
    };
    if may { Ok(stored.is_none()) } else { Err(Refusal::Superseded) }
}

pub(super) fn format_shard(txn: &mut dyn Txn, asked: &FormatShard) -> Result<Outcome, Refusal> {
    let FormatShard { shard, file_system, handle_key, cookie_key } = *asked;
    match format::format_shard(txn, &Superblock { file_system, handle_key, cookie_key }, shard) {
        Ok(()) => table::put(txn, key::GOVERNOR, &Governor { term: 0 })?,
        Err(FsError::Exists) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::Done)
}

/// `check` has refused older terms.
pub(super) fn govern(txn: &mut dyn Txn, term: u64) -> Result<Outcome, Refusal> {
    if !own_shard::is_first(txn)? {
        debug_assert!(
            values::read::<Governor>(txn, key::GOVERNOR)?.is_some_and(|before| before.term <= term),
            "terms of governors grow"
        );
        table::put(txn, key::GOVERNOR, &Governor { term })?;
    }
    Ok(Outcome::Done)
}

pub(super) fn reserve(txn: &mut dyn Txn, asked: &ReserveInodes) -> Result<Outcome, Refusal> {
    if !(1..=RESERVED_INODES_MAX).contains(&asked.count) {
        return Err(FsError::Invalid.into());
    }
    let first = superblock::reserve_inodes(txn, asked.count)?;
    debug_assert!(own_shard::number(txn)? == shard_of(first), "the numbers are this shard's");
    Ok(Outcome::Reserved(first))
}

pub(super) fn intend(txn: &mut dyn Txn, asked: &Intend) -> Result<Outcome, Refusal> {
    let own = own_shard::number(txn)?;
    let (here, elsewhere): (Vec<_>, Vec<_>) = asked.parts.iter().partition(|part| part.shard == own);
    assert!(here.len() + elsewhere.len() == asked.parts.len(), "each part is written or kept");
    assert!(elsewhere.iter().all(|part| part.shard != own), "the own part is not kept");
    for part in here {
        write_part(txn, &part.writes)?;
    }
    let intent = Intent { parts: elsewhere.into_iter().cloned().collect() };
    let at = key::intent(asked.id);
    if txn.get(&at)?.is_none() && INTENTS_MAX <= values::list::<Intent>(txn, key::INTENTS)?.len() {
        return Err(Refusal::TableFull);
    }
    let bytes: usize = intent.parts.iter().flat_map(|part| &part.writes).map(|write| write.bytes()).sum();
    if INTENT_BYTES_MAX < bytes {
        return Err(FsError::Invalid.into());
    }
    table::put(txn, &at, &intent)?;
    Ok((*asked.outcome).clone())
}

pub(super) fn carry(txn: &mut dyn Txn, asked: &Carry) -> Result<Outcome, Refusal> {
    write_part(txn, &asked.writes)?;
    Ok(Outcome::Done)
}

pub(super) fn settle(txn: &mut dyn Txn, asked: &Settle) -> Result<Outcome, Refusal> {
    txn.delete(&key::intent(asked.id))?;
    Ok(Outcome::Done)
}

pub(super) fn reap(txn: &mut dyn Txn, asked: &Reap) -> Result<Outcome, Refusal> {
    if reap::is_orphan(txn, asked.ino)? {
        reap_if_gone(txn, asked.ino)?;
    }
    Ok(Outcome::Done)
}

pub(super) fn forget(txn: &mut dyn Txn, asked: &ForgetClient) -> Result<Outcome, Refusal> {
    if own_shard::is_first(txn)? {
        return Err(FsError::Invalid.into());
    }
    let removed = client::drop_held(txn, asked.client)?;
    delete_all(txn, &key::slots_of_client(asked.client))?;
    Ok(Outcome::Removed(removed))
}

pub(super) fn forget_session(txn: &mut dyn Txn, asked: &ForgetSession) -> Result<Outcome, Refusal> {
    if own_shard::is_first(txn)? {
        return Err(FsError::Invalid.into());
    }
    delete_all(txn, &key::slots(&asked.session))?;
    Ok(Outcome::Done)
}

fn delete_all(txn: &mut dyn Txn, prefix: &[u8]) -> Result<(), Refusal> {
    let found = mds_namespace::store::list(txn, prefix, &key::after(prefix), usize::MAX, |key, _| {
        Ok::<_, FsError>(key.to_vec())
    })?;
    for key in found {
        assert!(key.starts_with(prefix), "nothing else is deleted");
        txn.delete(&key)?;
    }
    Ok(())
}
