//! CREATE_SESSION: confirms a client id and creates a session for it, in the replicated state.
//!
//! A retry, at any node, is answered with the session that was created.
//!
//! Spec: RFC 8881 §18.36; docs/protocol/sessions.md §1.

use env_transport::LogRate;
use mds_state::command::session::{CreateSession, SessionCreated};
use mds_state::limits::SESSIONS_MAX;
use mds_state::{Command, Outcome};
use wire_nfs::v4::ops::create_session::{Args, ResOk};
use wire_nfs::v4::{Nfsstat4, SessionId};
use wire_session::server::channel::negotiate;
use wire_session::server::{ConnectionId, Past, SessionRecord};

use crate::context::{Context, OpResult};
use crate::op::exchange_id;
use crate::{client_end, status};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    exchange_id::admitted(cx)?;
    let negotiated = negotiate(&args).map_err(|e| e.status())?;
    let count = cx.view()?.session_count().map_err(|refusal| status::of_refusal(&refusal))?;
    if SESSIONS_MAX <= count {
        return Err(Nfsstat4::Delay.into());
    }
    let random = u32::try_from(cx.server.env.entropy.u64() >> 32).expect("the upper half has 32 bits");
    let record = SessionRecord::new(&args, &negotiated, cx.minor_version, random);
    let command = CreateSession { record, principal: cx.principal.clone() };
    // No origin: CREATE_SESSION has a sequence of its own that detects retries.
    let Outcome::SessionCreated(created) = cx.server.propose(Command::CreateSession(command)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    let SessionCreated { record, tenure, replay, ended, dropped } = *created;
    static RATE: LogRate = LogRate::new();
    if let Some(suppressed) = RATE.admit(cx.server.now_ms()) {
        tracing::info!(
            client = record.client,
            replay,
            ended = ended.is_some(),
            suppressed,
            "session created"
        );
    }
    for dropped in dropped {
        client_end::client_gone(&cx.server, &dropped);
        // RFC 8881 §18.36.4: state from before the client's restart does not block it now.
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

/// A session that has ended again is no reply to this operation: the client retries, and learns its
/// state.
fn in_vain(status: Nfsstat4) -> Nfsstat4 {
    if status == Nfsstat4::Badsession { Nfsstat4::Delay } else { status }
}
