//! The backchannel of a client that lets itself be called: who answers, and which connections carry
//! its session's callbacks.
//!
//! Spec: RFC 8881 §2.10.3.1, §18.34.

use std::sync::Arc;

use env::Clock;
use env_transport::{CallError, Connection, Hello, RpcClient, Service};
use parking_lot::Mutex;
use wire_nfs::v4::ops::bind_conn_to_session::{Args, DirectionAsked};
use wire_nfs::v4::{Nfsstat4, Op, SessionId};
use wire_rpc::{AuthSys, Credential};

use super::compound::{Reply, bare};

const BIND_MS: u64 = 2_000;
/// Times that a server is asked that says DELAY, and the time between two.
const BINDS_MAX: u32 = 5;
const PAUSE_MS: u64 = 100;

/// Answers the server's calls, and binds each fresh connection to the session.
#[derive(Clone)]
pub(crate) struct Backchannel {
    service: Arc<dyn Service>,
    clock: Arc<dyn Clock>,
    session: Arc<Mutex<Option<SessionId>>>,
}

impl Backchannel {
    /// No session yet.
    pub(crate) fn new(service: Arc<dyn Service>, clock: Arc<dyn Clock>) -> Self {
        Self { service, clock, session: Arc::default() }
    }

    /// Connections are for this session from now on.
    pub(crate) fn belongs_to(&self, session: Option<SessionId>) {
        *self.session.lock() = session;
    }

    /// Has a client answer calls, and bind its connections.
    pub(crate) fn equip(&self, rpc: RpcClient) -> RpcClient {
        let (clock, session) = (Arc::clone(&self.clock), Arc::clone(&self.session));
        let hello: Hello = Arc::new(move |connection| {
            let (clock, session) = (Arc::clone(&clock), *session.lock());
            Box::pin(async move {
                match session {
                    Some(session) => bind(&connection, &*clock, session).await,
                    None => Ok(()),
                }
            })
        });
        rpc.with_service(Arc::clone(&self.service)).with_hello(hello)
    }
}

/// What the server says to it is left to the next request: it says the same of a session that is
/// gone.
async fn bind(connection: &Connection, clock: &dyn Clock, session: SessionId) -> Result<(), CallError> {
    let args = Args { session, direction: DirectionAsked::ForeOrBoth, rdma_mode: false };
    for _ in 0..BINDS_MAX {
        let request = bare(Op::BindConnToSession, &args);
        let credential = Credential::Sys(AuthSys::default());
        let mut answer = connection.call(100_003, 4, 1, &credential, request, BIND_MS).await?;
        if Reply::begin(&answer.rest()).is_none_or(|reply| reply.status != Nfsstat4::Delay) {
            break;
        }
        clock.sleep_ms(PAUSE_MS).await;
    }
    Ok(())
}
