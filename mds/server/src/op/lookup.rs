//! LOOKUP: from a directory to the object of a name.
//!
//! Spec: RFC 8881 §18.13.

use wire_nfs::v4::ops::lookup::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::name::Name;
use crate::{export_tree, status};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let directory = cx.current()?;
    let view = cx.view()?;
    let name = Name::check(&args.name)?;
    let caller = cx.caller_at(directory)?;
    let inode = mds_namespace::op::lookup::lookup(view.namespace(), &caller, directory.ino, name)
        .map_err(|e| status::of_namespace(&e))?;
    let handle = export_tree::step_down(&cx.server.exports(), &view, cx.peer, directory, &inode)?;
    cx.export(handle)?;
    cx.put_current(handle);
    Ok(ResOk)
}
