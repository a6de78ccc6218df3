//! Restricted exports: the extents that data servers must fence, and the handles that are in use.
//!
//! A data-server handle is a capability and outlives its layout, so each grant records in the
//! file's record the export through which the client got it. A list of exports that takes something
//! away from a client records these exports in the same entry. The next commands fence the extents
//! of the files with such a record, part by part. A new leader reads from the store how far that
//! went.
//!
//! INVARIANT: a file without a record has no handle in use below the epochs of its extents.
//! Spec: docs/protocol/admin.md §8; docs/formats/state.md.

use layout::ExtentId;
use mds_namespace::op::{extent, queue};
use mds_namespace::{FsError, Ino, StoreError, Txn, View, store};

use super::{admin, layout as layouts, table};
use crate::command::admin::{ExportsFenced, ExportsSet, FenceExports, FencedExports};
use crate::command::layout::{Granting, LayoutThrough};
use crate::command::{Outcome, Refusal};
use crate::export::Export;
use crate::key;
use crate::limits::{EXPORTS_MAX, FENCE_EXTENTS_MAX, FENCE_FILES_MAX};
use crate::record::{Fencing, Handed, Value};
use crate::{query, values};

/// Sets the exports, and records which of them are gone or allow less.
pub(super) fn replace_exports(
    txn: &mut dyn Txn,
    replaces: u64,
    exports: &[Export],
) -> Result<Outcome, Refusal> {
    let before = query::exports(txn)?;
    let outcome = admin::set_exports(txn, replaces, exports)?;
    let Outcome::Exports(ExportsSet::Done(version)) = outcome else { return Ok(outcome) };
    if version == before.version {
        return Ok(outcome);
    }
    assert!(before.version < version, "each change of the exports has a later version");
    let known: Option<Fencing> = values::read(txn, key::FENCING)?;
    // A cluster of an earlier version has given out handles without a record.
    let is_older = known.is_none() && before.version != 0;
    let known = known.unwrap_or_default();
    let restricted = before.restricted_by(&query::exports(txn)?);
    // The first list of a cluster starts the record: all its handles have one.
    if !restricted.is_empty() || before.version == 0 {
        let mut fencing = known.and(version, restricted);
        fencing.all |= is_older;
        table::put(txn, key::FENCING, &fencing)?;
    }
    Ok(outcome)
}

/// LAYOUTGET.
pub(super) fn layout_through(txn: &mut dyn Txn, asked: &LayoutThrough) -> Result<Outcome, Refusal> {
    // Only shard 0 knows the list. For files of other shards the server checks it again before it
    // replies.
    let fencing: Fencing = values::read(txn, key::FENCING)?.unwrap_or_default();
    if asked.version < fencing.version {
        return Err(Refusal::Busy);
    }
    let outcome = match &asked.what {
        Granting::Read(get) => layouts::get(txn, get)?,
        Granting::Write(write) => layouts::write(txn, write)?,
    };
    let ino = asked.what.get().extent.ino;
    let handed: Option<Handed> = values::read(txn, &key::handed(ino))?;
    if let Some(more) = Handed::with(handed.as_ref(), asked.export) {
        assert!(more.is_through(&[asked.export]), "the file is recorded with the export");
        table::put(txn, &key::handed(ino), &more)?;
    }
    Ok(outcome)
}

/// Fences a part of the extents of this shard that must be fenced.
pub(super) fn fence_exports(txn: &mut dyn Txn, asked: &FenceExports) -> Result<Outcome, Refusal> {
    if EXPORTS_MAX < asked.exports.len() {
        return Err(Refusal::TableFull);
    }
    let step = if asked.all { fence_any(txn, asked.from)? } else { fence_handed(txn, asked)? };
    Ok(Outcome::Fenced(step))
}

fn fence_any(txn: &mut dyn Txn, from: ExtentId) -> Result<FencedExports, Refusal> {
    let records = extent::all_from(txn, from, FENCE_EXTENTS_MAX)?;
    let is_full = records.len() == FENCE_EXTENTS_MAX;
    let next = records.last().filter(|_| is_full).map(|record| after(record.extent));
    assert!(records.len() <= FENCE_EXTENTS_MAX, "a part is bounded");
    assert!(next.is_none_or(|next| from < next), "the next part begins behind this one");
    for record in &records {
        queue::fence(txn, record.extent)?;
    }
    Ok(FencedExports { extents: count(records.len()), next })
}

fn fence_handed(txn: &mut dyn Txn, asked: &FenceExports) -> Result<FencedExports, Refusal> {
    let files = handed_from(txn, asked.from.ino, FENCE_FILES_MAX)?;
    let is_cut = files.len() == FENCE_FILES_MAX;
    let last = files.last().map(|(ino, _)| *ino);
    let mut fenced = 0;
    for (ino, handed) in files {
        if !handed.is_through(&asked.exports) {
            continue;
        }
        let begins = if ino == asked.from.ino { asked.from.index } else { 0 };
        assert!(fenced <= FENCE_EXTENTS_MAX, "a part is bounded");
        let room = FENCE_EXTENTS_MAX - fenced;
        if room == 0 {
            return Ok(FencedExports { extents: count(fenced), next: Some(first_of(ino)) });
        }
        let records = extent::extents(txn, ino, begins, room)?;
        for record in &records {
            queue::fence(txn, record.extent)?;
        }
        fenced += records.len();
        match records.last() {
            Some(last) if records.len() == room => {
                let next = Some(after(last.extent));
                return Ok(FencedExports { extents: count(fenced), next });
            }
            // Clients may have got new handles of extents that an earlier part fenced.
            _ if begins == 0 => txn.delete(&key::handed(ino))?,
            _ => {}
        }
    }
    let next = last.filter(|_| is_cut).map(|ino| first_of(ino.saturating_add(1)));
    Ok(FencedExports { extents: count(fenced), next })
}

/// Ends the fencing of this version.
pub(super) fn exports_fenced(txn: &mut dyn Txn, asked: &ExportsFenced) -> Result<Outcome, Refusal> {
    let fencing: Fencing = values::read(txn, key::FENCING)?.unwrap_or_default();
    if fencing.version == asked.version && fencing.is_pending() {
        let ExportsFenced { version, layouts, extents } = *asked;
        let done = Fencing { version, all: false, exports: Vec::new(), layouts, extents };
        assert!(!done.is_pending(), "a fencing that has ended requires nothing");
        table::put(txn, key::FENCING, &done)?;
    }
    Ok(Outcome::Done)
}

/// Files with handles in use, starting at `from`.
fn handed_from(view: &dyn View, from: Ino, files_max: usize) -> Result<Vec<(Ino, Handed)>, FsError> {
    let (from, to) = (key::handed(from), key::after(key::HANDED));
    let files = store::list(view, &from, &to, files_max, |key, bytes| {
        let ino = key::parse_handed(key).ok_or(StoreError::Corrupt("key of a file with handles"))?;
        Ok::<_, FsError>((ino, Handed::decode(bytes)?))
    })?;
    assert!(files.len() <= files_max, "no more is returned than was asked for");
    Ok(files)
}

fn first_of(ino: Ino) -> ExtentId {
    ExtentId { ino, index: 0 }
}

fn after(extent: ExtentId) -> ExtentId {
    match extent.index.checked_add(1) {
        Some(index) => ExtentId { index, ..extent },
        None => first_of(extent.ino.saturating_add(1)),
    }
}

fn count(extents: usize) -> u32 {
    u32::try_from(extents).expect("a limit")
}
