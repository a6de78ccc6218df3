//! READ.
//!
//! What lies below the file's end and was never written reads as zeros. Where the file ends, this
//! server knows a lower bound of: the larger of the end of what it holds and the size in the
//! handle, or, if the handle is older than a CUT, the point of that cut. A range that reaches
//! beyond is answered only after the metadata server has said where the file ends now.
//!
//! QUIRK(linux): an answer with `eof` makes O_DIRECT readers stop, and layouts for reading outlive
//! the growth of a file; so `eof` is said only of an end that was asked for after the READ came.
//! One without bytes and without `eof` is an I/O error to the client.
//!
//! Bytes that the journal cannot give are fetched from a replica while the client waits, and are
//! good here afterwards.
//!
//! Spec: RFC 1813 §3.3.6; RFC 8435 §6; docs/protocol/sizes.md §6.

use std::sync::Arc;

use bytes::Bytes;
use ds_store::{Found, ReadError};
use env_transport::{Connection, Room};
use layout::{DsHandle, Role};
use wire_nfs::v3::{Nfsstat3, read};

use crate::access;
use crate::answer::Answer;
use crate::core::Core;
use crate::limits::{READ_WAIT_MS_MAX, TRANSFER_BYTES_MAX};
use crate::{metadata, reader, restore, status};

/// Carries out a READ. The room that its bytes take is the answer's, until the client has taken
/// them.
///
/// # Errors
/// The status that says why not.
pub(crate) async fn run(
    core: &Arc<Core>,
    connection: &Connection,
    args: &read::Args,
) -> Result<(Answer, Room), Nfsstat3> {
    let from = connection.peer().ip();
    let handle = access::admit(core, &args.file, access::Wanted::Read, from).await?;
    let extent = handle.extent;
    let offset = access::within(extent, args.offset).ok_or(Nfsstat3::Inval)?;
    let room = ds_store::limits::EXTENT_BYTES - offset;
    let count = args.count.min(TRANSFER_BYTES_MAX).min(room);
    let room = turn(core, connection, count).await?;
    let answer = if handle.role == Role::Reader {
        reader::read(core, &handle, offset, count).await?
    } else {
        from_home(core, &handle, args, offset, count).await?
    };
    Ok((answer, room))
}

/// Reads from the store of the one that serves the extent.
async fn from_home(
    core: &Arc<Core>,
    handle: &DsHandle,
    args: &read::Args,
    offset: u32,
    count: u32,
) -> Result<Answer, Nfsstat3> {
    let found = look(core, handle, offset, count).await?;
    let wanted_end = args.offset + u64::from(found.bytes);
    let is_empty = found.bytes == 0 && 0 < args.count;
    if !is_empty && wanted_end <= end_at_least(handle, &found) {
        return Ok(Answer { bytes: u64::from(found.bytes), data: found.data, eof: false });
    }
    // In this order: what was written before the end was asked for is in what is read behind it.
    let file_end = metadata::file_end(core, handle.extent).await?;
    let found = look(core, handle, offset, count).await?;
    let bytes = u64::from(found.bytes).min(file_end.saturating_sub(args.offset));
    let mut data = found.data;
    truncate(&mut data, bytes);
    Ok(Answer { data, bytes, eof: file_end <= args.offset + bytes })
}

/// Reads what the store has; what it has not reads as zeros.
async fn look(core: &Arc<Core>, handle: &DsHandle, offset: u32, count: u32) -> Result<Found, Nfsstat3> {
    let extent = handle.extent;
    let mut found = core.store.read(extent, handle.epoch, offset, count).await;
    if let Err(error @ (ReadError::Log(_) | ReadError::ImageRecord(_))) = &found {
        // The rest of the extent may be as bad.
        core.wanted.want(extent);
        tracing::warn!(%extent, offset, count, %error, "bytes that a client reads are bad: they are fetched from a replica");
        match restore::range(core, extent, offset, count).await {
            Ok(()) => found = core.store.read(extent, handle.epoch, offset, count).await,
            Err(why) => tracing::error!(%extent, offset, count, %why, "bytes that a client reads stay bad"),
        }
    }
    // A replica may have become primary since this server has reported that its disk failed.
    if core.has_failed() {
        return Err(Nfsstat3::Stale);
    }
    found.map_err(|error| status::of_read(&error))
}

/// How far the file reaches at least.
fn end_at_least(handle: &DsHandle, found: &Found) -> u64 {
    let first = handle.extent.first_byte();
    let held_end = if found.end == 0 { 0 } else { first + u64::from(found.end) };
    let believed_end = found.cut.map_or(handle.size_hint_bytes, |keep| first + u64::from(keep));
    believed_end.max(held_end)
}

/// Waits until there is room for the answer in memory.
async fn turn(core: &Core, connection: &Connection, count: u32) -> Result<Room, Nfsstat3> {
    let bytes = usize::try_from(count).expect("at most a transfer");
    tokio::select! {
        biased;
        room = connection.reserve(bytes) => room.ok_or(Nfsstat3::Jukebox),
        () = core.env.clock.sleep_ms(READ_WAIT_MS_MAX) => Err(Nfsstat3::Jukebox),
    }
}

/// Drops what is behind the first `bytes` bytes.
fn truncate(data: &mut Vec<Bytes>, bytes: u64) {
    let mut left = usize::try_from(bytes).expect("at most a transfer");
    data.retain_mut(|piece| {
        piece.truncate(left);
        left -= piece.len();
        !piece.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_at_the_end() {
        let all = || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"f")];
        for (bytes, expected) in [(0, 0), (2, 1), (3, 1), (4, 2), (6, 3)] {
            let mut data = all();
            truncate(&mut data, bytes);
            assert_eq!(data.len(), expected);
            assert_eq!(data.concat(), b"abcdef"[..bytes as usize]);
        }
    }
}
