//! LAYOUTCOMMIT: bytes written through a layout become part of the file: size, mtime and change follow.
//!
//! Spec: RFC 8881 §18.42, §12.5.4.

use mds_namespace::Timestamp;
use mds_shard::command::layout::LayoutCommit;
use mds_shard::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::layoutcommit::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::pin;

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
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
    let client = cx.client()?;
    let mut mtime = args.time_modify.map(|t| Timestamp { seconds: t.seconds, nanos: t.nseconds });
    if mtime.is_none() && pin::holds(&cx.server, client, handle.ino).await {
        mtime = Some(cx.inode(&cx.view()?, handle)?.mtime);
    }
    let commit = LayoutCommit {
        client,
        ino: handle.ino,
        stateid: cx.resolve(args.stateid)?,
        end_bytes,
        mtime,
        caller: caller.clone(),
    };
    let Outcome::Inode(inode) = cx.propose(Command::LayoutCommit(commit)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    let Some(end_bytes) = end_bytes else { return Ok(ResOk { new_size: None }) };
    // The layout is being recalled, and the file may have been cut.
    let inode = if inode.size_bytes < end_bytes {
        cx.server.committed_end(*inode, end_bytes, caller).await?
    } else {
        *inode
    };
    Ok(ResOk { new_size: Some(inode.size_bytes) })
}
