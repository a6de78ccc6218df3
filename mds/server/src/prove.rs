//! New homes show what they have, and former ones keep theirs until then.
//!
//! The log says who is to show something (`mds_namespace::op::prove`); here they are asked, and
//! what they cannot show is noted for `repair`, which gives the extent to another server then.
//!
//! INVARIANT: a new home is asked behind the entry that made it home, at the epoch of that entry:
//! what it answers is of the store that is to serve.
//! Spec: docs/protocol/replicate.md §4.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::control::ControlError;
use futures_util::{StreamExt, stream};
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::{ExtentRecord, WorkItem, op};
use mds_state::Command;
use mds_state::command::data::WorkDone;
use wire_nfs::control::Refusal;

use crate::limits::{REFUTED_MAX, SETTLE_CALLS_MAX};
use crate::server::Server;

/// Has a new home show what it has of an extent.
///
/// # Errors
/// If it did not; that it cannot is noted.
pub(crate) async fn ask_home(
    server: &Server,
    home: DataServerId,
    extent: ExtentId,
    epoch: Epoch,
) -> Result<(), ControlError> {
    let known = server.data_servers.one(home).ok_or(ControlError::Unknown)?;
    let asked = known.control.prove(extent, epoch).await;
    if asked == Err(ControlError::Refused(Refusal::Io)) {
        tracing::warn!(%extent, home = home.0, "a new home does not have what it is to serve");
        let mut refuted = server.copies.refuted.lock();
        if refuted.len() < REFUTED_MAX {
            refuted.insert((extent, epoch));
        }
        drop(refuted);
        server.copies.look.notify_one();
    }
    asked
}

/// Has one new home show what it has of many extents, each the subject of a Prove; answers the
/// numbers of the items that are done. One that cannot be reached is not asked for each.
pub(crate) async fn ask_all(server: &Server, items: Vec<(u64, WorkItem)>) -> Vec<u64> {
    let one = |(number, item): (u64, WorkItem)| async move {
        let asked = match &item {
            WorkItem::Prove { extent, home, epoch, .. } => ask_home(server, *home, *extent, *epoch).await,
            _ => Err(ControlError::Unknown),
        };
        if let Err(error) = &asked {
            tracing::info!(extent = %item.extent(), home = item.home().0, %error, "a new home has not shown yet what it has");
        }
        (number, asked)
    };
    let mut items = items.into_iter();
    let Some(first) = items.next() else { return Vec::new() };
    let mut all = vec![one(first).await];
    if matches!(all[0].1, Ok(()) | Err(ControlError::Refused(_))) {
        let others: Vec<_> = stream::iter(items.map(one)).buffer_unordered(SETTLE_CALLS_MAX).collect().await;
        all.extend(others);
    }
    all.into_iter().filter(|(_, asked)| asked.is_ok()).map(|(number, _)| number).collect()
}

/// Has the homes of these extents show what they have, those that are to, beside everything else:
/// clients wait for that.
pub(crate) fn begin_proofs(server: &Arc<Server>, records: &[ExtentRecord]) {
    let mut by_home: BTreeMap<DataServerId, Vec<(u64, WorkItem)>> = BTreeMap::new();
    {
        let Ok(view) = server.view() else { return };
        for number in records.iter().filter_map(|record| record.pending_work) {
            if let Ok(Some(item @ WorkItem::Prove { home, .. })) = op::extent::item(view.namespace(), number)
            {
                by_home.entry(home).or_default().push((number, item));
            }
        }
    }
    for items in by_home.into_values() {
        let server = Arc::clone(server);
        tokio::spawn(async move {
            let items = ask_all(&server, items).await;
            if items.is_empty() || server.propose(Command::WorkDone(WorkDone { items })).await.is_err() {
                return;
            }
            server.copies.changed.notify_waiters();
            // Former servers are to forget what they kept.
            server.work.wake();
        });
    }
}
