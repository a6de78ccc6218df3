//! Moving extents away from data servers that are to be empty: what is next for each; and homes
//! that hand over while clients run, for whatever reason.
//!
//! `layout::copies::leave` decides, `repair` walks over the extents and asks here. Others are
//! filled as any backup is; a home hands over by one command, and no handle of the next one is
//! given out before it has yielded, which the log sees to.
//!
//! Spec: docs/protocol/admin.md §3, §4.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use layout::copies::{Copies as Set, Place, leave};
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::{CopyChange, item};
use mds_namespace::{ExtentRecord, View, WorkItem};
use mds_state::command::admin::{HandOver, WaitNoLonger};
use mds_state::limits::COPY_CHANGES_MAX;
use mds_state::{Command, Outcome};

use crate::limits::{DRAIN_FILLS_MAX, HAND_OVER_RECALL_MS_MAX, HAND_OVERS_MAX};
use crate::server::Server;
use crate::{prove, work};

/// How often it is looked whether layouts have come back.
const LOOK_MS: u64 = 20;

/// What one walk over the extents does for servers that are to be empty.
#[derive(Default)]
pub(crate) struct Draining {
    leaving: Vec<DataServerId>,
    /// Extents that may still have a backup filled for it.
    fills: usize,
    /// Homes that may hand over.
    pub(crate) hands: Vec<CopyChange>,
}

impl Draining {
    /// Begins a walk.
    pub(crate) fn begin(server: &Server) -> Self {
        let filling = usize::try_from(server.copies.tally.lock().filling).unwrap_or(usize::MAX);
        let fills = DRAIN_FILLS_MAX.saturating_sub(filling);
        Self { leaving: server.data_servers.draining(), fills, hands: Vec::new() }
    }

    /// What the copies of an extent should be next, if its home does not change. That it should is
    /// noted.
    pub(crate) fn next(
        &mut self,
        record: &ExtentRecord,
        places: &[Place],
        copies: usize,
        turn: u64,
    ) -> Option<Set> {
        let now = record.copies();
        let next = leave(&now, places, &self.leaving, copies, turn)?;
        let fills = next.backups.iter().any(|(server, _)| !now.servers().contains(server));
        if fills && self.fills == 0 {
            return None;
        }
        if next.home == now.home {
            self.fills -= usize::from(fills);
            return Some(next);
        }
        if record.pending_work.is_none() && self.hands.len() < HAND_OVERS_MAX {
            self.fills -= usize::from(fills);
            self.hands.push(CopyChange { extent: record.extent, epoch: record.epoch, copies: next });
        }
        None
    }
}

/// Whether a home is to yield an extent that another is to serve. Nobody is told that it is home
/// meanwhile.
pub(crate) fn is_yielding(view: &dyn View, record: &ExtentRecord) -> bool {
    yielding(view, record).is_some()
}

/// Who is to yield an extent, and the number of that work.
fn yielding(view: &dyn View, record: &ExtentRecord) -> Option<(u64, DataServerId)> {
    let number = record.pending_work?;
    match item(view, number) {
        Ok(Some(WorkItem::Yield { home, .. })) => Some((number, home)),
        Ok(_) | Err(_) => None,
    }
}

/// Of these extents, those whose homes were to yield and are dead wait for that no longer. True if
/// there were any.
///
/// INVARIANT: `condemned` get no lease before they were told what they must do.
pub(crate) async fn wait_no_longer(
    server: &Server,
    condemned: &[DataServerId],
    records: &[ExtentRecord],
) -> bool {
    let items: Vec<u64> = {
        let Ok(view) = server.view() else { return false };
        let of_dead = |record| {
            let (number, home) = yielding(view.namespace(), record)?;
            condemned.contains(&home).then_some(number)
        };
        records.iter().filter_map(of_dead).collect()
    };
    for some in items.chunks(COPY_CHANGES_MAX) {
        // Who was dead in an earlier term may have got a lease of another node since.
        if server.shards.leading_term() != Some(server.data_servers.term()) {
            break;
        }
        let asked = WaitNoLonger { items: some.to_vec() };
        if server.propose(Command::WaitNoLonger(asked)).await.is_err() {
            break;
        }
        tracing::info!(extents = some.len(), "homes died before they had handed over");
        server.copies.changed.notify_waiters();
        server.work.wake();
    }
    !items.is_empty()
}

