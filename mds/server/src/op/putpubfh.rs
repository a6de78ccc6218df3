//! PUTPUBFH: makes the public filehandle, which is the root current.
//!
//! Spec: RFC 8881 §18.20.

use wire_nfs::v4::ops::putpubfh::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::export_tree;

pub(crate) async fn run_op(cx: &mut Context, _: Args) -> OpResult<ResOk> {
    let root = export_tree::root(&cx.server.exports(), &cx.view()?, cx.peer)?;
    cx.export(root)?;
    cx.put_current(root);
    Ok(ResOk)
}
