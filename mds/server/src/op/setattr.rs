//! SETATTR: sets attributes; a new size reaches the data servers before the answer goes out.
//!
//! Spec: RFC 8881 §18.30.

use mds_shard::command::namespace::{SetAttributesOf, SetTimesNoting};
use mds_shard::{Command, Outcome};
use wire_nfs::v4::ops::setattr::{Args, ResOk};
use wire_nfs::v4::{Bitmap, Nfsstat4, Stateid};
use wire_xdr::{Encode, Writer};

use crate::context::{Context, Failure, OpResult};
use crate::limits::NOTED_EXTENTS_MAX;
use crate::size::measure;
use crate::{attr, status};

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    match set(cx, &args).await {
        Ok(()) => Ok(ResOk { attrs_set: args.attributes.mask }),
        // RFC 8881 §18.30.2: the set of attributes follows the status whatever it is.
        Err(status) => {
            let mut body = Writer::new();
            Bitmap::default().encode(&mut body);
            Err(Failure { status, body: Some(body) })
        }
    }
}

async fn set(cx: &mut Context, args: &Args) -> Result<(), Nfsstat4> {
    let handle = cx.current()?;
    let caller = cx.writer_at(handle)?;
    let attributes = attr::to_set(&args.attributes)?;
    let mut by_write_open = false;
    if attributes.size_bytes.is_some() && cx.recorded()?.is_none() {
        by_write_open = shows_write_open(cx, handle.ino, args.stateid)?;
        cx.server.recall_for_truncation(handle.ino, cx.session.map(|s| s.client)).await;
    }
    let (attributes_size, sets_mtime) = (attributes.size_bytes, attributes.mtime.is_some());
    let set = SetAttributesOf { caller, ino: handle.ino, attributes, by_write_open };
    let measured =
        if sets_mtime && cx.recorded()?.is_none() { changes(cx, handle.ino).await? } else { Vec::new() };
    let command = if measured.is_empty() {
        Command::SetAttributes(set)
    } else {
        Command::SetTimesNoting(SetTimesNoting { set, measured })
    };
    let Outcome::Attributes(answer) = cx.propose(command).await? else {
        return Err(Nfsstat4::Serverfault);
    };
    match attributes_size {
        // Also when nothing was cut: this may be the second time, after the first was put off.
        Some(size_bytes) => {
            cx.may_repeat = true;
            cx.server.settle_cuts(answer.inode.ino, size_bytes).await
        }
        None => Ok(()),
    }
}

/// What primaries say of the content for which the time is set: the client has written back what it had, and a time set by hand
/// stays until more is written. Empty if nothing has to be noted.
///
/// QUIRK(linux): it flushes before it sets times, and goes on holding its layout: `tar`, `cp -p`. Proved by the lab's `tar`.
async fn changes(cx: &Context, ino: u64) -> Result<Vec<(u32, u64)>, Nfsstat4> {
    let measured = measure::measure(&cx.server, ino).await?;
    let changes = measured.map(|measured| measured.changes()).unwrap_or_default();
    Ok(if changes.len() <= NOTED_EXTENTS_MAX { changes } else { Vec::new() })
}

/// True if the stateid names an open or lock for writing; false for the anonymous one, which leaves it to the mode.
fn shows_write_open(cx: &Context, ino: u64, stateid: Stateid) -> Result<bool, Nfsstat4> {
    if stateid == Stateid::ANONYMOUS || stateid == Stateid::READ_BYPASS {
        let denied = cx.view()?.anonymous_io_denied(ino, true).map_err(|e| status::of_refusal(&e))?;
        return if denied { Err(Nfsstat4::Locked) } else { Ok(false) };
    }
    let stateid = cx.resolve(stateid)?;
    cx.view()?.io_right(cx.client()?, ino, stateid, true).map(|_| true).map_err(|e| status::of_refusal(&e))
}
