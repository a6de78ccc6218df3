//! BACKCHANNEL_CTL: sets program and credential of callbacks to the client.
//!
//! Spec: RFC 8881 §18.33.

use mds_state::Command;
use mds_state::command::session::SetCallback;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::SessionId;
use wire_nfs::v4::ops::backchannel_ctl::{Args, ResOk};
use wire_session::server::CallbackCredential;
use wire_session::server::channel::choose_credential;

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let session = cx.session.ok_or(Nfsstat4::OpNotInSession)?;
    let credential = choose_credential(&args.sec_parms).ok_or(Nfsstat4::Inval)?;
    let command = SetCallback {
        session: session.id,
        program: args.cb_program,
        credential: CallbackCredential::of(&credential).ok_or(Nfsstat4::Inval)?,
    };
    cx.propose(Command::SetCallback(command)).await?;
    let known = cx.server.front.sessions.lock().set_callback(
        SessionId(session.id),
        args.cb_program,
        Some(credential),
    );
    if known { Ok(ResOk) } else { Err(Nfsstat4::Badsession.into()) }
}
