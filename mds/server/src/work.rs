//! Carries out work items: what data servers must still cut, drop, fence or take up. Items live in
//! the replicated store until the data server has answered, so a crash only delays them.
//!
//! Spec: docs/protocol/control.md §3; docs/protocol/seal.md §9.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::control::ControlError;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::{ExtentRecord, FsError, WorkItem, op};
use mds_state::Command;
use mds_state::command::data::WorkDone;
use wire_nfs::v4::Nfsstat4;

use crate::limits::{SETTLE_CALLS_MAX, SETTLE_PART_MAX, WORK_BATCH_MAX};
use crate::server::Server;
use crate::slow::{self, Wait};
use crate::{adopt, copies, prove, status};

pub(crate) use crate::work_table::Work;

/// Between two rounds when nobody calls.
const ROUND_MS: u64 = 1000;

/// Does what waits for one data server now.
pub(crate) async fn run_for(server: &Server, home: DataServerId) {
    round(server, |item| item.home() == home).await;
}

/// Carries out these items now, side by side, whether their data servers hold a lease or not. A
/// data server that was away may have missed hundreds of thousands: what is done of them is struck
/// off in parts.
///
/// # Errors
/// DELAY if a data server that holds a lease could not be told.
pub(crate) async fn settle(server: &Server, items: Vec<(u64, WorkItem)>) -> Result<(), Nfsstat4> {
    let mut refused = false;
    for part in items.chunks(SETTLE_PART_MAX) {
        refused |= settle_part(server, part.to_vec()).await?;
    }
    if refused { Err(Nfsstat4::Delay) } else { Ok(()) }
}

/// As many items as one command strikes off. True if a data server that holds a lease could not be
/// told of one.
async fn settle_part(server: &Server, items: Vec<(u64, WorkItem)>) -> Result<bool, Nfsstat4> {
    let calls = items.into_iter().map(|(number, item)| async move {
        let wait = Wait::new("a cut or fence").of(item.extent()).at(item.home());
        let done = slow::waited(&*server.env.clock, wait, carry_out(server, &item)).await;
        if let Err(error) = &done {
            tracing::warn!(server = item.home().0, %error, "work item not done");
        }
        (number, item.home(), done.is_ok())
    });
    let outcomes: Vec<_> = stream::iter(calls).buffer_unordered(SETTLE_CALLS_MAX).collect().await;
    let now_ms = server.now_ms();
    // Just after a start, or when another node led before, a data server may still hold a lease
    // that was given then.
    let young = now_ms < server.data_servers.since_ms() + server.data_servers.lease_ms();
    let untold = |(_, home, done): &&(u64, DataServerId, bool)| {
        !done && (young || server.data_servers.is_up(*home, now_ms))
    };
    let refused = outcomes.iter().any(|outcome| untold(&outcome));
    let items: Vec<u64> = outcomes.iter().filter(|(_, _, done)| *done).map(|(number, ..)| *number).collect();
    if !items.is_empty() {
        server.propose(Command::WorkDone(WorkDone { items })).await?;
        // What is done may leave more to do: a cut that was also a fence.
        server.work.wake();
    }
    Ok(refused)
}

/// Everything that one data server must still do, but for showing what it is to serve, which no
/// lease waits for. It must be done before the server is given a lease: clients may hold handles
/// that a cut left good.
///
/// # Errors
/// DELAY if it could not be told, or is being told.
pub(crate) async fn settle_all_of(server: &Server, home: DataServerId) -> Result<(), Nfsstat4> {
    // It asks again every two seconds, however long it takes: to begin anew each time would only
    // make that longer.
    let Some(_settling) = server.work.settle_alone(home) else { return Err(Nfsstat4::Delay) };
    let view = server.view()?;
    let items = view.work(usize::MAX).map_err(|e| status::of_refusal(&e))?;
    drop(view);
    let is_due = |item: &WorkItem| item.home() == home && !matches!(item, WorkItem::Prove { .. });
    let items: Vec<_> = items.into_iter().filter(|(_, item)| is_due(item)).collect();
    let count = items.len();
    if count == 0 {
        return Ok(());
    }
    settle(server, items).await?;
    let left = server.view()?.work(usize::MAX).map_err(|e| status::of_refusal(&e))?;
    if left.iter().any(|(_, item)| is_due(item)) { Err(Nfsstat4::Delay) } else { Ok(()) }
}

/// Runs rounds for as long as the server lives.
pub(crate) async fn drive(server: Arc<Server>) {
    loop {
        let more = server.shards.is_leader() && round(&server, |_| true).await;
        if !more {
            tokio::select! {
                () = server.work.call.notified() => {}
                () = server.env.clock.sleep_ms(ROUND_MS) => {}
            }
        }
    }
}

