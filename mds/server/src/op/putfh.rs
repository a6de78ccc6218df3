//! PUTFH: makes a filehandle the current one.
//!
//! Spec: RFC 8881 §18.19.

use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::putfh::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.server.handles.open(args.filehandle.as_bytes()).map_err(|_| Nfsstat4::Badhandle)?;
    cx.export(handle)?;
    cx.put_current(handle);
    Ok(ResOk)
}
