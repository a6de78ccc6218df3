//! The length of a file: truncation, and growth by writes that went to data servers.
//!
//! Shrinking a file with extents raises the epochs of all it cuts and queues the work for their
//! primaries. Growing leaves a hole and needs no work, if the size is settled. Else a client may
//! have written past the new end already, and the primaries cut there too, whatever size the inode
//! has.
//!
//! Spec: RFC 8881 §18.30.3, §18.42; POSIX.1-2024 `ftruncate`; docs/protocol/sizes.md.

use layout::EXTENT_BYTES;

use crate::inode::{Caller, Content, Ino, Inode, Timestamp};
use crate::inode_table;
use crate::limits::FILE_BYTES_MAX;
use crate::op::extent;
use crate::op::queue::{Action, queue_work};
use crate::op::{inline, settle};
use crate::store::{Txn, View};
use crate::work::{Truncation, WorkItem};
use crate::{ExtentRecord, FsError, unsettled};

/// Sets the length. The caller has checked permissions, kind and bound; it writes `inode` and its
/// times.
pub(crate) fn resize(
    txn: &mut dyn Txn,
    inode: &mut Inode,
    size_bytes: u64,
) -> Result<Option<Truncation>, FsError> {
    assert!(inode.is_regular(), "the caller has checked the kind");
    assert!(size_bytes <= FILE_BYTES_MAX, "the caller has checked the bound");
    let (grows, seems_cut) = (inode.size_bytes < size_bytes, inode.size_bytes == size_bytes);
    inode.size_bytes = size_bytes;
    let is_settled = unsettled::unsettled(txn, inode.ino)?.is_none();
    if grows && is_settled {
        return Ok(None);
    }
    if !is_settled {
        settle::cut(txn, inode.ino, size_bytes)?;
    }
    match inode.content {
        Content::Inline => {
            assert!(is_settled, "layouts are for extents");
            let mut bytes = inline::stored(txn, inode.ino)?;
            if size_bytes < bytes.len() as u64 {
                bytes.truncate(usize::try_from(size_bytes).expect("below a length in memory"));
                inline::put(txn, inode, &bytes)?;
            }
            Ok(None)
        }
        Content::Extents => {
            inode.used_bytes = inode.used_bytes.min(size_bytes);
            let truncation = cut_extents(txn, inode.ino, size_bytes, seems_cut)?;
            Ok((truncation != Truncation::default()).then_some(truncation))
        }
    }
}

/// Queues the work of a truncation. Cuts all records behind the end, also those without known
/// bytes, and also if the file seems to be that short already: a client may have written there
/// without reporting it yet.
fn cut_extents(txn: &mut dyn Txn, ino: Ino, size_bytes: u64, seems_cut: bool) -> Result<Truncation, FsError> {
    let mut truncation = Truncation::default();
    let Ok(first_index) = u32::try_from(size_bytes / EXTENT_BYTES) else { return Ok(truncation) };
    for record in extent::extents(txn, ino, first_index, usize::MAX)? {
        // Cut also where nothing is left: a DROP would fence the client that cuts, which may
        // continue to write.
        let keep_bytes = size_bytes.saturating_sub(record.extent.first_byte());
        assert!(keep_bytes < EXTENT_BYTES, "an extent that ends before the new end is not cut");
        // A client that got DELAY sends its request again: the cut under way continues, and is not
        // queued twice.
        if seems_cut && is_being_cut(txn, &record, keep_bytes)? {
            continue;
        }
        let queued = queue_work(txn, record, Action::Cut { keep_bytes, fences: false })?;
        match queued.action.keep_bytes() {
            0 => truncation.dropped.push((queued.number, queued.record)),
            keep_bytes => {
                assert!(truncation.cut.is_none(), "the new end lies in one extent");
                truncation.cut = Some((queued.number, queued.record, keep_bytes));
            }
        }
    }
    Ok(truncation)
}

/// Whether a pending cut leaves at most this much of an extent.
fn is_being_cut(view: &dyn View, record: &ExtentRecord, keep_bytes: u64) -> Result<bool, FsError> {
    let Some(number) = record.pending_work else { return Ok(false) };
    let item = extent::item(view, number)?;
    Ok(
        matches!(item, Some(WorkItem::Cut { keep_bytes: kept, .. } | WorkItem::Prove { keep_bytes: kept, .. }) if kept <= keep_bytes),
    )
}

/// What is known of bytes that reached data servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grown<'a> {
    /// The file is at least this long now; `None` if not reported.
    pub end_bytes: Option<u64>,
    /// When it was modified; `None` for the time of the command.
    pub mtime: Option<Timestamp>,
    /// The writer, if known: a write by any user but the superuser clears the file's set-id bits.
    pub caller: Option<&'a Caller>,
}

/// Records that bytes reached data servers: LAYOUTCOMMIT, writes in band, and a size queried from a
/// primary.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::IsDirectory`], [`FsError::WrongKind`], [`FsError::TooLarge`],
/// [`FsError::Invalid`] for an invalid time, [`FsError::ContentMoved`] if the content is not in
/// extents.
pub fn grow(txn: &mut dyn Txn, ino: Ino, grown: &Grown<'_>, now: Timestamp) -> Result<Inode, FsError> {
    let mut inode = inode_table::regular(txn, ino)?;
    if inode.content != Content::Extents {
        return Err(FsError::ContentMoved);
    }
    let end_bytes = grown.end_bytes.unwrap_or(0);
    if FILE_BYTES_MAX < end_bytes {
        return Err(FsError::TooLarge);
    }
    if grown.mtime.is_some_and(|mtime| mtime.nanos >= 1_000_000_000) {
        return Err(FsError::Invalid);
    }
    if inode.size_bytes < end_bytes {
        inode.used_bytes = (inode.used_bytes + (end_bytes - inode.size_bytes)).min(end_bytes);
        inode.size_bytes = end_bytes;
    }
    if grown.caller.is_some_and(|caller| !caller.is_superuser()) {
        inode.drop_set_id();
    }
    // Programs treat a file without blocks as one without bytes. How much of a hole was filled is
    // not known here.
    inode.used_bytes = inode.used_bytes.max(inode.size_bytes.min(1));
    assert!(end_bytes <= inode.size_bytes, "a file that grew holds its last byte");
    inode.modified(now);
    inode.mtime = grown.mtime.unwrap_or(now);
    inode_table::put(txn, &inode)?;
    Ok(inode)
}
