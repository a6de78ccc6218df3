//! Requests of administrators: forget a data server, drain one, inspect a file, readmit a metadata
//! server that lost its disk, set exports.
//!
//! INVARIANT: a data server under removal holds no lease, and gets none until the log has decided
//! the removal.
//! Spec: docs/protocol/admin.md.

mod exports;
mod readmit;
mod verify;

use layout::DataServerId;
use mds_namespace::FsError;
use mds_namespace::op::held::Held;
use mds_state::command::admin::{DrainDataServer, Removal, RemoveDataServer};
use mds_state::{Command, Outcome, Refusal as Refused};
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{
    DrainServer, HandleKeyRotation, Readmit, Readmitted, Rebalance, Rebalanced, RemoveServer,
    RotateHandleKey, Ruling, Verified, Verify,
};
use wire_nfs::control::exports::{ExportsRuling, SetExports};
use wire_nfs::control::report::{AskReport, Reported};

use crate::server::Server;
use crate::{balance, handle_keys, report};

/// Handles VERIFY: inspects a file.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn verify(server: &Server, ask: &Verify) -> Result<Verified, Refusal> {
    may_ask(server)?;
    verify::verify_file(server, ask).await
}

/// Handles the removal of a data server that is lost for good.
///
/// # Errors
/// `NotLeader`; `Busy` if the outcome is unknown.
pub(crate) async fn remove(server: &Server, ask: RemoveServer) -> Result<Ruling, Refusal> {
    may_ask(server)?;
    let (id, now_ms) = (DataServerId(ask.server), server.now_ms());
    if server.data_servers.one(id).is_none() {
        return Ok(no(format!("no data server {id} is known")));
    }
    if !server.data_servers.begin_removal(id, now_ms) {
        return Ok(no(if server.data_servers.is_up(id, now_ms) {
            format!("data server {id} runs and has a lease: stop it first, if it is gone for good")
        } else {
            format!("data server {id} may still have a lease: ask again in a few seconds")
        }));
    }
    let ruling = forget(server, id).await;
    match &ruling {
        Ok(ruling) if ruling.done => {
            tracing::warn!(server = id.0, "data server removed at an administrator's request");
            server.data_servers.forget(id);
            server.copies.look.notify_one();
        }
        Ok(_) => server.data_servers.end_removal(id),
        // The removal may yet be applied: until the next request, or a change of leader, the server
        // gets no lease.
        Err(_) => {}
    }
    ruling
}

async fn forget(server: &Server, id: DataServerId) -> Result<Ruling, Refusal> {
    loop {
        match server.shards.propose(None, Command::RemoveDataServer(RemoveDataServer { server: id })).await {
            Ok(Outcome::Removal(Removal::Again)) => {}
            Ok(Outcome::Removal(Removal::Holds(held))) => return Ok(no(holds(id, held))),
            // Another request removed it meanwhile.
            Ok(Outcome::Removal(Removal::Done) | Outcome::Refused(Refused::Namespace(FsError::NotFound))) => {
                let words = format!("data server {id} is forgotten; its number is not used again");
                return Ok(Ruling { done: true, words });
            }
            Ok(outcome) => return Ok(no(format!("not done: {outcome:?}"))),
            Err(error) => return Err(server.refusal_of(error)),
        }
    }
}

fn holds(id: DataServerId, held: Held) -> String {
    let Held { homes, backups, images } = held;
    format!(
        "data server {id} is home of {homes} extents and backup of {backups}, and has {images} images: if it will not come back, \
         what can be made again elsewhere is made so soon; else start it, drain it and wait until it is empty"
    )
}

/// Handles DRAIN: moves everything away from a data server, or stops that.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn drain(server: &Server, ask: DrainServer) -> Result<Ruling, Refusal> {
    may_ask(server)?;
    let (id, drain) = (DataServerId(ask.server), ask.drain);
    let command = Command::DrainDataServer(DrainDataServer { server: id, drain });
    let words = match server.shards.propose(None, command).await {
        Ok(Outcome::Done) if drain => {
            format!("what data server {id} has moves away; `shoal admin ds list` says how much is left")
        }
        Ok(Outcome::Done) => format!("data server {id} keeps what it has, and gets new data again"),
        Ok(Outcome::Refused(Refused::Namespace(FsError::NotFound))) => {
            return Ok(no(format!("no data server {id} is known")));
        }
        Ok(Outcome::Refused(Refused::Namespace(FsError::NotPermitted))) => {
            return Ok(no(format!(
                "no other data server would be left but those that are draining: not {id}"
            )));
        }
        Ok(outcome) => return Ok(no(format!("not done: {outcome:?}"))),
        Err(error) => return Err(server.refusal_of(error)),
    };
    tracing::info!(server = id.0, drain, "an administrator changed whether a data server is drained");
    server.data_servers.set_draining(id, drain);
    server.copies.look.notify_one();
    Ok(Ruling { done: true, words })
}

/// Handles REBALANCE: moves data until each data server has its share, or shows the plan.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn rebalance(server: &Server, ask: Rebalance) -> Result<Rebalanced, Refusal> {
    may_ask(server)?;
    Ok(balance::asked(server, ask.dry_run).await)
}

/// Handles the replacement of the key of data-server handles; reports its progress.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn rotate_handle_key(
    server: &Server,
    ask: RotateHandleKey,
) -> Result<HandleKeyRotation, Refusal> {
    may_ask(server)?;
    handle_keys::rotate(server, ask).await
}

/// Handles MDS_READMIT; reports its progress.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn readmit(server: &Server, ask: Readmit) -> Result<Readmitted, Refusal> {
    may_ask(server)?;
    readmit::readmit_server(server, ask.number).await
}

/// Handles EXPORTS_SET.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn set_exports(server: &Server, ask: SetExports) -> Result<ExportsRuling, Refusal> {
    may_ask(server)?;
    exports::replace_exports(server, ask).await
}

/// Handles REPORT: the state of the cluster.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) fn report(server: &Server, ask: AskReport) -> Result<Reported, Refusal> {
    may_ask(server)?;
    report::answer(server, ask)
}

/// Removes data servers that were replaced and hold nothing, as of the last scan.
pub(crate) async fn forget_replaced(server: &Server) {
    for (id, by) in server.data_servers.replaced(server.now_ms()) {
        let extents = server.copies.left.lock().get(&id).copied();
        let images = server.sealing.left.lock().get(&id).copied();
        if extents != Some(0) || images != Some(0) || !server.data_servers.begin_removal(id, server.now_ms())
        {
            continue;
        }
        match forget(server, id).await {
            Ok(ruling) if ruling.done => {
                tracing::info!(server = id.0, by = by.0, "replaced data server removed");
                server.data_servers.forget(id);
            }
            Ok(ruling) => {
                tracing::debug!(server = id.0, "replaced data server not removed yet: {}", ruling.words);
                server.data_servers.end_removal(id);
            }
            // As above: it may yet be applied.
            Err(_) => {}
        }
    }
}

/// Refuses unless this node leads and has begun the leases of data servers.
fn may_ask(server: &Server) -> Result<(), Refusal> {
    server.check_leading()?;
    let begun = server.shards.leading_term() == Some(server.data_servers.term());
    if begun { Ok(()) } else { Err(Refusal::Busy) }
}

fn no(words: String) -> Ruling {
    Ruling { done: false, words }
}
