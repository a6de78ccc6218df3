//! ACCESS: what the caller may do with the current object.
//!
//! Spec: RFC 8881 §18.1.

use mds_namespace::op::access;
use wire_nfs::v4::ops::access::{Args, ResOk, bits};

use crate::context::{Context, OpResult};

const KNOWN: u32 = bits::READ | bits::LOOKUP | bits::MODIFY | bits::EXTEND | bits::DELETE | bits::EXECUTE;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let view = cx.view()?;
    let inode = cx.inode(&view, handle)?;
    let caller = cx.caller_at(handle)?;
    let asked = args.access & KNOWN;
    let mut access = access::granted(&inode, &caller).0;
    if cx.writer_at(handle).is_err() {
        access &= !(bits::MODIFY | bits::EXTEND | bits::DELETE);
    }
    // Bits without a meaning for the kind of object are not supported for it (RFC 8881 §18.1.3).
    let meaningful =
        if inode.is_directory() { KNOWN & !bits::EXECUTE } else { KNOWN & !(bits::LOOKUP | bits::DELETE) };
    let supported = asked & meaningful;
    Ok(ResOk { supported, access: access & supported })
}
