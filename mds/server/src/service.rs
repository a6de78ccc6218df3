//! The NFS program on the metadata server's port: NULL and COMPOUND.
//!
//! Spec: RFC 8881 §16.1, §16.2; RFC 5531 §8, §9.

use std::sync::Arc;

use env::BoxFuture;
use env_transport::{Answer, Call, Connection, LogRate, Service};
use mds_namespace::Caller;
use wire_rpc::{
    AuthStat, Credential, accepted_success, auth_error, garbage_args, proc_unavail, prog_mismatch,
    prog_unavail,
};

use crate::context::Context;
use crate::limits::{DELAYED_MS_MAX, DELAYED_RETRY_MS, SLOW_MS};
use crate::server::Server;
use crate::{answer_room, compound};

/// NFS (RFC 8881 §16).
pub(crate) const PROGRAM: u32 = 100_003;
/// The version served.
pub(crate) const VERSION: u32 = 4;
const NULL: u32 = 0;
const COMPOUND: u32 = 1;

/// The service.
pub(crate) struct NfsService {
    server: Arc<Server>,
}

impl NfsService {
    /// Serves a metadata server's clients.
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

impl Service for NfsService {
    fn call(&self, call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let xid = call.header.xid;
        let answer =
            |writer| -> BoxFuture<'static, Answer> { Box::pin(std::future::ready(Answer::Reply(writer))) };
        // Other programs (NFSACL, LOCALIO probes) get a reply, never a closed connection.
        if call.header.program != PROGRAM {
            return answer(prog_unavail(xid));
        }
        if call.header.version != VERSION {
            return answer(prog_mismatch(xid, VERSION, VERSION));
        }
        match call.header.procedure {
            // RFC 5531 §9, §13.4.1: a credential of an unsupported flavour is refused with NULL,
            // too. A client that sets up a GSS context by it would take success for the context's
            // token.
            NULL => match identity(&call.header.credential) {
                Some(_) => answer(accepted_success(xid)),
                None => answer(auth_error(xid, AuthStat::TOOWEAK)),
            },
            COMPOUND => match identity(&call.header.credential) {
                Some((caller, principal)) => {
                    if self.server.front.seen(connection) {
                        self.connections_changed();
                    }
                    let context = self.context(&call, connection.clone(), caller, principal);
                    Box::pin(run_request(xid, context, call.args))
                }
                None => answer(auth_error(xid, AuthStat::TOOWEAK)),
            },
            _ => answer(proc_unavail(xid)),
        }
    }

    fn closed(&self, connection_id: u64) {
        self.server.front.closed(connection_id);
        self.connections_changed();
    }
}

impl NfsService {
    fn connections_changed(&self) {
        if let Some(service) = &self.server.service {
            service.changed.notify_one();
        }
    }

    fn context(&self, call: &Call, connection: Connection, caller: Caller, principal: Vec<u8>) -> Context {
        Context {
            server: Arc::clone(&self.server),
            connection,
            peer: call.peer,
            caller,
            principal,
            minor_version: 0,
            request_bytes: call.record_bytes,
            session: None,
            operation: 0,
            operation_count: 0,
            current: None,
            current_stateid: None,
            saved: None,
            saved_stateid: None,
            disowned: std::sync::OnceLock::new(),
            may_repeat: false,
            delayed: false,
            answer_room: Vec::new(),
        }
    }
}

async fn run_request(xid: u32, mut context: Context, args: wire_xdr::Reader) -> Answer {
    let began_ms = context.server.now_ms();
    loop {
        let Ok(body) = compound::run_compound(&mut context, args.clone()).await else {
            return Answer::Reply(garbage_args(xid));
        };
        if context.session.is_some() {
            context.connection.prove();
        }
        if !context.delayed || !may_come_back(&context, began_ms) {
            let spent_ms = context.server.now_ms().saturating_sub(began_ms);
            if SLOW_MS <= spent_ms {
                let client = context.session.map_or(0, |session| session.client);
                static RATE: LogRate = LogRate::new();
                if let Some(suppressed) = RATE.admit(context.server.now_ms()) {
                    tracing::info!(
                        client,
                        xid,
                        spent_ms,
                        delayed = context.delayed,
                        suppressed,
                        "slow request"
                    );
                }
            }
            let mut reply = accepted_success(xid);
            reply.append(body);
            return match answer_room::for_reply(std::mem::take(&mut context.answer_room)) {
                Some(room) => Answer::Reserved(reply, room),
                None => Answer::Reply(reply),
            };
        }
        context.server.env.clock.sleep_ms(DELAYED_RETRY_MS).await;
        if !context.connection.is_open() {
            return Answer::None;
        }
        context.rewind();
    }
}

/// Whether to hold a request whose SEQUENCE would be answered DELAY, and run it again as if the
/// client had resent it.
///
/// QUIRK(linux): a client whose SEQUENCE is answered DELAY waits for 15 s (`lab failover`). At a
/// service address either this node can answer in a moment, or the address moves to a node that
/// can, and the client resends on a new connection.
fn may_come_back(context: &Context, began_ms: u64) -> bool {
    let service = context.server.service.as_ref();
    service.is_some_and(|service| service.has(context.connection.local().ip()))
        && context.server.now_ms() < began_ms + DELAYED_MS_MAX
}

/// The user of a credential, and the principal as bytes. `None` for unsupported flavours.
fn identity(credential: &Credential) -> Option<(Caller, Vec<u8>)> {
    match credential {
        Credential::None => {
            let anonymous = crate::export::Anonymous::default();
            Some((Caller { uid: anonymous.uid, gid: anonymous.gid, gids: Vec::new() }, vec![0]))
        }
        Credential::Sys(sys) => {
            let caller = Caller { uid: sys.uid, gid: sys.gid, gids: sys.gids.clone() };
            // The machine name is left out: it changes with DHCP, and proves nothing.
            let mut principal = vec![1];
            principal.extend_from_slice(&sys.uid.to_be_bytes());
            Some((caller, principal))
        }
        Credential::Other(_) => None,
    }
}
