//! Removes and drains data servers, hands extents over from homes that are alive, and sets exports.
//!
//! Spec: docs/protocol/admin.md §2 to §4, §8.

use mds_namespace::op::hand_over;
use mds_namespace::op::held::{Held, held, strike_off};
use mds_namespace::{FsError, Txn};

use super::extents::{all_known, told};
use super::{own_shard, table};
use crate::command::admin::{
    DrainDataServer, ExportsSet, FixShards, HandOver, Removal, RemoveDataServer, WaitNoLonger,
};
use crate::command::{Outcome, Refusal};
use crate::export::{self, Export};
use crate::key;
use crate::limits::{COPY_CHANGES_MAX, WORK_STRUCK_MAX};
use crate::record::DataServer;
use crate::{query, values};

pub(super) fn remove(txn: &mut dyn Txn, asked: &RemoveDataServer) -> Result<Outcome, Refusal> {
    let id = asked.server;
    let gone: Option<DataServer> = values::read(txn, &key::server(id.0))?;
    // Only shard 0 knows data servers; the other shards remove what they have of it first.
    if gone.is_none() && own_shard::is_first(txn)? {
        return Err(FsError::NotFound.into());
    }
    let holds = held(txn, id)?;
    if holds != Held::default() {
        return Ok(Outcome::Removal(Removal::Holds(holds)));
    }
    if !strike_off(txn, id, WORK_STRUCK_MAX)? {
        return Ok(Outcome::Removal(Removal::Again));
    }
    if let Some(gone) = gone {
        txn.delete(&key::server(id.0))?;
        txn.delete(&key::draining(id.0))?;
        txn.delete(&key::mark(&gone.uuid))?;
        txn.put(&key::removed(&gone.uuid), &id.0.to_be_bytes())?;
    }
    Ok(Outcome::Removal(Removal::Done))
}

pub(super) fn drain(txn: &mut dyn Txn, asked: &DrainDataServer) -> Result<Outcome, Refusal> {
    let id = asked.server;
    all_known(txn, [id]).map_err(|_| FsError::NotFound)?;
    if !asked.drain {
        txn.delete(&key::draining(id.0))?;
        return Ok(Outcome::Done);
    }
    let draining = query::draining(txn)?;
    let servers: Vec<DataServer> = values::list(txn, key::SERVERS)?;
    if !servers.iter().any(|one| one.id != id.0 && !draining.contains(&one.id)) {
        return Err(FsError::NotPermitted.into());
    }
    txn.put(&key::draining(id.0), &[])?;
    Ok(Outcome::Done)
}

pub(super) fn hand_over(txn: &mut dyn Txn, asked: &HandOver) -> Result<Outcome, Refusal> {
    if COPY_CHANGES_MAX < asked.changes.len() {
        return Err(Refusal::TableFull);
    }
    let mut records = Vec::with_capacity(asked.changes.len());
    for change in &asked.changes {
        all_known(txn, change.copies.servers())?;
        records.push(hand_over::hand_over(txn, change)?.map(told));
    }
    assert!(records.len() == asked.changes.len(), "each change has its answer");
    Ok(Outcome::Copies(records))
}

pub(super) fn wait_no_longer(txn: &mut dyn Txn, asked: &WaitNoLonger) -> Result<Outcome, Refusal> {
    if COPY_CHANGES_MAX < asked.items.len() {
        return Err(Refusal::TableFull);
    }
    hand_over::wait_no_longer(txn, &asked.items)?;
    Ok(Outcome::Done)
}

pub(super) fn fix_shards(txn: &mut dyn Txn, asked: FixShards) -> Result<Outcome, Refusal> {
    match query::shards(txn)? {
        Some(made) if made != asked.shards => Err(FsError::Exists.into()),
        Some(_) => Ok(Outcome::Done),
        None => {
            txn.put(key::SHARDS, &asked.shards.to_be_bytes())?;
            Ok(Outcome::Done)
        }
    }
}

pub(super) fn set_exports(txn: &mut dyn Txn, replaces: u64, exports: &[Export]) -> Result<Outcome, Refusal> {
    if !own_shard::is_first(txn)? || export::check(exports.iter()).is_err() {
        return Err(FsError::Invalid.into());
    }
    let before = query::exports(txn)?;
    if before.lists(exports) {
        return Ok(Outcome::Exports(ExportsSet::Done(before.version)));
    }
    if before.version != replaces {
        return Ok(Outcome::Exports(ExportsSet::Changed(before.version)));
    }
    let after = before.replaced_by(exports).ok_or(Refusal::TableFull)?;
    assert!(before.version < after.version, "each change of the exports has a later version");
    assert!(after.lists(exports), "the list has the exports that were asked for");
    table::put(txn, key::EXPORTS, &after)?;
    Ok(Outcome::Exports(ExportsSet::Done(after.version)))
}
