//! READ.
//!
//! Bytes below the file's end that no client wrote read as zeros. Of the file's end this server
//! knows a lower bound: the larger of the end of what it holds and the size in the handle, or, if
//! the handle is older than a CUT, the point of that cut. A range that reaches beyond is answered
//! only after the metadata server has said where the file ends now.
//!
//! QUIRK(linux): an answer with `eof` makes O_DIRECT readers stop, and layouts for reading outlive
//! the growth of a file; so an answer says `eof` only of an end that this server asked for after
//! the READ came. One without bytes and without `eof` is an I/O error to the client.
//!
//! Bytes that the journal cannot give are restored from a replica while the client waits.
//!
//! Spec: RFC 1813 §3.3.6; RFC 8435 §6; docs/protocol/sizes.md §6.

use std::sync::Arc;

use bytes::Bytes;
use ds_store::{Found, ReadError, Store};
use env::Clock;
use env_transport::{Connection, Room};
use layout::{DsHandle, Role};
use wire_nfs::v3::{Nfsstat3, read};

use crate::access::{Gate, Wanted, offset_in_extent};
use crate::images::Images;
use crate::limits::{READ_WAIT_MS_MAX, TRANSFER_BYTES_MAX};
use crate::metadata::MetadataQueries;
use crate::reader::{Answer, read_at_rest};
use crate::restore::Restorer;
use crate::scrub::wanted::Wanted as ScrubWanted;
use crate::status;

/// What READs are answered from.
pub(crate) struct Source {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) store: Store,
    pub(crate) images: Arc<Images>,
    pub(crate) queries: MetadataQueries,
    pub(crate) restorer: Arc<Restorer>,
    pub(crate) wanted: Arc<ScrubWanted>,
}

impl Source {
    /// Carries out a READ. The room that its bytes take is the answer's, until the client has taken
    /// them.
    ///
    /// # Errors
    /// The status that says why not.
    pub(crate) async fn read(
        &self,
        connection: &Connection,
        args: &read::Args,
    ) -> Result<(Answer, Room), Nfsstat3> {
        let from = connection.peer().ip();
        let handle = self.gate.admit_request(&args.file, Wanted::Read, from).await?;
        let extent = handle.extent;
        let offset = offset_in_extent(extent, args.offset).ok_or(Nfsstat3::Inval)?;
        assert!(offset <= ds_store::limits::EXTENT_BYTES, "a READ begins in its extent");
        let room = ds_store::limits::EXTENT_BYTES - offset;
        let count = args.count.min(TRANSFER_BYTES_MAX).min(room);
        let room = self.wait_for_room(connection, count).await?;
        let answer = if handle.role == Role::Reader {
            read_at_rest(&self.queries, &self.images, &handle, offset, count).await?
        } else {
            self.read_as_primary(&handle, args, offset, count).await?
        };
        assert!(answer.bytes <= u64::from(count), "an answer fits the room that was reserved");
        Ok((answer, room))
    }

    /// Reads from the store of the server that is primary.
    async fn read_as_primary(
        &self,
        handle: &DsHandle,
        args: &read::Args,
        offset: u32,
        count: u32,
    ) -> Result<Answer, Nfsstat3> {
        let found = self.read_store(handle, offset, count).await?;
        let wanted_end = args.offset + u64::from(found.bytes);
        let is_empty = found.bytes == 0 && 0 < args.count;
        if !is_empty && wanted_end <= end_at_least(handle, &found) {
            return Ok(Answer { bytes: u64::from(found.bytes), data: found.data, eof: false });
        }
        // In this order: what was written before the metadata server said the end is in what is
        // read afterwards.
        let file_end = self.queries.file_end(handle.extent).await?;
        let found = self.read_store(handle, offset, count).await?;
        let bytes = u64::from(found.bytes).min(file_end.saturating_sub(args.offset));
        let mut data = found.data;
        truncate_pieces(&mut data, bytes);
        Ok(Answer { data, bytes, eof: file_end <= args.offset + bytes })
    }

    /// Reads what the store has; bytes that it has not read as zeros.
    async fn read_store(&self, handle: &DsHandle, offset: u32, count: u32) -> Result<Found, Nfsstat3> {
        let extent = handle.extent;
        let mut found = self.store.read(extent, handle.epoch, offset, count).await;
        if let Err(error @ (ReadError::Log(_) | ReadError::ImageRecord(_))) = &found {
            // The rest of the extent may be as bad.
            self.wanted.request_check(extent);
            tracing::warn!(
                %extent, offset, count, %error,
                "bytes that a client reads are bad: they are fetched from a replica"
            );
            match self.restorer.restore_range(extent, offset, count).await {
                Ok(()) => found = self.store.read(extent, handle.epoch, offset, count).await,
                Err(why) => {
                    tracing::error!(%extent, offset, count, %why, "bytes that a client reads stay bad")
                }
            }
        }
        // A replica may have become primary since this server has reported that its disk failed.
        if self.gate.serving.has_failed() {
            return Err(Nfsstat3::Stale);
        }
        found.map_err(|error| status::of_read(&error))
    }

    /// Waits until there is room for the answer in memory.
    async fn wait_for_room(&self, connection: &Connection, count: u32) -> Result<Room, Nfsstat3> {
        let bytes = usize::try_from(count).expect("at most a transfer");
        tokio::select! {
            biased;
            room = connection.reserve(bytes) => room.ok_or(Nfsstat3::Jukebox),
            () = self.clock.sleep_ms(READ_WAIT_MS_MAX) => Err(Nfsstat3::Jukebox),
        }
    }
}

/// How far the file reaches at least.
fn end_at_least(handle: &DsHandle, found: &Found) -> u64 {
    let first = handle.extent.first_byte();
    let held_end = if found.end == 0 { 0 } else { first + u64::from(found.end) };
    let believed_end = found.cut.map_or(handle.size_hint_bytes, |keep| first + u64::from(keep));
    believed_end.max(held_end)
}

/// Drops what is behind the first `bytes` bytes.
fn truncate_pieces(data: &mut Vec<Bytes>, bytes: u64) {
    let mut left = usize::try_from(bytes).expect("at most a transfer");
    data.retain_mut(|piece| {
        piece.truncate(left);
        left -= piece.len();
        !piece.is_empty()
    });
    assert_eq!(left, 0, "the pieces hold the bytes that stay");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_at_the_end() {
        let all = || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"f")];
        for (bytes, expected) in [(0, 0), (2, 1), (3, 1), (4, 2), (6, 3)] {
            let mut data = all();
            truncate_pieces(&mut data, bytes);
            assert_eq!(data.len(), expected);
            assert_eq!(data.concat(), b"abcdef"[..bytes as usize]);
        }
    }
}
