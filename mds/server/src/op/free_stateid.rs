//! FREE_STATEID: frees a lock stateid without locks, or a revoked layout's.
//!
//! Spec: RFC 8881 §18.38.

use mds_state::Command;
use mds_state::command::lock::FreeStateid;
use wire_nfs::v4::ops::free_stateid::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::revocation;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let stateid = cx.resolve(args.stateid)?;
    if revocation::free_revoked((&cx.server.front, &cx.server.revoked), cx.client()?, stateid) {
        return Ok(ResOk);
    }
    let free = FreeStateid { client: cx.client()?, stateid };
    cx.propose(Command::FreeStateid(free)).await?;
    Ok(ResOk)
}
