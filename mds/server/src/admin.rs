//! What administrators ask: a data server is forgotten, everything is moved away from one, a file is looked at, a metadata server that lost
//! its disk is taken in again, exports are set.
//!
//! INVARIANT: a data server that is being removed holds no lease and gets none until the log has said whether it is.
//! Spec: docs/protocol/admin.md.

mod exports;
mod readmit;
mod verify;

use layout::DataServerId;
use mds_namespace::FsError;
use mds_namespace::op::held::Held;
use mds_shard::command::admin::{DrainDataServer, Removal, RemoveDataServer};
use mds_shard::{Command, Outcome, Refusal as Refused};
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{
    DrainServer, HandleKeyRotation, Readmit, Readmitted, Rebalance, Rebalanced, RemoveServer,
    RotateHandleKey, Ruling, Verified, Verify,
};
use wire_nfs::control::exports::{ExportsRuling, SetExports};
use wire_nfs::control::report::{AskReport, Reported};

use crate::leading::{check_leading, refusal_of};
use crate::server::Server;
use crate::{balance, handle_keys, report};

/// Looks at a file.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn verify(server: &Server, ask: &Verify) -> Result<Verified, Refusal> {
    may_ask(server)?;
    verify::run(server, ask).await
}

/// Forgets a data server that is gone for good.
///
/// # Errors
/// `NotLeader`; `Busy` if it cannot be told whether it is done.
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
            tracing::warn!(server = id.0, "an administrator has a data server forgotten");
            server.data_servers.forget(id);
            server.copies.look.notify_one();
        }
        Ok(_) => server.data_servers.end_removal(id),
        // It may yet be carried out: until somebody asks again, or another node leads, it gets no lease.
        Err(_) => {}
    }
    ruling
}

async fn forget(server: &Server, id: DataServerId) -> Result<Ruling, Refusal> {
    loop {
        match server.shards.propose(None, Command::RemoveDataServer(RemoveDataServer { server: id })).await {
            Ok(Outcome::Removal(Removal::Again)) => {}
            Ok(Outcome::Removal(Removal::Holds(held))) => return Ok(no(holds(id, held))),
            // One that was removed meanwhile is removed.
            Ok(Outcome::Removal(Removal::Done) | Outcome::Refused(Refused::Namespace(FsError::NotFound))) => {
                let words = format!("data server {id} is forgotten; its number is not used again");
                return Ok(Ruling { done: true, words });
            }
            Ok(outcome) => return Ok(no(format!("not done: {outcome:?}"))),
            Err(error) => return Err(refusal_of(server, error)),
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

/// Has everything moved away from a data server, or ends that.
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
        Err(error) => return Err(refusal_of(server, error)),
    };
    tracing::info!(server = id.0, drain, "an administrator has a data server drained, or not");
    server.data_servers.set_draining(id, drain);
    server.copies.look.notify_one();
    Ok(Ruling { done: true, words })
}

/// Has data moved until each data server has its share, or says what would be.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn rebalance(server: &Server, ask: Rebalance) -> Result<Rebalanced, Refusal> {
    may_ask(server)?;
    Ok(balance::asked(server, ask.dry_run).await)
}

/// Has the key of data-server handles replaced, and says how far that is.
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

/// Takes a metadata server in again that lost its disk, and says how far that is.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn readmit(server: &Server, ask: Readmit) -> Result<Readmitted, Refusal> {
    may_ask(server)?;
    readmit::run(server, ask.number).await
}

/// Says what the cluster exports.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn set_exports(server: &Server, ask: SetExports) -> Result<ExportsRuling, Refusal> {
    may_ask(server)?;
    exports::run(server, ask).await
}

/// Reports how the cluster is.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) fn report(server: &Server, ask: AskReport) -> Result<Reported, Refusal> {
    may_ask(server)?;
    report::answer(server, ask)
}

/// Forgets data servers that others have taken the place of and that hold nothing, as of the last
/// look.
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
                tracing::info!(server = id.0, by = by.0, "a data server that was replaced is forgotten");
                server.data_servers.forget(id);
            }
            Ok(ruling) => {
                tracing::debug!(server = id.0, "not forgotten yet: {}", ruling.words);
                server.data_servers.end_removal(id);
            }
            // As for an administrator: it may yet be carried out.
            Err(_) => {}
        }
    }
}

/// Administrators ask the leader, once it knows as much of leases as it must.
fn may_ask(server: &Server) -> Result<(), Refusal> {
    check_leading(server)?;
    let begun = server.shards.leading_term() == Some(server.data_servers.term());
    if begun { Ok(()) } else { Err(Refusal::Busy) }
}

fn no(words: String) -> Ruling {
    Ruling { done: false, words }
}
