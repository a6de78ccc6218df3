//! GETATTR: attributes of the current object. Where other clients write through layouts, the data
//! servers are queried for the size first.
//!
//! Spec: RFC 8881 §18.7; §12.5.4 (size and layouts).

use wire_nfs::v4::ops::getattr::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let attributes = cx.attributes(handle, &args.requested).await?;
    Ok(ResOk { attributes })
}
