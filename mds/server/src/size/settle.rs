//! Settles sizes: with the last LAYOUTRETURN for writing, or, if a primary was silent then or a client was ended, as soon as it can
//! be done.
//!
//! Spec: docs/protocol/sizes.md §4.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use mds_namespace::op::settle::Settlement;
use mds_namespace::{Ino, unsettled};
use mds_shard::Command;
use wire_nfs::v4::Nfsstat4;

use super::measure;
pub(crate) use super::settling::Settling;
use crate::limits::{SETTLE_CALLS_MAX, SETTLE_FILES_MAX};
use crate::server::Server;
use crate::status;

/// Between two rounds when nothing calls for one.
const ROUND_MS: u64 = 5_000;
/// Before a round that something called for: primaries have to be fenced first.
const PAUSE_MS: u64 = 100;

/// What to settle if this client's layout for writing goes now; `None` if another client may write, the size is settled, or a
/// primary does not answer.
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
/// DELAY if that cannot be done now.
async fn settle(server: &Server, ino: Ino) -> Result<(), Nfsstat4> {
    let Some(measured) = measure::measure(server, ino).await? else { return Ok(()) };
    let settlement = measured.settlement(server.env.clock.wall_ns()).ok_or(Nfsstat4::Delay)?;
    server.propose(Command::SettleSize(settlement)).await.map(drop)
}

/// Runs rounds for as long as the server lives.
pub(crate) async fn drive(server: Arc<Server>) {
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

/// Settles what can be settled of some unsettled files from one on; answers where to go on.
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
