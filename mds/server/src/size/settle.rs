//! Settles sizes: with the last LAYOUTRETURN for writing, or, if a primary did not answer then or a
//! client was ended, as soon as possible.
//!
//! Spec: docs/protocol/sizes.md §4.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use mds_namespace::op::settle::Settlement;
use mds_namespace::{Ino, unsettled};
use mds_state::Command;
use wire_nfs::v4::Nfsstat4;

use super::measure;
pub(crate) use super::settling::Settling;
use crate::limits::{SETTLE_CALLS_MAX, SETTLE_FILES_MAX};
use crate::server::Server;
use crate::status;

/// Interval of the rounds without a notification.
const ROUND_MS: u64 = 5_000;
/// Pause before a round after a notification: primaries have to be fenced first.
const PAUSE_MS: u64 = 100;

/// The settlement for a return of this client's layout for writing; `None` if another client may
/// write, the size is settled, or a primary does not answer.
pub(crate) async fn before_return(server: &Server, ino: Ino, client: u64) -> Option<Settlement> {
    let layouts = server.view().ok()?.layouts_of(ino).ok()?;
    let mut written_by = layouts.iter().filter(|(_, layout)| layout.read_write).map(|(client, _)| *client);
    if !written_by.all(|one| one == client) {
        return None;
    }
    let measured = measure::measure(server, ino).await.ok()??;
    measured.settlement(server.env.clock.wall_ns())
}

/// Settles the size of a file that no client may write any more.
///
/// # Errors
/// DELAY if that is impossible now.
async fn settle(server: &Server, ino: Ino) -> Result<(), Nfsstat4> {
    let Some(measured) = measure::measure(server, ino).await? else { return Ok(()) };
    let settlement = measured.settlement(server.env.clock.wall_ns()).ok_or(Nfsstat4::Delay)?;
    server.propose(Command::SettleSize(settlement)).await.map(drop)
}

/// Runs rounds for as long as the server lives.
pub(crate) async fn drive_settling(server: Arc<Server>) {
    let mut after = 0;
    loop {
        tokio::select! {
            () = server.settling.call.notified() => server.env.clock.sleep_ms(PAUSE_MS).await,
            () = server.env.clock.sleep_ms(ROUND_MS) => {}
        }
        if server.shards.is_leader() {
            after = round(&server, after).await.unwrap_or(0);
        }
    }
}

/// Settles some unsettled files after `after`; returns the start of the next round.
async fn round(server: &Server, after: Ino) -> Result<Ino, Nfsstat4> {
    let (unwritten, all) = {
        let view = server.view()?;
        let all = unsettled::all_after(view.namespace(), after, SETTLE_FILES_MAX);
        let all = all.map_err(|e| status::of_namespace(&e))?;
        let is_written = |ino: &Ino| match view.layouts_of(*ino) {
            Ok(layouts) => layouts.iter().any(|(_, layout)| layout.read_write),
            Err(_) => true,
        };
        (all.iter().copied().filter(|ino| !is_written(ino)).collect::<Vec<_>>(), all)
    };
    let settled = |ino| async move {
        if let Err(status) = settle(server, ino).await {
            tracing::debug!(ino, status = status.name(), "size not settled yet");
        }
    };
    stream::iter(unwritten).for_each_concurrent(SETTLE_CALLS_MAX, settled).await;
    Ok(if all.len() == SETTLE_FILES_MAX { all.last().copied().unwrap_or(0) } else { 0 })
}
