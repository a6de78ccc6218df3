//! Applies restricted exports to clients that hold layouts. It recalls their layouts, and then
//! fences the extents of the files that they reached through the exports. Data servers then refuse
//! every older handle, whether its layout was returned or not.
//!
//! The entry that sets the exports notes in the log what to fence (`mds_state`,
//! `apply/fencing.rs`). The leader carries it out part by part. A new leader begins at the first
//! file that is still noted: files that are fenced completely are noted no longer.
//!
//! Spec: docs/protocol/admin.md §8; RFC 8881 §12.5.5.

mod call;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use layout::{DataServerId, ExtentId};
use mds_namespace::{Ino, WorkItem, first_of_shard, op, shard_of};
use mds_state::command::admin::{ExportsFenced, FenceExports};
use mds_state::command::layout::LayoutRecall;
use mds_state::record::Fencing;
use mds_state::{Command, Outcome, Refusal, StateView};
use wire_nfs::v4::Nfsstat4;

use crate::limits::{
    EXPORTS_FENCE_LOOK_MS, EXPORTS_FENCED_MS_MAX, EXPORTS_LOOK_MS, EXPORTS_RECALL_FILES_MAX,
    EXPORTS_RECALL_MS_MAX, WORK_BATCH_MAX,
};
use crate::server::Server;
use crate::{status, work};
pub(crate) use call::ExportFence;

/// Progress of a restriction, at the end of the wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restricted {
    /// Every extent has its new epoch.
    is_fenced: bool,
    layouts: u64,
    extents: u64,
    /// Data servers that have not applied all fences yet, and whether they hold a lease.
    behind: BTreeMap<DataServerId, bool>,
}

impl Restricted {
    /// Describes the progress for an administrator.
    pub(crate) fn words(&self) -> String {
        if !self.is_fenced {
            return "layouts are still being recalled and fenced: until that is done, clients may use the \
                                handles that they have; repeat the command to see the outcome"
                .to_owned();
        }
        let Self { layouts, extents, behind, .. } = self;
        let mut words = format!("{layouts} layouts recalled, {extents} extents fenced");
        for (server, is_up) in behind {
            words += &if *is_up {
                format!("; data server {server} has not carried it out yet and may still accept old handles")
            } else {
                format!("; data server {server} is down and carries it out before it serves again")
            };
        }
        words
    }
}

impl Server {
    /// Waits, for a limited time, until no data server accepts handles that this version of the
    /// exports, or an earlier one, revoked. `None` if that version restricted nothing.
    pub(crate) async fn fenced_for(&self, version: u64) -> Option<Restricted> {
        let deadline_ms = self.now_ms() + EXPORTS_FENCED_MS_MAX;
        loop {
            let restricted = self.restricted(version);
            match &restricted {
                Ok(None) => return None,
                Ok(Some(found)) if found.is_fenced && found.behind.values().all(|is_up| !is_up) => {
                    return restricted.ok().flatten();
                }
                Ok(Some(_)) | Err(_) if deadline_ms <= self.now_ms() => {
                    return Some(restricted.ok().flatten().unwrap_or_default());
                }
                Ok(Some(_)) | Err(_) => self.env.clock.sleep_ms(EXPORTS_FENCE_LOOK_MS).await,
            }
        }
    }

    fn restricted(&self, version: u64) -> Result<Option<Restricted>, Nfsstat4> {
        let view = self.view()?;
        let fencing = fencing(&view)?;
        if fencing.version < version && !fencing.is_pending() {
            return Ok(None);
        }
        let Fencing { layouts, extents, .. } = fencing;
        if fencing.is_pending() {
            return Ok(Some(Restricted { layouts, extents, ..Restricted::default() }));
        }
        let (mut behind, now_ms) = (BTreeMap::new(), self.now_ms());
        for item in fences(&view, usize::MAX)?.into_iter().map(|(_, item)| item) {
            let is_up = self.data_servers.is_up(item.home(), now_ms);
            behind.insert(item.home(), is_up);
        }
        Ok(Some(Restricted { is_fenced: true, layouts, extents, behind }))
    }
}

/// Recalls and fences whenever something is noted, for as long as the server lives.
pub(crate) async fn drive_fences(server: Arc<Server>) {
    loop {
        if server.shards.is_leader()
            && let Err(status) = carry_out(&server).await
        {
            tracing::debug!(status = status.name(), "fencing of restricted exports is retried later");
        }
        tokio::select! {
            () = server.fencing.call.notified() => {}
            () = server.env.clock.sleep_ms(EXPORTS_LOOK_MS) => {}
        }
    }
}

