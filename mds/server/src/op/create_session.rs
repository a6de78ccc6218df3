//! CREATE_SESSION: confirms a client id and makes a session for it.
//!
//! Spec: RFC 8881 §18.36.

use mds_shard::command::client::ConfirmClient;
use mds_shard::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::create_session::{Args, ResOk};
use wire_session::server::ConnectionId;
use wire_session::server::channel::negotiate;

use crate::context::{Context, OpResult};
use crate::reaper;

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let negotiated = negotiate(&args).map_err(|e| e.status())?;
    let command =
        ConfirmClient { client: args.clientid, sequence: args.sequence, principal: cx.principal.clone() };
    let Outcome::Confirmed(confirmed) = cx.propose(Command::ConfirmClient(command)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    for dropped in confirmed.dropped {
        reaper::client_gone(&cx.server, &dropped).await;
    }
    let connection = ConnectionId(cx.connection.id());
    let now_ms = cx.server.now_ms();
    let mut sessions = cx.server.front.sessions.lock();
    let made = sessions.create(&args, negotiated, cx.minor_version, connection, now_ms);
    Ok(made.map_err(|e| e.status())?)
}
