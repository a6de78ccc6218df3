//! Who keeps extents: what homes ask about their backups, waiting for a backup to take the place of
//! a dead home, and the words in which data servers are told.
//!
//! What should be is decided in `layout::copies`; the log makes it so; `repair` looks for what is
//! not as it should be.
//!
//! INVARIANT: a home is replaced only while it surely holds no lease and can get none.
//! Spec: docs/protocol/replicate.md §3, §4.

pub(crate) mod formers;
mod memory;
mod set;

use layout::copies::{Wish, plan};
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::CopyChange;
use mds_namespace::{ExtentRecord, op};
use mds_state::command::data::ChangeCopies;
use mds_state::{Command, Outcome};
use wire_nfs::control::Refusal;
use wire_nfs::control::copies::{AskCopies, CopySet, Word};
use wire_nfs::v4::Nfsstat4;

use crate::limits::FAILOVER_WAIT_MS_MAX;
use crate::server::Server;
use crate::slow::{self, Wait};
use crate::status;

pub(crate) use memory::{Copies, Tally};
pub(crate) use set::set_of;

/// How often a request that waits looks again, whoever wakes it.
const LOOK_MS: u64 = 100;

/// The record of an extent; `None` if its file is gone.
///
/// # Errors
/// The store's, DELAY if this node cannot read now.
pub(crate) fn lookup(server: &Server, extent: ExtentId) -> Result<Option<ExtentRecord>, Nfsstat4> {
    op::extent::extent(server.view()?.namespace(), extent).map_err(|e| status::of_namespace(&e))
}

/// The record of an extent, once its home can be used; as it is, if nobody can take the place of a
/// home that cannot, or it takes too long.
///
/// # Errors
/// The store's.
pub(crate) async fn served(server: &Server, extent: ExtentId) -> Result<Option<ExtentRecord>, Nfsstat4> {
    let wait = Wait::new("a home that can be used").of(extent);
    slow::waited(&*server.env.clock, wait, served_in_time(server, extent)).await
}

async fn served_in_time(server: &Server, extent: ExtentId) -> Result<Option<ExtentRecord>, Nfsstat4> {
    let deadline_ms = server.now_ms() + FAILOVER_WAIT_MS_MAX;
    loop {
        let changed = server.copies.changed.notified();
        tokio::pin!(changed);
        // Registered before looking, so that no change is missed.
        changed.as_mut().enable();
        let Some(record) = lookup(server, extent)? else { return Ok(None) };
        let now_ms = server.now_ms();
        let servers = &server.data_servers;
        let usable = servers.is_up(record.home, now_ms) && !servers.is_broken(record.home);
        let up = |id: DataServerId| id != record.home && servers.is_up(id, now_ms);
        // One of which nothing was promised is given to any server once its own are surely dead.
        let heir = record.backups.iter().any(|one| !one.filling && up(one.server))
            || server.view().is_ok_and(|view| formers::formers(&view, &record).iter().any(up))
            || (record.unpromised && servers.all().iter().any(|(id, _)| up(*id)));
        let waits = if usable { record.pending_work.is_some() } else { heir };
        if !waits || deadline_ms <= now_ms {
            return Ok(Some(record));
        }
        tokio::select! {
            () = changed => {}
            () = server.env.clock.sleep_ms(LOOK_MS) => {}
        }
    }
}

/// Whether layouts of the extent are being recalled because it gets another home.
pub(crate) fn is_moving(server: &Server, extent: ExtentId) -> bool {
    server.copies.moving.lock().contains(&extent)
}

/// Returns when layouts of the extent may be given out again, or it takes too long.
pub(crate) async fn still(server: &Server, extent: ExtentId) {
    let deadline_ms = server.now_ms() + FAILOVER_WAIT_MS_MAX;
    loop {
        let changed = server.copies.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if !is_moving(server, extent) || deadline_ms <= server.now_ms() {
            return;
        }
        tokio::select! {
            () = changed => {}
            () = server.env.clock.sleep_ms(LOOK_MS) => {}
        }
    }
}