/// Recalls and fences what is noted, if anything is.
async fn carry_out(server: &Arc<Server>) -> Result<(), Nfsstat4> {
    if !fencing(&server.view()?)?.is_pending() {
        return Ok(());
    }
    server.shards.read_barrier().await.map_err(|error| status::of_propose(&error))?;
    let view = server.view()?;
    let (wanted, shards) = (fencing(&view)?, view.shards().map_err(|e| status::of_refusal(&e))?);
    drop(view);
    if !wanted.is_pending() {
        return Ok(());
    }
    let is_through = |view: &StateView, ino| is_wanted(view, &wanted, ino);
    let layouts = recall(server, EXPORTS_RECALL_MS_MAX, is_through).await?;
    let mut extents = 0;
    for shard in 0..u16::try_from(shards.unwrap_or(1)).unwrap_or(u16::MAX) {
        extents += fence_shard(server, &wanted, shard).await?;
    }
    let Fencing { version, .. } = wanted;
    server.propose(Command::ExportsFenced(ExportsFenced { version, layouts, extents })).await?;
    tracing::info!(version, layouts, extents, "exports were restricted: layouts recalled, extents fenced");
    Ok(())
}

/// Recalls all layouts of the files concerned, and waits a limited time for their return. Returns
/// the number of layouts.
///
/// The recall goes to all holders of a file, also to those that the export still admits: the fence
/// ends their handles too, and a client that got a recall before it has written its data.
pub(crate) async fn recall(
    server: &Arc<Server>,
    ms_max: u64,
    is_wanted: impl Fn(&StateView, Ino) -> Result<bool, Nfsstat4>,
) -> Result<u64, Nfsstat4> {
    let deadline_ms = server.now_ms() + ms_max.min(server.config.recall_ms);
    let (mut layouts, mut from) = (0, 0);
    loop {
        let view = server.view()?;
        let page = view.files_with_layouts(from, EXPORTS_RECALL_FILES_MAX);
        let page = page.map_err(|e| status::of_refusal(&e))?;
        let mut files = BTreeSet::new();
        for ino in &page {
            if is_wanted(&view, *ino)? {
                files.insert(*ino);
            }
        }
        drop(view);
        for ino in &files {
            let recalled = server.recall(LayoutRecall { ino: *ino, iomode: None, except_client: None }).await;
            layouts += u64::try_from(recalled).unwrap_or(u64::MAX);
        }
        while server.now_ms() < deadline_ms && any_recalled(server, &files) {
            server.env.clock.sleep_ms(EXPORTS_FENCE_LOOK_MS).await;
        }
        match page.last() {
            Some(last) if page.len() == EXPORTS_RECALL_FILES_MAX => from = last.saturating_add(1),
            _ => return Ok(layouts),
        }
    }
}

fn is_wanted(view: &StateView, wanted: &Fencing, ino: Ino) -> Result<bool, Nfsstat4> {
    let handed = view.handed(ino).map_err(|e| status::of_refusal(&e))?;
    Ok(wanted.all || handed.is_some_and(|handed| handed.is_through(&wanted.exports)))
}

/// Whether a layout of one of these files is recalled and not returned yet.
fn any_recalled(server: &Server, files: &BTreeSet<Ino>) -> bool {
    let Ok(view) = server.view() else { return true };
    files.iter().any(|ino| match view.layouts_of(*ino) {
        Ok(layouts) => layouts.iter().any(|(_, layout)| layout.recall_seqid.is_some()),
        Err(_) => true,
    })
}

/// Fences the noted extents of one shard. Data servers apply the fences part by part, so that no
/// more wait than they can handle. Returns the number of extents.
async fn fence_shard(server: &Server, wanted: &Fencing, shard: u16) -> Result<u64, Nfsstat4> {
    let first = first_of_shard(shard);
    let (mut next, mut extents) = (Some(ExtentId { ino: first, index: 0 }), 0);
    while let Some(from) = next.filter(|from| shard_of(from.ino) == shard) {
        let Fencing { all, exports, .. } = wanted.clone();
        let command = Command::FenceExports(FenceExports { all, exports, from });
        let Outcome::Fenced(step) = server.propose(command).await? else {
            return Err(Nfsstat4::Serverfault);
        };
        (next, extents) = (step.next, extents + u64::from(step.extents));
        apply_fences(server).await?;
    }
    Ok(extents)
}

/// Has data servers that are up apply a batch of the fences pending for them.
async fn apply_fences(server: &Server) -> Result<(), Nfsstat4> {
    let (mut items, now_ms) = (fences(&server.view()?, WORK_BATCH_MAX)?, server.now_ms());
    items.retain(|(_, item)| server.data_servers.is_up(item.home(), now_ms));
    match work::settle(server, items).await {
        // The driver of work items retries; the reply to a waiting administrator names the data
        // server.
        Ok(()) | Err(Nfsstat4::Delay) => Ok(()),
        Err(status) => Err(status),
    }
}

/// Work items that invalidate handles, the oldest first, at most `limit`.
fn fences(view: &StateView, limit: usize) -> Result<Vec<(u64, WorkItem)>, Nfsstat4> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = op::work::pending(view.namespace(), after, WORK_BATCH_MAX);
        let page = page.map_err(|e| status::of_refusal(&Refusal::from(e)))?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = *last;
        let ends_handles = |item: &WorkItem| !matches!(item, WorkItem::Cut { fences: false, .. });
        found.extend(page.into_iter().filter(|(_, item)| ends_handles(item)));
        if limit <= found.len() {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

fn fencing(view: &StateView) -> Result<Fencing, Nfsstat4> {
    view.fencing().map_err(|e| status::of_refusal(&e))
}
