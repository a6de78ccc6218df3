//! GETDEVICEINFO: the addresses of a data server.
//!
//! Spec: RFC 8881 §18.40; RFC 8435 §4.

use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::ops::getdeviceinfo::{Args, ResOk, TooSmall, notify};
use wire_nfs::v4::{Bitmap, Nfsstat4};
use wire_xdr::{Encode, Writer};

use crate::context::{Context, Failure, OpResult};
use crate::flexfile;

/// Length of the reply beside the address body: layout type, length of the body, bitmap.
const AROUND_BYTES: usize = 16;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    if args.layout_type != LayoutType::FLEX_FILES {
        return Err(Nfsstat4::UnknownLayouttype.into());
    }
    let address = flexfile::device_address(&cx.server, &args.device).ok_or(Nfsstat4::Noent)?;
    let needed = address.len() + AROUND_BYTES;
    // A maximum of zero only requests a change of notifications (RFC 8881 §18.40.3).
    if args.maxcount != 0 && usize::try_from(args.maxcount).is_ok_and(|max| max < needed) {
        let mut body = Writer::new();
        TooSmall { mincount: u32::try_from(needed).expect("an address body is short") }.encode(&mut body);
        return Err(Failure { status: Nfsstat4::Toosmall, body: Some(body) });
    }
    // QUIRK(linux): it keeps a device only if the reply names exactly CHANGE and DELETE, the ones
    // it requests.
    let notify = args.notify.intersect(&Bitmap::of(&[notify::CHANGE, notify::DELETE]));
    Ok(ResOk { layout_type: LayoutType::FLEX_FILES, address, notify })
}
