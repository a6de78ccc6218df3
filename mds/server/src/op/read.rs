//! READ in band: for small files, for clients without layouts, and when a client cannot reach a
//! data server.
//!
//! Spec: RFC 8881 §18.22.

use mds_namespace::op::access::{self, Permission};
use mds_namespace::{Inode, Kind};
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::ops::read::{Args, ResOk};
use wire_nfs::v4::{Nfsstat4, Stateid};

use crate::context::{Context, OpResult};
use crate::limits::{READ_ATTEMPTS_MAX, TRANSFER_BYTES_MAX};
use crate::{content, status};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let inode = {
        let view = cx.view()?;
        let inode = cx.inode(&view, handle)?;
        check_kind(&inode)?;
        check_right(cx, &inode, args.stateid, false)?;
        inode
    };
    let count = u64::from(args.count.min(TRANSFER_BYTES_MAX));
    for _ in 0..READ_ATTEMPTS_MAX {
        // In this order: a cut after this read raises epochs.
        let before = content::epochs(&cx.server, inode.ino, (args.offset, count))?;
        let inode = cx.server.derived(inode.clone()).await?;
        let answered = inode.size_bytes.saturating_sub(args.offset).min(count);
        let answered = u32::try_from(answered).expect("at most a transfer");
        let room = cx.server.answer_room.reserve_bytes(&cx.connection, answered).await?;
        let (data, eof) = content::read(&cx.server, &inode, args.offset, count).await?;
        // Otherwise the length may be from before a cut and the bytes from after it: zeros that no
        // client wrote.
        if content::epochs(&cx.server, inode.ino, (args.offset, count))? == before {
            cx.answer_room.push(room);
            cx.server.metrics.data_read(data.len());
            cx.note_access(handle, &inode);
            return Ok(ResOk { eof, data });
        }
    }
    Err(Nfsstat4::Delay.into())
}

/// READ and WRITE are for regular files.
pub(crate) fn check_kind(inode: &Inode) -> Result<(), Nfsstat4> {
    match inode.kind {
        Kind::Regular => Ok(()),
        Kind::Directory => Err(Nfsstat4::Isdir),
        Kind::Symlink => Err(Nfsstat4::Symlink),
        Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => Err(Nfsstat4::WrongType),
    }
}

/// A stateid of an open or lock carries the right; the anonymous ones need the mode's permission.
pub(crate) fn check_right(
    cx: &Context,
    inode: &Inode,
    stateid: Stateid,
    write: bool,
) -> Result<(), Nfsstat4> {
    let view = cx.view()?;
    if stateid == Stateid::ANONYMOUS || stateid == Stateid::READ_BYPASS {
        if view.anonymous_io_denied(inode.ino, write).map_err(|e| status::of_refusal(&e))? {
            return Err(Nfsstat4::Locked);
        }
        return check_mode(cx, inode, if write { Permission::WRITE } else { Permission::READ });
    }
    let stateid = cx.resolve(stateid)?;
    let right = view.io_right(cx.client()?, inode.ino, stateid, write).map_err(|e| status::of_refusal(&e))?;
    if !write && right.share.access & share::ACCESS_READ == 0 {
        // RFC 8881 §18.22.3: an open for writing alone may be read through, since clients have to
        // fill a block that they write in part; the file's mode decides whether this user may.
        return check_mode(cx, inode, Permission::READ);
    }
    Ok(())
}

/// Checks that the mode lets the caller read or write.
pub(crate) fn check_mode(cx: &Context, inode: &Inode, want: Permission) -> Result<(), Nfsstat4> {
    let caller = cx.caller_at(cx.current()?)?;
    // The owner always may: its open may have been granted before the mode forbade it.
    if caller.owns(inode) {
        return Ok(());
    }
    access::check(inode, &caller, want).map_err(|e| status::of_namespace(&e))
}
