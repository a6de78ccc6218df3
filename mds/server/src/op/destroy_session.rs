//! DESTROY_SESSION.
//!
//! Spec: RFC 8881 §18.37.

use wire_nfs::v4::ops::destroy_session::{Args, ResOk};
use wire_session::server::ConnectionId;

use crate::context::{Context, OpResult};

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let connection = ConnectionId(cx.connection.id());
    let destroyed = cx.server.front.sessions.lock().destroy(args.session, connection);
    destroyed.map_err(|e| e.status())?;
    Ok(ResOk)
}
