//! CLOSE: the end of an open.
//!
//! With one replica it is answered when its command has its place in the log, not when the log is flushed: an open that comes back when the
//! power was cut is the client's until it opens again or its lease ends (docs/adr/0004-close-is-not-waited-for.md). With several it is
//! answered when it is committed (docs/adr/0012-close-is-waited-for-by-replicas.md).
//!
//! QUIRK(linux): a client that has closed a file and opens it again takes a stateid whose sequence is not 1 for one of several answers that
//! overtook each other, and waits five seconds for the others, with its slot. So a CLOSE that was answered must not be lost with its leader.
//!
//! Spec: RFC 8881 §18.2. Locks under the open go with it, as the RFC allows and Linux expects.

use mds_shard::Command;
use mds_shard::command::open::Close;
use wire_nfs::v4::Stateid;
use wire_nfs::v4::ops::close::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::status;

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let client = cx.client()?;
    let stateid = cx.resolve(args.open_stateid)?;
    if cx.recorded()?.is_some() {
        // It was good once, or it would not have come to a command.
        cx.current_stateid = None;
        return Ok(ResOk { open_stateid: Stateid::INVALID });
    }
    cx.view()?.open(client, handle.ino, stateid).map_err(|e| status::of_refusal(&e))?;
    let close = Close { client, ino: handle.ino, stateid };
    if cx.server.shards.is_replicated() {
        cx.propose(Command::Close(close)).await?;
    } else {
        cx.propose_behind(Command::Close(close)).await?;
    }
    cx.current_stateid = None;
    // RFC 8881 §18.2.4: the stateid returned should be one that is never valid.
    Ok(ResOk { open_stateid: Stateid::INVALID })
}
