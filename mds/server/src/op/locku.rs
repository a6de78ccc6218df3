//! LOCKU: releases a byte range.
//!
//! Spec: RFC 8881 §18.12.

use mds_state::command::lock::{Range, Unlock};
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::locku::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::op::lock;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let unlock = Unlock {
        client: cx.client()?,
        ino: handle.ino,
        stateid: cx.resolve(args.lock_stateid)?,
        range: Range { offset_bytes: args.offset, length_bytes: args.length },
    };
    match cx.submit(Command::Unlock(unlock)).await? {
        Outcome::Stateid(stateid) => Ok(ResOk { lock_stateid: cx.put_stateid(stateid) }),
        Outcome::Refused(refusal) => Err(lock::refused(&refusal).into()),
        _ => Err(Nfsstat4::Serverfault.into()),
    }
}
