//! RECLAIM_COMPLETE: the client has nothing (more) to reclaim. No state was lost, so no request
//! waits for it.
//!
//! Spec: RFC 8881 §18.51.

use mds_state::Command;
use mds_state::command::client::ReclaimComplete;
use wire_nfs::v4::ops::reclaim_complete::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let client = cx.client()?;
    if args.one_fs {
        cx.current()?;
        return Ok(ResOk);
    }
    cx.propose(Command::ReclaimComplete(ReclaimComplete { client })).await?;
    Ok(ResOk)
}
