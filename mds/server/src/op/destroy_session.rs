//! DESTROY_SESSION.
//!
//! Spec: RFC 8881 §18.37.

use env_transport::LogRate;
use mds_state::Command;
use mds_state::command::session::DestroySession;
use wire_nfs::v4::ops::destroy_session::{Args, ResOk};
use wire_session::server::ConnectionId;

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let connection = ConnectionId(cx.connection.id());
    let may = cx.server.front.sessions.lock().may_destroy(args.session, connection);
    may.map_err(|e| e.status())?;
    cx.propose(Command::DestroySession(DestroySession { session: args.session.0 })).await?;
    cx.server.front.sessions.lock().end(args.session);
    static RATE: LogRate = LogRate::new();
    if let Some(suppressed) = RATE.admit(cx.server.now_ms()) {
        tracing::info!(peer = %cx.connection.peer(), suppressed, "session ended by its client");
    }
    Ok(ResOk)
}
