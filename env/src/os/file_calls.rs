//! System calls on one open file: positioned vectored I/O, sync, allocation. They block; who calls
//! them decides where.
//!
//! INVARIANT: a buffer handed to the kernel outlives the call, and bytes are only declared
//! initialised after the kernel said it wrote them.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use crate::OpenMode;
use crate::disk::Capacity;
use crate::limits::{TRANSFER_BYTES_MAX, WRITE_BUFFERS_MAX};

/// Opens a file as `mode` says.
pub(super) fn open(path: &Path, mode: OpenMode) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(mode.write).truncate(mode.truncate);
    if mode.create && mode.exclusive {
        options.create_new(true);
    } else {
        options.create(mode.create);
    }
    options.open(path)
}

/// What a transfer has left: the buffers, how many bytes of the first are done, and where the rest
/// goes.
pub(super) struct WriteCursor {
    data: Vec<Bytes>,
    first: usize,
    skip: usize,
    offset: u64,
}

impl WriteCursor {
    pub(super) fn new(data: Vec<Bytes>, offset: u64) -> Self {
        let mut cursor = Self { data, first: 0, skip: 0, offset };
        cursor.advance(0);
        cursor
    }

    pub(super) fn is_done(&self) -> bool {
        self.first == self.data.len()
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether these vectors, just made, hold all that is left.
    pub(super) fn ends_with(&self, vectors: &[libc::iovec]) -> bool {
        let left: usize = self.data[self.first..].iter().map(Bytes::len).sum::<usize>() - self.skip;
        left == vectors.iter().map(|vector| vector.iov_len).sum::<usize>()
    }

    /// Takes note that `done` more bytes were written, and steps over empty buffers.
    pub(super) fn advance(&mut self, done: usize) {
        self.offset += done as u64;
        let mut left = done;
        while let Some(buffer) = self.data.get(self.first) {
            let rest = buffer.len() - self.skip;
            if left < rest {
                self.skip += left;
                return;
            }
            left -= rest;
            self.first += 1;
            self.skip = 0;
        }
        assert!(left == 0, "the kernel wrote more than it was given");
    }

    /// The next call's vector, within the kernel's limits. Points into `self.data`: valid as long
    /// as `self` is neither advanced nor dropped.
    pub(super) fn vectors(&self) -> Vec<libc::iovec> {
        let mut vectors = Vec::with_capacity((self.data.len() - self.first).min(WRITE_BUFFERS_MAX));
        let (mut room, mut skip) = (TRANSFER_BYTES_MAX, self.skip);
        for buffer in self.data[self.first..].iter().take(WRITE_BUFFERS_MAX) {
            let part = &buffer[skip..];
            skip = 0;
            let len = part.len().min(room);
            vectors.push(libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: len });
            room -= len;
            if room == 0 {
                break;
            }
        }
        vectors
    }
}

