//! A data server that holds a key of its own is the one with that name, and says nothing for
//! another one.
//!
//! One that holds the whole cluster key, or the key of every data server, may be any of them: its
//! identity says so.
//!
//! Spec: docs/protocol/control.md §1.

use env_transport::LogRate;
use layout::DataServerId;
use wire_nfs::control::auth::Peer;
use wire_nfs::control::register::Register;
use wire_nfs::control::{Identity, Refusal};

use crate::server::Server;

/// Whether the caller may say something for the data server with this number.
///
/// # Errors
/// `WrongPeer` if it is another one, `RegisterAgain` if there is none, `NotLeader`.
pub(super) fn check(server: &Server, peer: &Peer, number: u32) -> Result<(), Refusal> {
    if peer.identity == Identity::ANY {
        return Ok(());
    }
    // What the others know of names may be old.
    server.check_leading()?;
    match server.data_servers.one(DataServerId(number)) {
        Some(known) if is(peer, &known.name) => Ok(()),
        Some(known) => {
            static RATE: LogRate = LogRate::new();
            if let Some(suppressed) = RATE.admit(server.now_ms()) {
                tracing::warn!(
                    server = number,
                    name = %known.name,
                    suppressed,
                    "a data server spoke for another one: refused"
                );
            }
            Err(Refusal::WrongPeer)
        }
        None => Err(Refusal::RegisterAgain),
    }
}

/// Whether the caller may register so.
///
/// # Errors
/// `WrongPeer` if the name, or the store, is another data server's; `NotLeader`, `Busy`.
pub(super) async fn check_registration(
    server: &Server,
    peer: &Peer,
    asked: &Register,
) -> Result<(), Refusal> {
    if peer.identity == Identity::ANY {
        return Ok(());
    }
    server.check_leading()?;
    // A registration that is in the log already must be seen.
    server.shards.read_barrier().await.map_err(|_| Refusal::Busy)?;
    let known = server.view().and_then(|view| view.data_servers().map_err(|e| crate::status::of_refusal(&e)));
    let known = known.map_err(|_| Refusal::Busy)?;
    let before = known.iter().find(|one| one.uuid == asked.uuid);
    if is(peer, &asked.name) && before.is_none_or(|one| is(peer, &one.name)) {
        return Ok(());
    }
    let registered = before.map(|one| one.name.as_str());
    static RATE: LogRate = LogRate::new();
    if let Some(suppressed) = RATE.admit(server.now_ms()) {
        tracing::warn!(
            name = %asked.name,
            registered,
            control = %asked.control,
            suppressed,
            "a data server may not register under this name with its key: it, or its store's name, is another one. A store that was registered \
             otherwise is to be started once with the whole cluster key and this --name"
        );
    }
    Err(Refusal::WrongPeer)
}

fn is(peer: &Peer, name: &str) -> bool {
    peer.identity == Identity::of_name(name)
}
