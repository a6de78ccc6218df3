//! SECINFO_NO_NAME: as SECINFO, for the current object or its parent.
//!
//! Spec: RFC 8881 §18.45.

use mds_namespace::Kind;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::secinfo_no_name::{Args, ResOk, Style};

use super::secinfo::consume;
use crate::context::{Context, OpResult};
use crate::export_tree;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    if args.style == Style::Parent {
        let view = cx.view()?;
        let inode = cx.inode(&view, handle)?;
        if inode.kind != Kind::Directory {
            return Err(Nfsstat4::Notdir.into());
        }
        export_tree::step_up(&cx.server.exports(), &view, cx.peer, handle, &inode)?;
    }
    Ok(consume(cx))
}
