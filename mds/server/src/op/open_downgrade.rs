//! OPEN_DOWNGRADE: reduces the access and deny bits of an open.
//!
//! Spec: RFC 8881 §18.18.

use mds_state::command::open::{OpenDowngrade, Share};
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::ops::open_downgrade::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let downgrade = OpenDowngrade {
        client: cx.client()?,
        ino: handle.ino,
        stateid: cx.resolve(args.open_stateid)?,
        share: Share { access: share::access(args.share_access), deny: args.share_deny },
    };
    let _under_way = cx.server.opening.begin_open(handle.ino);
    let Outcome::Stateid(stateid) = cx.propose(Command::OpenDowngrade(downgrade)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    Ok(ResOk { open_stateid: cx.put_stateid(stateid) })
}
