//! SECINFO: the security flavours of a name: AUTH_SYS only.
//!
//! Spec: RFC 8881 §18.29, §2.6.3.1 (the operation consumes the current filehandle).

use wire_nfs::v4::ops::secinfo::{Args, ResOk, Secinfo};

use crate::context::{Context, OpResult};
use crate::name::Name;
use crate::{export_tree, status};

const AUTH_SYS: u32 = 1;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let directory = cx.current()?;
    let view = cx.view()?;
    let caller = cx.caller_at(directory)?;
    let name = Name::check(&args.name)?;
    let inode = mds_namespace::op::lookup::lookup(view.namespace(), &caller, directory.ino, name)
        .map_err(|e| status::of_namespace(&e))?;
    export_tree::step_down(&cx.server.exports(), &view, cx.peer, directory, &inode)?;
    Ok(consume(cx))
}

/// Returns the flavours and clears the current filehandle.
pub(crate) fn consume(cx: &mut Context) -> ResOk {
    cx.current = None;
    cx.current_stateid = None;
    ResOk { flavors: vec![Secinfo::Flavor(AUTH_SYS)] }
}
