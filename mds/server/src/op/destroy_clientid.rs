//! DESTROY_CLIENTID: a client leaves.
//!
//! Linux ends its session first and retries BUSY ten times, a second apart. So only state that the
//! client can end itself makes it busy: sessions, opens, locks and layouts. A host that no export
//! admits ends no client, as it creates none.
//!
//! Spec: RFC 8881 §18.50.

use mds_state::command::client::RemoveClient;
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::destroy_clientid::{Args, ResOk};

use crate::client_end;
use crate::context::{Context, OpResult};
use crate::op::exchange_id;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    exchange_id::admitted(cx)?;
    let command = RemoveClient { client: args.clientid, only_if_idle: true };
    let Outcome::Removed(removed) = cx.propose(Command::RemoveClient(command)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    client_end::client_gone(&cx.server, &removed);
    Ok(ResOk)
}
