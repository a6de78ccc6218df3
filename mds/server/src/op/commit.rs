//! COMMIT in band: every WRITE served here was answered FILE_SYNC, so there is nothing left to make
//! durable.
//!
//! Spec: RFC 8881 §18.3.

use mds_namespace::Kind;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::commit::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    cx.writer_at(handle)?;
    let view = cx.view()?;
    match cx.inode(&view, handle)?.kind {
        Kind::Regular => {}
        Kind::Directory => return Err(Nfsstat4::Isdir.into()),
        Kind::Symlink | Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => {
            return Err(Nfsstat4::WrongType.into());
        }
    }
    if args.offset.checked_add(u64::from(args.count)).is_none() {
        return Err(Nfsstat4::Inval.into());
    }
    Ok(ResOk { verifier: cx.server.write_verifier })
}