/// One batch. True if there is more that can be done at once.
async fn round(server: &Server, wanted: impl Fn(&WorkItem) -> bool) -> bool {
    let items = match possible(server, wanted) {
        Ok(items) => items,
        Err(error) => {
            tracing::error!(%error, "work items cannot be read");
            return false;
        }
    };
    let full = items.len() == WORK_BATCH_MAX;
    let mut by_home: BTreeMap<DataServerId, Vec<(u64, WorkItem)>> = BTreeMap::new();
    for (number, item) in items {
        by_home.entry(item.home()).or_default().push((number, item));
    }
    let mut done = Vec::new();
    for (home, items) in by_home {
        let is_prove = |(_, item): &(u64, WorkItem)| matches!(item, WorkItem::Prove { .. });
        let (proves, items): (Vec<_>, Vec<_>) = items.into_iter().partition(is_prove);
        done.extend(prove::ask_all(server, proves).await);
        for (number, item) in items {
            match carry_out(server, &item).await {
                Ok(()) => done.push(number),
                Err(error) => {
                    tracing::warn!(server = home.0, %error, "work item not done");
                    break;
                }
            }
        }
    }
    if done.is_empty() {
        return false;
    }
    let finished = server.propose(Command::WorkDone(WorkDone { items: done })).await.is_ok();
    full && finished
}

/// The oldest items that are wanted and whose data servers are up, at most a batch. Those of
/// servers that are away may be many, and must not be in the way.
fn possible(server: &Server, wanted: impl Fn(&WorkItem) -> bool) -> Result<Vec<(u64, WorkItem)>, FsError> {
    let view = server.view().map_err(|_| FsError::Store("no view".to_owned()))?;
    let now_ms = server.now_ms();
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = op::work::pending(view.namespace(), after, WORK_BATCH_MAX)?;
        let whole = page.len() < WORK_BATCH_MAX;
        after = page.last().map_or(after, |(number, _)| *number);
        let is_possible = |item: &WorkItem| wanted(item) && server.data_servers.is_up(item.home(), now_ms);
        let room = WORK_BATCH_MAX - found.len();
        found.extend(page.into_iter().filter(|(_, item)| is_possible(item)).take(room));
        if whole || found.len() == WORK_BATCH_MAX {
            return Ok(found);
        }
    }
}

/// Has a data server do what an item says.
///
/// # Errors
/// If it did not.
pub(crate) async fn carry_out(server: &Server, item: &WorkItem) -> Result<(), ControlError> {
    let Some(known) = server.data_servers.one(item.home()) else { return Err(ControlError::Unknown) };
    match item {
        WorkItem::Cut { extent, epoch, keep_bytes, .. } => {
            // Without the set the home would tell those only that it remembers.
            let set = record(server, *extent)?.map(|record| copies::set_of(&record));
            known.control.cut(*extent, *epoch, *keep_bytes, set).await
        }
        WorkItem::Drop { extent, epoch, .. } => {
            // Whoever keeps the extent now refuses what a home of before may say once it has
            // forgotten it. One that is away is told when it is home and shown a handle.
            let home = record(server, *extent)?.map(|record| record.home);
            if home.is_some_and(|home| server.data_servers.is_up(home, server.now_ms())) {
                fence_set(server, *extent, *epoch).await?;
            }
            known.control.drop_extent(*extent, *epoch).await
        }
        WorkItem::Yield { extent, epoch, .. } => {
            fence_set(server, *extent, *epoch).await?;
            // Until the new home has shown what it has, this one has the only bytes that surely are
            // there.
            let home = record(server, *extent)?.map(|record| record.home);
            prove::ask_home(server, home.ok_or(ControlError::Unknown)?, *extent, *epoch).await?;
            known.control.drop_extent(*extent, *epoch).await
        }
        WorkItem::Prove { extent, home, epoch, .. } => prove::ask_home(server, *home, *extent, *epoch).await,
        WorkItem::Fence { extent, epoch, .. } => known.control.fence(*extent, *epoch).await,
        WorkItem::Adopt { extent, epoch, keep_bytes, .. } => {
            // Who knows nothing of the image now will be asked to drop the extent soon.
            let (image, sequence) = adopt::image(server, *extent).ok_or(ControlError::Unknown)?;
            known.control.adopt(*extent, *epoch, sequence, *keep_bytes, &image).await
        }
    }
}

/// The record of an extent; `None` if its file is gone.
///
/// # Errors
/// If the store cannot be read: that is no reason to take the file for gone.
fn record(server: &Server, extent: ExtentId) -> Result<Option<ExtentRecord>, ControlError> {
    copies::lookup(server, extent).map_err(|_| ControlError::Unknown)
}

/// Has each server of the set that is up refuse calls of the home before: what that one forgets
/// from now on must not reach the servers that keep the extent.
///
/// # Errors
/// If one of them cannot be told, or the new home is not up; as [`record`].
async fn fence_set(server: &Server, extent: ExtentId, epoch: Epoch) -> Result<(), ControlError> {
    let Some(record) = record(server, extent)? else { return Ok(()) };
    let now_ms = server.now_ms();
    let up = |id: &DataServerId| server.data_servers.is_up(*id, now_ms);
    if !up(&record.home) {
        return Err(ControlError::Unknown);
    }
    let known = record.servers().filter(up).filter_map(|id| server.data_servers.one(id));
    let fences = known.map(|known| async move { known.control.fence(extent, epoch).await });
    join_all(fences).await.into_iter().collect()
}
