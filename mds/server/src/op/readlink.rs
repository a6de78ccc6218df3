//! READLINK: the target of a symbolic link.
//!
//! Spec: RFC 8881 §18.24.

use bytes::Bytes;
use mds_namespace::Kind;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::readlink::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::status;

pub(crate) async fn run_op(cx: &mut Context, _: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let view = cx.view()?;
    let inode = cx.inode(&view, handle)?;
    if inode.kind != Kind::Symlink {
        return Err(Nfsstat4::WrongType.into());
    }
    let target = mds_namespace::op::readlink::readlink(view.namespace(), handle.ino)
        .map_err(|e| status::of_namespace(&e))?;
    cx.note_access(handle, &inode);
    Ok(ResOk { link: Bytes::from(target) })
}