/// Returns when the extent has another home than in `record`.
pub(crate) async fn moved(server: &Server, record: &ExtentRecord) {
    loop {
        let changed = server.copies.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Ok(Some(now)) = lookup(server, record.extent)
            && now.home != record.home
        {
            return;
        }
        changed.await;
    }
}

/// A home says how a backup is, or asks who keeps its extent; a backup asks who is home. Answers
/// the copies in force.
///
/// A home that has not shown yet what it has is told nothing: it would tell its backups what it
/// lacks.
///
/// # Errors
/// `NotHome` if the asker is not; `Busy` if nothing can be changed now.
pub(crate) async fn hear(server: &Server, ask: &AskCopies) -> Result<CopySet, Refusal> {
    let extent = ExtentId { ino: ask.extent.ino, index: ask.extent.index };
    let record = lookup(server, extent).map_err(|_| Refusal::Busy)?.ok_or(Refusal::NotHome)?;
    let is_backup = record.backups.iter().any(|backup| backup.server.0 == ask.server);
    if record.home.0 != ask.server && !(ask.word == Word::Who && is_backup) {
        return Err(Refusal::NotHome);
    }
    let proving =
        formers::formers_of(&server.view().map_err(|_| Refusal::Busy)?, std::slice::from_ref(&record))
            .ok_or(Refusal::Busy)?;
    if record.home.0 == ask.server && !proving.is_empty() {
        return Err(Refusal::Busy);
    }
    let change = match ask.word {
        Word::Ask | Word::Who => None,
        Word::Seal if record.pending_work.is_some() => return Err(Refusal::Busy),
        Word::Seal if record.backups.iter().any(|backup| backup.filling) => return Err(Refusal::Busy),
        Word::Seal => None,
        Word::Lost => lost(server, &record, ask),
        Word::Filled => filled(&record, ask),
    };
    let Some(change) = change else { return Ok(set_of(&record)) };
    let changes = vec![change];
    match server.propose(Command::ChangeCopies(ChangeCopies { changes })).await {
        Ok(Outcome::Copies(mut records)) => match records.pop().flatten() {
            Some(record) if record.home.0 == ask.server => {
                server.work.wake();
                Ok(set_of(&record))
            }
            Some(_) | None => Err(Refusal::NotHome),
        },
        Ok(_) | Err(_) => Err(Refusal::Busy),
    }
}

fn lost(server: &Server, record: &ExtentRecord, ask: &AskCopies) -> Option<CopyChange> {
    // What was said of an earlier stay as a backup is no news.
    let fits =
        |one: &&layout::Backup| one.server.0 == ask.backup && (ask.since == 0 || one.since.0 == ask.since);
    let lost = record.backups.iter().find(fits)?.server;
    let now_ms = server.now_ms();
    server.data_servers.suspect(lost, now_ms);
    tracing::warn!(extent = %record.extent, home = ask.server, backup = lost.0, "a home has lost a backup");
    let copies = usize::try_from(server.config.hot_copies).unwrap_or(1);
    let wish = Wish { copies, lost: Some(lost), ..Wish::NONE };
    let places = server.data_servers.places(now_ms);
    let copies = plan(&record.copies(), &places, &wish, record.extent.ino ^ record.epoch.0)?;
    Some(CopyChange { extent: record.extent, epoch: record.epoch, copies })
}

fn filled(record: &ExtentRecord, ask: &AskCopies) -> Option<CopyChange> {
    let full = |one: &layout::Backup| one.server.0 == ask.backup && one.since.0 == ask.since && one.filling;
    if !record.backups.iter().any(full) {
        return None;
    }
    let mut copies = record.copies();
    let named = copies.backups.iter_mut().filter(|(server, _)| server.0 == ask.backup);
    named.for_each(|(_, filling)| *filling = false);
    Some(CopyChange { extent: record.extent, epoch: record.epoch, copies })
}
