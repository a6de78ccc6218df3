//! CLOSE: the end of an open.
//!
//! Spec: RFC 8881 §18.2. Locks under the open go with it, as the RFC allows and Linux expects.

use mds_shard::command::open::Close;
use mds_shard::{Command, Outcome};
use wire_nfs::v4::ops::close::{Args, ResOk};
use wire_nfs::v4::{Nfsstat4, Stateid};

use crate::context::{Context, OpResult};

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let stateid = cx.resolve(args.open_stateid)?;
    let close = Close { client: cx.client()?, ino: handle.ino, stateid };
    let Outcome::Stateid(_) = cx.propose(Command::Close(close)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    cx.current_stateid = None;
    // RFC 8881 §18.2.4: the stateid returned should be one that is never valid.
    Ok(ResOk { open_stateid: Stateid::INVALID })
}
