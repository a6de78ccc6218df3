//! LOOKUPP: from a directory to its parent.
//!
//! Spec: RFC 8881 §18.14.

use mds_namespace::Kind;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::lookupp::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::export_tree;

pub(crate) async fn run_op(cx: &mut Context, _: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let view = cx.view()?;
    let inode = cx.inode(&view, handle)?;
    match inode.kind {
        Kind::Directory => {}
        // RFC 8881 §15.1.2.9: the status for an operation that does not accept a symbolic link.
        Kind::Symlink => return Err(Nfsstat4::Symlink.into()),
        _ => return Err(Nfsstat4::Notdir.into()),
    }
    let parent = export_tree::step_up(&cx.server.exports(), &view, cx.peer, handle, &inode)?;
    cx.export(parent)?;
    cx.put_current(parent);
    Ok(ResOk)
}
