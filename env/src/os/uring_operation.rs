//! One operation on its way through a ring: what it asks next, and what an answer means.
//!
//! An operation owns its buffers and its file. It may take several rounds (short transfers, more
//! buffers than one call takes); a round is one submission, or two where a write is linked to a
//! sync.
//!
//! INVARIANT: between a round's entries and its last completion the operation is neither moved out
//! of its table nor dropped, so what the entries point to stays where it is.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use io_uring::{opcode, squeue, types};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::file_calls::WriteCursor;
use crate::limits::TRANSFER_BYTES_MAX;

/// What is to be done with a file.
pub(super) enum Act {
    /// Fill `buffer` up to `len` bytes; it may hold some already.
    Read { buffer: BytesMut, offset: u64, len: usize },
    /// Write all the cursor holds, then sync if asked.
    Write {
        cursor: WriteCursor,
        /// What the entries under way point to.
        vectors: Vec<libc::iovec>,
        then_sync: bool,
    },
    /// Sync.
    Sync,
}

impl Act {
    pub(super) fn write(cursor: WriteCursor, then_sync: bool) -> Self {
        Self::Write { cursor, vectors: Vec::new(), then_sync }
    }
}

// SAFETY: the vectors point into the cursor's buffers, which are `Send`, travel with them, and are
// only read.
unsafe impl Send for Act {}

/// An operation.
pub(super) struct Operation {
    file: Arc<fs::File>,
    act: Act,
    reply: oneshot::Sender<io::Result<Bytes>>,
    /// Completions of this round still to come.
    awaited: u8,
    /// What this round answered so far: the transfer, and the sync.
    transfer: Option<i32>,
    sync: Option<i32>,
    /// The caller's place in the queue.
    _place: OwnedSemaphorePermit,
}

/// Which entry of a round a completion belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Transfer,
    Sync,
}

/// What to do after a round.
pub(super) enum Next {
    /// The round is not over.
    Wait,
    /// Start another round.
    Again,
    /// Answer the caller.
    Done(io::Result<Bytes>),
}

impl Operation {
    pub(super) fn new(
        file: Arc<fs::File>,
        act: Act,
        reply: oneshot::Sender<io::Result<Bytes>>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { file, act, reply, awaited: 0, transfer: None, sync: None, _place: place }
    }

    pub(super) fn answer(self, result: io::Result<Bytes>) {
        // A caller that went away does not want the answer.
        let _ = self.reply.send(result);
    }

    /// The entries of the next round: one, or a write linked to a sync. `tag` gives each part its
    /// user data.
    pub(super) fn begin(&mut self, tag: impl Fn(Part) -> u64) -> (squeue::Entry, Option<squeue::Entry>) {
        assert!(self.awaited == 0, "one round at a time");
        (self.transfer, self.sync) = (None, None);
        let fd = types::Fd(self.file.as_raw_fd());
        let sync = || opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        let (first, second) = match &mut self.act {
            Act::Read { buffer, offset, len } => {
                let (start, at) = (buffer.len(), *offset + buffer.len() as u64);
                let room = buffer.spare_capacity_mut();
                let want = (*len - start).min(TRANSFER_BYTES_MAX).min(room.len());
                let want = u32::try_from(want).expect("at most TRANSFER_BYTES_MAX");
                let read = opcode::Read::new(fd, room.as_mut_ptr().cast(), want).offset(at);
                (read.build().user_data(tag(Part::Transfer)), None)
            }
            Act::Write { cursor, then_sync, .. } if cursor.is_done() => {
                assert!(*then_sync, "a finished write without a sync has no further round");
                (sync().user_data(tag(Part::Sync)), None)
            }
            Act::Write { cursor, vectors, then_sync } => {
                *vectors = cursor.vectors();
                let count = u32::try_from(vectors.len()).expect("at most WRITE_BUFFERS_MAX");
                let write = opcode::Writev::new(fd, vectors.as_ptr(), count).offset(cursor.offset());
                let write = write.build().user_data(tag(Part::Transfer));
                // A link breaks on a short write, so the sync never covers half of the data.
                if *then_sync && cursor.ends_with(vectors) {
                    let sync = sync().user_data(tag(Part::Sync));
                    (write.flags(squeue::Flags::IO_LINK), Some(sync))
                } else {
                    (write, None)
                }
            }
            Act::Sync => (sync().user_data(tag(Part::Sync)), None),
        };
        self.awaited = if second.is_some() { 2 } else { 1 };
        (first, second)
    }

    /// Tells the caller that the ring failed, and leaks what the kernel may still be using.
    pub(super) fn abandon(self) {
        let Self { file, act, reply, .. } = self;
        let _ = reply.send(Err(io::Error::other("the ring failed")));
        std::mem::forget((file, act));
    }

    /// Takes a completion's result.
    pub(super) fn complete(&mut self, part: Part, result: i32) -> Next {
        assert!(0 < self.awaited, "a completion belongs to a round");
        self.awaited -= 1;
        match part {
            Part::Transfer => self.transfer = Some(result),
            Part::Sync => self.sync = Some(result),
        }
        if 0 < self.awaited { Next::Wait } else { self.judge() }
    }

    fn judge(&mut self) -> Next {
        let moved = match self.transfer.map(usize::try_from) {
            Some(Ok(moved)) => Some(moved),
            Some(Err(_)) => return failure(self.transfer.unwrap_or(0)),
            None => None,
        };
        match (&mut self.act, moved) {
            (Act::Read { buffer, len, .. }, Some(moved)) => {
                assert!(buffer.len() + moved <= *len, "the kernel read more than there was room for");
                // SAFETY: the completed read has just written `moved` bytes behind those that were
                // there.
                unsafe { buffer.set_len(buffer.len() + moved) };
                if 0 < moved && buffer.len() < *len {
                    return Next::Again;
                }
                Next::Done(Ok(std::mem::take(buffer).freeze()))
            }
            (Act::Write { .. }, Some(0)) => Next::Done(Err(io::ErrorKind::WriteZero.into())),
            (Act::Write { cursor, then_sync, .. }, Some(moved)) => {
                cursor.advance(moved);
                match self.sync {
                    _ if !cursor.is_done() => Next::Again,
                    Some(synced) if synced < 0 => failure(synced),
                    // The last bytes went without a linked sync.
                    None if *then_sync => Next::Again,
                    _ => Next::Done(Ok(Bytes::new())),
                }
            }
            (_, None) => match self.sync {
                Some(synced) if synced < 0 => failure(synced),
                _ => Next::Done(Ok(Bytes::new())),
            },
            (Act::Sync, Some(_)) => unreachable!("a sync has no transfer"),
        }
    }
}

fn failure(result: i32) -> Next {
    match -result {
        libc::EINTR | libc::EAGAIN => Next::Again,
        code => Next::Done(Err(io::Error::from_raw_os_error(code))),
    }
}
