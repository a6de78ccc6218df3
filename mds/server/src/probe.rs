//! Probes whether data servers answer where clients call them.
//!
//! A server that renews its lease but is unreachable would keep its extents for ever, unused. So
//! periodically, and after each complaint of a client or a home, a NULL call goes to the data
//! address. While that is refused, or not answered for long, the lease is not renewed, it runs out,
//! and backups take over.
//!
//! The call queues behind data, on a machine that may be busy; the heartbeat does not. So a renewal
//! waits for the answer only after a complaint, or if there never was one, and a merely slow call
//! costs no lease.
//!
//! INVARIANT: one probe of a server is under way at a time.
//! Spec: docs/protocol/control.md §2.

use std::sync::Arc;

use env_transport::{Limits, RpcClient};
use layout::DataServerId;
use tokio::sync::watch;
use wire_nfs::v3;
use wire_rpc::Credential;
use wire_xdr::Writer;

use crate::data_servers::probes::Answer;
use crate::limits::{PROBE_MS_MAX, PROBE_WAIT_MS_MAX};
use crate::server::Server;

/// The number of the procedure NULL (RFC 1813 §3.3.0).
const NULL: u32 = 0;

/// Whether the server may get a lease: it answered recently and no complaint has come since, or no
/// probe has failed yet.
pub(crate) async fn may_hold_lease(server: &Arc<Server>, id: DataServerId) -> bool {
    if !server.data_servers.is_probe_due(id, server.now_ms()) {
        return true;
    }
    let mut answer = begin_probe(server, id);
    let failed = server.data_servers.probes.state.lock().failed.contains(&id);
    let answered = server.data_servers.one(id).is_some_and(|known| known.answered_ms.is_some());
    if answered && !failed && !server.data_servers.is_broken(id) {
        return true;
    }
    let answered = async { answer.wait_for(Option::is_some).await.ok().and_then(|answer| *answer) };
    tokio::select! {
        biased;
        answered = answered => answered.unwrap_or(false),
        // It may be slow: it counts as dead only after a whole probe has failed.
        () = server.env.clock.sleep_ms(PROBE_WAIT_MS_MAX) => !failed,
    }
}

/// Begins a probe, unless one is under way.
fn begin_probe(server: &Arc<Server>, id: DataServerId) -> Answer {
    let mut state = server.data_servers.probes.state.lock();
    if let Some(answer) = state.under_way.get(&id) {
        return answer.clone();
    }
    let (says, answer) = watch::channel(None);
    state.under_way.insert(id, answer.clone());
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let answers = probe(&server, id).await;
        let mut state = server.data_servers.probes.state.lock();
        state.under_way.remove(&id);
        if answers {
            state.failed.remove(&id);
        } else {
            state.failed.insert(id);
        }
        drop(state);
        // No heartbeat may wait for the result any more.
        let _ = says.send(Some(answers));
    });
    answer
}

async fn probe(server: &Server, id: DataServerId) -> bool {
    let Some(address) = server.data_servers.one(id).and_then(|known| known.data_address()) else {
        return false;
    };
    // A new connection: an old one may hang where a new one is refused, or the other way round.
    let env = &server.env;
    let caller = RpcClient::new(env.net.clone(), env.clock.clone(), address, Limits::default());
    let asked = caller.call(v3::PROGRAM, v3::VERSION, NULL, &Credential::None, Writer::new(), PROBE_MS_MAX);
    match asked.await {
        Ok(_) => {
            server.data_servers.answered(id, server.now_ms());
            true
        }
        Err(error) => {
            server.data_servers.mark_broken(id, server.now_ms());
            tracing::warn!(server = id.0, %address, %error, "data server does not answer at its data address: no lease");
            false
        }
    }
}
