//! How far the journals of data servers went: remembered in the log, so that a store that lacks
//! something acknowledged is found.
//!
//! A data server reports how far its journal is on stable storage with each heartbeat, and how far
//! it found it with REGISTER. What is remembered only grows. A store that registers behind that was
//! put back from an older copy, or lost files: it gets no lease.
//!
//! The log has what was found before the lease is given. Afterwards it follows within [`MARK_MS`];
//! what a heartbeat has reported since, this leader knows, and has the log remember when the store
//! registers again. So of two starts of one store the second is found if it lacks anything that the
//! first one found, or reported before it ended.
//!
//! INVARIANT: a mark is at no time above what was on stable storage: a crash takes nobody behind
//! it.
//! Spec: docs/protocol/control.md §2.

use std::sync::Arc;

use layout::DataServerId;
use mds_state::command::data::{MarkStore, MarkStores};
use mds_state::record::StoreMark;
use mds_state::{Command, Outcome};
use wire_nfs::control::Refusal;
use wire_nfs::control::heartbeat::JournalEnd;

use crate::data_servers::Behind;
use crate::limits::MARK_MS;
use crate::server::Server;

fn mark_of(end: JournalEnd) -> StoreMark {
    StoreMark { segment: end.segment, offset: end.offset }
}

/// Judges a store that registers, and remembers how far it goes; `None` if it lacks nothing.
///
/// # Errors
/// `Busy` if that cannot be told now.
pub(crate) async fn judge(
    server: &Server,
    uuid: [u8; 16],
    found: JournalEnd,
    is_loss_accepted: bool,
) -> Result<Option<Behind>, Refusal> {
    let logged = server.view().map_err(|_| Refusal::Busy)?.store_mark(&uuid).map_err(|_| Refusal::Busy)?;
    let reported = server.data_servers.durable_of(&uuid).map(mark_of);
    let before = logged.max(reported);
    if let Some(mark) = before.filter(|mark| logged < Some(*mark))
        && !is_loss_accepted
    {
        // From the first refusal on the log alone remembers it.
        propose(server, vec![MarkStore { uuid, mark, lowers: false }]).await?;
    }
    if let Some(mark) = before.filter(|mark| mark_of(found) < *mark)
        && !is_loss_accepted
    {
        let mark = JournalEnd { segment: mark.segment, offset: mark.offset };
        return Ok(Some(Behind { found, mark }));
    }
    // A store that never had a journal has no mark either.
    let is_known = logged == Some(mark_of(found)) || (before.is_none() && found == JournalEnd::default());
    if !is_known {
        propose(server, vec![MarkStore { uuid, mark: mark_of(found), lowers: is_loss_accepted }]).await?;
    }
    Ok(None)
}

async fn propose(server: &Server, marks: Vec<MarkStore>) -> Result<(), Refusal> {
    match server.propose(Command::MarkStores(MarkStores { marks })).await {
        Ok(Outcome::Done) => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::Busy),
    }
}

/// Has the log follow what data servers report, for as long as the server lives.
pub(crate) async fn drive(server: Arc<Server>) {
    loop {
        server.env.clock.sleep_ms(MARK_MS).await;
        // In another term the data servers here are those of an earlier one.
        if server.shards.leading_term() != Some(server.data_servers.term()) {
            continue;
        }
        let Some(marks) = moved(&server).filter(|marks| !marks.is_empty()) else { continue };
        if propose(&server, marks).await.is_err() {
            tracing::debug!("how far journals went is remembered later");
        }
    }
}

/// What is not remembered yet of data servers that hold leases.
fn moved(server: &Server) -> Option<Vec<MarkStore>> {
    let (view, now_ms) = (server.view().ok()?, server.now_ms());
    let is_up = |id: &DataServerId| server.data_servers.is_up(*id, now_ms);
    let mut marks = Vec::new();
    for (_, known) in server.data_servers.all().into_iter().filter(|(id, _)| is_up(id)) {
        let mark = mark_of(known.durable);
        if view.store_mark(&known.uuid).ok()? < Some(mark) && known.durable != JournalEnd::default() {
            marks.push(MarkStore { uuid: known.uuid, mark, lowers: false });
        }
    }
    Some(marks)
}
