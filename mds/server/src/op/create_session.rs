//! CREATE_SESSION: confirms a client id and makes a session for it, in the replicated state.
//!
//! A retry, at whatever node, is answered with the session that was made.
//!
//! Spec: RFC 8881 §18.36; docs/protocol/sessions.md §1.

use env_transport::LogRate;
use mds_shard::command::session::{CreateSession, SessionCreated};
use mds_shard::limits::SESSIONS_MAX;
use mds_shard::{Command, Outcome};
use wire_nfs::v4::ops::create_session::{Args, ResOk};
use wire_nfs::v4::{Nfsstat4, SessionId};
use wire_session::server::channel::negotiate;
use wire_session::server::{ConnectionId, Past, SessionRecord};

use crate::context::{Context, OpResult};
use crate::op::exchange_id;
use crate::{client_end, status};

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    exchange_id::admitted(cx)?;
    let negotiated = negotiate(&args).map_err(|e| e.status())?;
    let count = cx.view()?.session_count().map_err(|refusal| status::of_refusal(&refusal))?;
    if SESSIONS_MAX <= count {
        return Err(Nfsstat4::Delay.into());
    }
    let random = u32::try_from(cx.server.env.entropy.u64() >> 32).expect("the upper half has 32 bits");
    let record = SessionRecord::new(&args, &negotiated, cx.minor_version, random);
    let command = CreateSession { record, principal: cx.principal.clone() };
    // No origin: the sequence of CREATE_SESSION itself tells a retry.
    let Outcome::SessionCreated(created) = cx.server.propose(Command::CreateSession(command)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    let SessionCreated { record, tenure, replay, ended, dropped } = *created;
    static RATE: LogRate = LogRate::new();
    if let Some(suppressed) = RATE.admit(cx.server.now_ms()) {
        tracing::info!(client = record.client, replay, ended = ended.is_some(), suppressed, "session made");
    }
    for dropped in dropped {
        client_end::client_gone(&cx.server, &dropped);
        // RFC 8881 §18.36.4: what the client held before it restarted is not in its way now.
        client_end::gone_everywhere(&cx.server, dropped.client).await;
    }
    if replay {
        cx.server.hold_session(record.session()).await.map_err(in_vain)?;
    } else {
        if let Some(oldest) = ended {
            cx.server.front.sessions.lock().end(SessionId(oldest));
        }
        cx.server.put_session(&record, tenure, Past::None).map_err(in_vain)?;
    }
    let connection = ConnectionId(cx.connection.id());
    cx.server.front.sessions.lock().bind_creator(record.session(), connection, record.back_wanted);
    cx.connection.prove();
    Ok(record.created())
}

/// A session that is over again is no answer to this operation: the client asks again, and is told what has become of it.
fn in_vain(status: Nfsstat4) -> Nfsstat4 {
    if status == Nfsstat4::Badsession { Nfsstat4::Delay } else { status }
}
