//! VERIFY: continues the compound if the attributes are the same.
//!
//! Spec: RFC 8881 §18.31.

use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::verify::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let same = cx.attributes_are(&args.attributes).await?;
    if !same { Err(Nfsstat4::NotSame.into()) } else { Ok(ResOk) }
}
