//! SAVEFH: keeps the current filehandle and stateid for later.
//!
//! Spec: RFC 8881 §18.28.

use wire_nfs::v4::ops::savefh::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, _: Args) -> OpResult<ResOk> {
    cx.saved = Some(cx.current()?);
    cx.saved_stateid = cx.current_stateid;
    Ok(ResOk)
}
