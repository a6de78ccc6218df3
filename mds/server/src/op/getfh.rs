//! GETFH: the current filehandle.
//!
//! Spec: RFC 8881 §18.8.

use wire_nfs::v4::ops::getfh::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, _: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    Ok(ResOk { filehandle: cx.server.wire_handle(handle) })
}
