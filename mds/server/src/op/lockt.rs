//! LOCKT: tests whether a lock would be granted.
//!
//! Spec: RFC 8881 §18.11.

use mds_namespace::Kind;
use mds_state::command::lock::Range;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::lockt::{Args, ResOk};

use super::lock::denied;
use crate::context::{Context, OpResult};
use crate::{give_way, status};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let range = Range { offset_bytes: args.offset, length_bytes: args.length };
    give_way::give_way_to_lock(&cx.server, handle.ino, range, args.lock_type.is_write()).await;
    let view = cx.view()?;
    match cx.inode(&view, handle)?.kind {
        Kind::Regular => {}
        Kind::Directory => return Err(Nfsstat4::Isdir.into()),
        Kind::Symlink | Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => {
            return Err(Nfsstat4::WrongType.into());
        }
    }
    let conflict = view
        .lock_conflict(handle.ino, range, args.lock_type.is_write(), cx.client()?, &args.owner.owner)
        .map_err(|e| status::of_refusal(&e))?;
    match conflict {
        None => Ok(ResOk),
        Some(conflict) => Err(denied(&conflict, cx.client()?)),
    }
}
