//! RESTOREFH: the saved filehandle and stateid become current again.
//!
//! Spec: RFC 8881 §18.27.

use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::restorefh::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, _: Args) -> OpResult<ResOk> {
    let handle = cx.saved.ok_or(Nfsstat4::Nofilehandle)?;
    cx.put_current(handle);
    cx.current_stateid = cx.saved_stateid;
    Ok(ResOk)
}
