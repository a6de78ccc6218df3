//! LAYOUTSTATS: a client's I/O through its layout. Counted, not kept.
//!
//! Spec: RFC 7862 §15.7; RFC 8435 §10.

use wire_nfs::v4::ops::layoutstats::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    cx.current()?;
    cx.client()?;
    cx.server.metrics.layout_stats(args.read.bytes, args.write.bytes);
    Ok(ResOk)
}
