//! LAYOUTCOMMIT: answered, and hardly needed. Bytes written through a layout are part of the file
//! as soon as a data server has acknowledged them. The client's claim how far it wrote changes
//! nothing, since the file may have been cut after that.
//!
//! QUIRK(linux): layouts carry the flag that no LAYOUTCOMMIT is wanted (RFC 8435 §5.1). Otherwise
//! the client lets a size that was sampled before a data server's reply replace a newer one
//! (docs/protocol/sizes.md §5).
//!
//! Spec: RFC 8881 §18.42, §12.5.4.

use mds_namespace::Timestamp;
use mds_state::command::layout::LayoutCommit;
use mds_state::{Command, StateidValue};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::layoutcommit::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::status;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let caller = cx.writer_at(handle)?;
    if args.reclaim {
        return Err(Nfsstat4::NoGrace.into());
    }
    let end_bytes = match args.last_write_offset {
        Some(last) => {
            Some(last.checked_add(1).filter(|end| *end <= layout::FILE_BYTES_MAX).ok_or(Nfsstat4::Inval)?)
        }
        None => None,
    };
    let (client, stateid) = (cx.client()?, cx.resolve(args.stateid)?);
    let mtime = args.time_modify.map(|t| Timestamp { seconds: t.seconds, nanos: t.nseconds });
    let committed = if mtime.is_some() {
        let commit = LayoutCommit { client, ino: handle.ino, stateid, end_bytes, mtime, caller };
        cx.propose(Command::LayoutCommit(commit)).await.map(drop)
    } else {
        check(cx, handle.ino, client, stateid)
    };
    committed.map_err(|status| cx.server.revoked.status(client, &stateid.other, status))?;
    // RFC 8881 §18.42.2: the size is returned only if this operation changed it.
    Ok(ResOk { new_size: None })
}

/// Checks that the stateid is that of a layout for writing.
fn check(cx: &Context, ino: u64, client: u64, stateid: StateidValue) -> Result<(), Nfsstat4> {
    let held = cx.view()?.layout(ino, client).map_err(|e| status::of_refusal(&e))?;
    let held = held.filter(|held| held.other == stateid.other).ok_or(Nfsstat4::BadStateid)?;
    layout::state::check_commit(&held, stateid.seqid).map_err(|_| Nfsstat4::BadStateid)
}
