//! DELEGRETURN: no delegations are granted, so no stateid can name one.
//!
//! Spec: RFC 8881 §18.6.

use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::delegreturn::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, _: Args) -> OpResult<ResOk> {
    cx.current()?;
    Err(Nfsstat4::BadStateid.into())
}
