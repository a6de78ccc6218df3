//! BIND_CONN_TO_SESSION: binds a further, or new, connection to a session, for either direction.
//!
//! Spec: RFC 8881 §18.34.

use env_transport::LogRate;
use wire_nfs::v4::ops::bind_conn_to_session::{Args, ResOk};
use wire_session::server::ConnectionId;

use crate::context::{Context, OpResult};
use crate::op::exchange_id;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    exchange_id::admitted(cx)?;
    cx.server.hold_session(args.session).await?;
    let now_ms = cx.server.now_ms();
    let connection = ConnectionId(cx.connection.id());
    let bound = cx.server.front.sessions.lock().bind(&args, connection, now_ms);
    if bound.is_ok() {
        cx.connection.prove();
    }
    static RATE: LogRate = LogRate::new();
    if let Some(suppressed) = RATE.admit(now_ms) {
        tracing::info!(peer = %cx.connection.peer(), bound = bound.is_ok(), suppressed, "connection for a session");
    }
    Ok(bound?)
}
