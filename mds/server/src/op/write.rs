//! WRITE in band. Always answered FILE_SYNC: small files are in the log, all others are synced on
//! their data server.
//!
//! Spec: RFC 8881 §18.32.

use mds_state::Outcome;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::write::{Args, ResOk, StableHow};

use super::read::{check_kind, check_right};
use crate::content;
use crate::context::{Context, OpResult};
use crate::limits::TRANSFER_BYTES_MAX;
use crate::status;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let caller = cx.writer_at(handle)?;
    let recorded = cx.recorded()?;
    if recorded.is_none() {
        let view = cx.view()?;
        let inode = cx.inode(&view, handle)?;
        check_kind(&inode)?;
        check_right(cx, &inode, args.stateid, true)?;
    }
    let count = args.data.len().min(usize::try_from(TRANSFER_BYTES_MAX).expect("1 MiB fits usize"));
    let data = args.data.slice(..count);
    let end = args.offset.checked_add(count as u64).ok_or(Nfsstat4::Inval)?;
    if layout::FILE_BYTES_MAX < end {
        return Err(Nfsstat4::Fbig.into());
    }
    if let Some(Outcome::Refused(refusal)) = &recorded {
        return Err(status::of_refusal(refusal).into());
    }
    // Bytes that were written before are not written again: another client may have overwritten
    // them since.
    if count > 0 && recorded.is_none() {
        let code = cx.code(handle)?;
        content::write(cx, caller, handle.ino, (args.offset, data), code).await?;
        cx.server.metrics.data_written(count);
    }
    Ok(ResOk {
        count: u32::try_from(count).expect("bounded by the transfer size"),
        committed: StableHow::FileSync,
        verifier: cx.server.write_verifier,
    })
}
