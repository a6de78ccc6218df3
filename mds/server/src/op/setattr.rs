//! SETATTR: sets attributes; a new size reaches the data servers before the reply is sent.
//!
//! Spec: RFC 8881 §18.30.

use mds_namespace::op::settle::Settlement;
use mds_namespace::{Granted, op};
use mds_state::command::namespace::{SetAttributesOf, SetMeasured};
use mds_state::limits::MEASURED_EXTENTS_MAX;
use mds_state::{Command, Outcome, Refusal};
use wire_nfs::v4::ops::setattr::{Args, ResOk};
use wire_nfs::v4::{Bitmap, Nfsstat4, Stateid};
use wire_xdr::{Encode, Writer};

use crate::context::{Context, Failure, OpResult, granted};
use crate::limits::CONTENT_MOVED_RETRIES_MAX;
use crate::size::measure;
use crate::{attr, status};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    match set(cx, &args).await {
        Ok(()) => Ok(ResOk { attrs_set: args.attributes.mask }),
        // RFC 8881 §18.30.2: the set of attributes follows any status.
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
        // Before other clients lose layouts for it.
        let inode = cx.inode(&cx.view()?, handle)?;
        let may_set = op::setattr::check(&inode, &caller, &attributes, by_write_open);
        may_set.map_err(|error| status::of_namespace(&error))?;
        cx.server.recall_for_truncation(handle.ino, cx.session.map(|s| s.client)).await;
    }
    let attributes_size = attributes.size_bytes;
    let set = SetAttributesOf { caller, ino: handle.ino, attributes, by_write_open };
    let Outcome::Attributes(answer) = carry_out(cx, set).await? else {
        return Err(Nfsstat4::Serverfault);
    };
    match attributes_size {
        // Also when nothing was cut: this may be the second attempt, after the first ended in
        // DELAY.
        Some(size_bytes) => {
            cx.may_repeat = true;
            cx.server.settle_cuts(answer.inode.ino, size_bytes).await
        }
        None => Ok(()),
    }
}

/// Proposes the change. Earlier writes of clients are settled first: a time or set-id bit that is
/// set stays until more is written.
///
/// QUIRK(linux): it flushes before it sets times, and keeps its layout: `tar`, `cp -p`. Proved by
/// the lab's `shell`.
async fn carry_out(cx: &Context, set: SetAttributesOf) -> Result<Outcome, Nfsstat4> {
    let speaks_for_content = set.attributes.mtime.is_some() || set.attributes.mode.is_some();
    if !speaks_for_content || cx.recorded()?.is_some() {
        return cx.propose(Command::SetAttributes(set)).await;
    }
    for _ in 0..CONTENT_MOVED_RETRIES_MAX {
        let Some((settlement, written)) = measured(cx, set.ino).await? else {
            return cx.propose(Command::SetAttributes(set)).await;
        };
        let asked = SetMeasured { set: set.clone(), settlement, written };
        match cx.submit(Command::SetMeasured(Box::new(asked))).await? {
            Outcome::Refused(Refusal::ContentMoved) => {}
            outcome => return granted(outcome),
        }
    }
    Err(Nfsstat4::Delay)
}

/// The primaries' sizes of the content that attributes are set for; `None` if the log has them
/// already.
async fn measured(cx: &Context, ino: u64) -> Result<Option<(Settlement, Vec<Granted>)>, Nfsstat4> {
    let Some(measured) = measure::measure(&cx.server, ino).await? else { return Ok(None) };
    let written = measured.written_extents();
    if written.is_empty() || MEASURED_EXTENTS_MAX < written.len() {
        return Ok(None);
    }
    Ok(measured.settlement(cx.server.env.clock.wall_ns()).map(|settlement| (settlement, written)))
}

/// True if the stateid names an open or lock for writing; false for the anonymous one, which leaves
/// it to the mode.
fn shows_write_open(cx: &Context, ino: u64, stateid: Stateid) -> Result<bool, Nfsstat4> {
    if stateid == Stateid::ANONYMOUS || stateid == Stateid::READ_BYPASS {
        let denied = cx.view()?.anonymous_io_denied(ino, true).map_err(|e| status::of_refusal(&e))?;
        return if denied { Err(Nfsstat4::Locked) } else { Ok(false) };
    }
    let stateid = cx.resolve(stateid)?;
    cx.view()?.io_right(cx.client()?, ino, stateid, true).map(|_| true).map_err(|e| status::of_refusal(&e))
}
