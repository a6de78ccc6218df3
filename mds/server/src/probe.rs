//! Asks data servers whether they answer where clients call them.
//!
//! A server that renews its lease but cannot be reached would keep its extents for ever, and nobody could use them. So now and then,
//! and whenever somebody complained, the lease is renewed only if a NULL call to the data address is answered: else it runs
//! out, and backups take over.
//!
//! Spec: docs/protocol/control.md §2.

use env_transport::{Limits, RpcClient};
use layout::DataServerId;
use wire_nfs::v3;
use wire_rpc::Credential;
use wire_xdr::Writer;

use crate::limits::PROBE_MS_MAX;
use crate::server::Server;

/// The number of the procedure NULL (RFC 1813 §3.3.0).
const NULL: u32 = 0;

/// Whether the server may have a lease: it answered lately and nobody has complained since, or it answers now.
pub(crate) async fn may_hold_lease(server: &Server, id: DataServerId) -> bool {
    if !server.data_servers.is_probe_due(id, server.now_ms()) {
        return true;
    }
    let Some(address) = server.data_servers.one(id).and_then(|known| known.data_address()) else {
        return false;
    };
    // A connection of its own: an old one may hang where a new one is refused, or the other way round.
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
            tracing::warn!(server = id.0, %address, %error, "a data server does not answer there: no lease");
            false
        }
    }
}