fn check(result: i64) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn check_unit(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn file_offset(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Writes all that is left, going on after short writes and interruptions.
pub(super) fn write_all(fd: RawFd, cursor: &mut WriteCursor) -> io::Result<()> {
    while !cursor.is_done() {
        match write_some(fd, cursor, 0) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(done) => cursor.advance(done),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_some(fd: RawFd, cursor: &WriteCursor, flags: libc::c_int) -> io::Result<usize> {
    let vectors = cursor.vectors();
    let count = libc::c_int::try_from(vectors.len()).expect("at most WRITE_BUFFERS_MAX");
    let offset = file_offset(cursor.offset())?;
    // SAFETY: the vectors point into buffers that `cursor` keeps alive and unmoved over the call;
    // the kernel only reads them.
    check(unsafe { libc::pwritev2(fd, vectors.as_ptr(), count, offset, flags) } as i64)
}

/// Tries to write without waiting for anything: `true` when all is written. Where the file system
/// cannot tell in advance (ext4) or would have to wait, some or all is left in the cursor.
pub(super) fn write_nowait(fd: RawFd, cursor: &mut WriteCursor) -> io::Result<bool> {
    match write_some(fd, cursor, libc::RWF_NOWAIT) {
        Ok(done) => cursor.advance(done),
        Err(error) if may_wait(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(cursor.is_done())
}

fn may_wait(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::EINTR | libc::EINVAL))
}

/// Reads up to `len - buffer.len()` bytes behind those in `buffer`: how many, 0 at the end of the
/// file.
fn read_some(
    fd: RawFd,
    offset: u64,
    buffer: &mut BytesMut,
    len: usize,
    flags: libc::c_int,
) -> io::Result<usize> {
    let start = buffer.len();
    let offset = file_offset(offset + start as u64)?;
    let room = &mut buffer.spare_capacity_mut()[..(len - start).min(TRANSFER_BYTES_MAX)];
    let vector = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: the vector is the buffer's own spare room, borrowed over the call: no other
    // code sees it.
    let done = check(unsafe { libc::preadv2(fd, &raw const vector, 1, offset, flags) } as i64)?;
    assert!(start + done <= len, "the kernel read more than there was room for");
    // SAFETY: the kernel has just written `done` bytes behind the first `start`.
    unsafe { buffer.set_len(start + done) };
    Ok(done)
}

/// Reads until `buffer` holds `len` bytes or the file ends.
pub(super) fn read_all(fd: RawFd, offset: u64, buffer: &mut BytesMut, len: usize) -> io::Result<()> {
    while buffer.len() < len {
        match read_some(fd, offset, buffer, len, 0) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what the page cache holds, without waiting for the device: `true` when that was all (or
/// the file ended).
pub(super) fn read_nowait(fd: RawFd, offset: u64, buffer: &mut BytesMut, len: usize) -> io::Result<bool> {
    while buffer.len() < len {
        match read_some(fd, offset, buffer, len, libc::RWF_NOWAIT) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if may_wait(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Reserves a range; where the file system cannot, grows the file only.
pub(super) fn allocate(file: &fs::File, offset: u64, len: u64) -> io::Result<()> {
    // SAFETY: no memory is passed.
    match check_unit(unsafe { libc::fallocate(file.as_raw_fd(), 0, file_offset(offset)?, file_offset(len)?) })
    {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let end = offset + len;
            if file.metadata()?.len() < end { file.set_len(end) } else { Ok(()) }
        }
        answer => answer,
    }
}

/// Gives a range back. Where the file system cannot, zeros are not written: the caller asked for
/// room, not for zeros.
pub(super) fn punch(fd: RawFd, offset: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::fallocate(fd, mode, file_offset(offset)?, file_offset(len)?) })
}

/// Room that a file takes: the system counts it in 512 bytes whatever the size of a block.
pub(super) fn stored_bytes(known: &fs::Metadata) -> u64 {
    known.blocks() * 512
}

/// Starts writeback of a range.
pub(super) fn start_writeback(fd: RawFd, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (file_offset(offset)?, file_offset(len)?);
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::sync_file_range(fd, offset, len, libc::SYNC_FILE_RANGE_WRITE) })
}

/// Room of the file system under `dir`.
pub(super) fn capacity(dir: &Path) -> io::Result<Capacity> {
    let dir = fs::File::open(dir)?;
    // SAFETY: `statvfs` is plain numbers, for which all zeros is a value.
    let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `room` is a live, writable struct of the type the call fills.
    check_unit(unsafe { libc::fstatvfs(dir.as_raw_fd(), &raw mut room) })?;
    Ok(Capacity { total_bytes: room.f_blocks * room.f_frsize, free_bytes: room.f_bavail * room.f_frsize })
}

/// Makes a directory, those above it, and their names durable.
pub(super) fn create_dir_all(dir: &Path) -> io::Result<()> {
    let fresh: Vec<&Path> =
        dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
    fs::create_dir_all(dir)?;
    for made in fresh {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The UTF-8 names in a directory, sorted.
pub(super) fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