/// Has homes hand over, beside everything else, unless some are at it.
pub(crate) fn hand_over(server: &Arc<Server>, changes: Vec<CopyChange>) {
    if changes.is_empty() || server.copies.handing.swap(true, Ordering::AcqRel) {
        return;
    }
    let moving = Moving::begin(Arc::clone(server), &changes);
    tokio::spawn(async move { run(moving, changes).await });
}

/// No layouts are given out for these extents as long as this lives.
struct Moving {
    server: Arc<Server>,
    extents: Vec<ExtentId>,
}

impl Moving {
    fn begin(server: Arc<Server>, changes: &[CopyChange]) -> Self {
        let extents: Vec<ExtentId> = changes.iter().map(|change| change.extent).collect();
        server.copies.moving.lock().extend(extents.iter().copied());
        Self { server, extents }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        {
            let mut moving = self.server.copies.moving.lock();
            for extent in &self.extents {
                moving.remove(extent);
            }
        }
        self.server.copies.handing.store(false, Ordering::Release);
        self.server.copies.changed.notify_waiters();
        self.server.copies.look.notify_one();
    }
}

async fn run(moving: Moving, changes: Vec<CopyChange>) {
    let server = &moving.server;
    let files: BTreeSet<u64> = changes.iter().map(|change| change.extent.ino).collect();
    server.recall_files(files.clone()).await;
    given_back(server, &files).await;
    if server.shards.leading_term() != Some(server.data_servers.term()) {
        return;
    }
    let changes = provable(server, changes).await;
    let asked = HandOver { changes: changes.clone() };
    let Ok(Outcome::Copies(after)) = server.propose(Command::HandOver(asked)).await else { return };
    let changed: Vec<ExtentRecord> = changes
        .iter()
        .zip(after)
        .filter_map(|(change, after)| after.filter(|after| after.epoch == change.epoch.next()))
        .filter(|after| after.pending_work.is_some())
        .collect();
    tracing::info!(extents = changed.len(), "homes hand over");
    server.metrics.handed_over(changed.len());
    let items: Vec<(u64, WorkItem)> = {
        let Ok(view) = server.view() else { return };
        let one = |number| item(view.namespace(), number).ok().flatten().map(|item| (number, item));
        changed.iter().filter_map(|record| record.pending_work).filter_map(one).collect()
    };
    if let Err(status) = work::settle(server, items).await {
        tracing::info!(status = status.name(), "a home could not be told to hand over yet");
        server.work.wake();
    }
    // Whoever kept its layout through all that holds refused handles.
    server.recall_files(changed.iter().map(|record| record.extent.ino).collect()).await;
}

/// Those of which the next home has shown what it is to serve: the others stay where they are.
async fn provable(server: &Server, changes: Vec<CopyChange>) -> Vec<CopyChange> {
    let asked = changes.into_iter().map(|change| async move {
        let asked = prove::ask_home(server, change.copies.home, change.extent, change.epoch).await;
        asked.is_ok().then_some(change)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Returns when no layout of these files is out, or it takes too long.
async fn given_back(server: &Server, files: &BTreeSet<u64>) {
    let deadline_ms = server.now_ms() + HAND_OVER_RECALL_MS_MAX;
    let out = |ino: &u64| {
        let held = server.view().ok().and_then(|view| view.layouts_of(*ino).ok());
        held.is_none_or(|held| !held.is_empty())
    };
    while files.iter().any(out) && server.now_ms() < deadline_ms {
        server.env.clock.sleep_ms(LOOK_MS).await;
    }
}
