//! The file under test: its descriptors, and each operation carried out on it and compared with the
//! model.
//!
//! Sizes are compared only by the operations that are drawn for it: a stat sends the client to the
//! server and hides what a stale size does.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::difference;
use super::mapped;
use super::model::Model;
use super::operation::{DIRECT_BYTES, Operation, Range, Step};

/// Bytes of one read when the whole file is compared.
const CHECK_BYTES: u64 = 1 << 20;
/// Of the reads that meet only holes, one in so many is made.
const HOLES_SAMPLED: u64 = 16;

/// The file and what this process has open of it; each descriptor is opened when it is first
/// needed.
pub(super) struct Subject {
    path: PathBuf,
    plain: Option<File>,
    append: Option<File>,
    direct: Option<File>,
    /// Stores through a mapping may not have been written back, and no buffered call came since.
    stored: bool,
    sync_before_direct: bool,
}

impl Subject {
    pub(super) fn new(path: PathBuf, sync_before_direct: bool) -> Self {
        Self { path, plain: None, append: None, direct: None, stored: false, sync_before_direct }
    }

    /// Carries out `step`; `model` is the file before it.
    ///
    /// # Errors
    /// When the file system refuses, or what is read is not what the model has.
    pub(super) fn carry_out(&mut self, step: &Step, model: &Model) -> Result<()> {
        match step.operation {
            Operation::Create => self.create(),
            Operation::Read(range) => self.read(range, step, model),
            Operation::Write(range) => {
                written(self.plain()?.write_at(&model.content(range, step.number), range.at), range.bytes)
            }
            Operation::Append { bytes, fresh } => self.append(bytes, fresh, step, model),
            Operation::AppendMany { writers, records, bytes } => {
                append_many(&self.path, writers, records, &model.record(bytes, step.number))
            }
            Operation::MapRead(range) => {
                let found = mapped::read(self.plain()?, range)?;
                compare(range, &found, step, model)
            }
            Operation::MapWrite { range, sync } => {
                // msync writes back what it covers, and leaves what was stored elsewhere.
                self.stored |= !sync;
                mapped::write(self.plain()?, range, &model.content(range, step.number), sync)
            }
            Operation::DirectRead(range) => self.direct_read(range, step, model),
            Operation::DirectWrite(range) => self.direct_write(range, step, model),
            Operation::Truncate(size) => self.plain()?.set_len(size).context("ftruncate"),
            Operation::TruncatePath(size) => truncate(&self.path, size),
            Operation::OpenTruncate => {
                self.close()?;
                self.plain = Some(open(File::options().truncate(true), &self.path)?);
                Ok(())
            }
            Operation::Fsync => self.plain()?.sync_all().context("fsync"),
            Operation::Fdatasync => self.plain()?.sync_data().context("fdatasync"),
            Operation::Reopen => {
                self.close()?;
                self.plain().map(drop)
            }
            Operation::Close => self.close(),
            Operation::Evict => self.evict(),
            Operation::DropCaches => std::fs::write("/proc/sys/vm/drop_caches", "3").context("drop_caches"),
            Operation::SeekEnd => {
                let end = seek_end(self.plain()?)?;
                ensure!(end == model.size(), "DIFFERENCE: SEEK_END is {end}, expected {}", model.size());
                Ok(())
            }
            Operation::Stat => {
                let size = self.plain()?.metadata().context("fstat")?.len();
                ensure!(size == model.size(), "DIFFERENCE: fstat says {size}, expected {}", model.size());
                Ok(())
            }
            Operation::Pause(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
            Operation::CheckAll => self.check_all(step, model),
            Operation::Remove => {
                self.close()?;
                std::fs::remove_file(&self.path).context("unlink")
            }
        }
    }

    /// Closes all descriptors.
    ///
    /// # Errors
    /// When one of the closes fails.
    pub(super) fn close(&mut self) -> Result<()> {
        let open = [self.plain.take(), self.append.take(), self.direct.take()];
        open.into_iter().flatten().try_for_each(close)
    }

    /// Opens the file if it is not open: an open, as close-to-open has it, shows what another
    /// client closed.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) fn open(&mut self) -> Result<()> {
        self.plain().map(drop)
    }

    /// Has the client ask for the size.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn learn_size(&mut self) -> Result<()> {
        self.plain()?.metadata().context("fstat").map(drop)
    }

    /// Takes a write lock on the whole file, after waiting for it if need be.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) fn lock(&mut self) -> Result<()> {
        lock(self.plain()?, libc::F_WRLCK)
    }

    /// Lets go of the lock; closing a descriptor has done so already.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn unlock(&mut self) -> Result<()> {
        self.plain.as_ref().map_or(Ok(()), |file| lock(file, libc::F_UNLCK))
    }

    /// What else the client and the server say of a file that was not as expected; for people.
    pub(super) fn describe(&mut self, model: &Model) -> String {
        let outcome = |subject: &mut Self| match subject.first_wrong(model) {
            Ok(None) => "the whole file is right".to_owned(),
            Ok(Some(at)) => format!("the first wrong byte is at {at}"),
            Err(error) => format!("{error:#}"),
        };
        let mut text = format!("  model: {} bytes\n", model.size());
        text += &format!("  read again: {}\n", outcome(self));
        let size = self.plain().and_then(|file| Ok(file.metadata()?.len()));
        text += &format!("  fstat: {}\n", size.map_or_else(|error| format!("{error:#}"), |n| n.to_string()));
        text += &format!("  read after fstat: {}\n", outcome(self));
        let _ = self.plain().and_then(|file| Ok(file.sync_all()?));
        let _ = self.close();
        let _ = self.evict();
        text += &format!("  fsync, closed, opened, pages forgotten: {}\n", outcome(self));
        text
    }

    fn plain(&mut self) -> Result<&File> {
        opened(&mut self.plain, 0, &self.path)
    }

    fn create(&mut self) -> Result<()> {
        self.plain = Some(open(File::options().create_new(true), &self.path)?);
        Ok(())
    }

    fn read(&mut self, range: Range, step: &Step, model: &Model) -> Result<()> {
        let mut bytes = vec![0xAA; range.bytes as usize];
        let count = self.plain()?.read_at(&mut bytes, range.at).context("read")?;
        compare(range, &bytes[..count], step, model)
    }

    fn append(&mut self, bytes: u64, fresh: bool, step: &Step, model: &Model) -> Result<()> {
        let content = model.content(Range { at: model.size(), bytes }, step.number);
        let mut own = None;
        let descriptor = if fresh { &mut own } else { &mut self.append };
        let file = opened(descriptor, libc::O_APPEND, &self.path)?;
        written(std::io::Write::write(&mut &*file, &content), bytes)?;
        own.map_or(Ok(()), close)
    }

    /// QUIRK(linux): O_DIRECT behind O_DIRECT flushes no page that was stored to through a mapping
    /// in between (`nfs_start_io_direct` flushes only when the inode's last I/O was buffered). It
    /// is so with every server. A buffered read makes it flush.
    ///
    /// QUIRK(linux): a WRITE of cached pages that fails at a data server (it was killed) is put
    /// off: the pages are dirty again (`ff_layout_reset_write`), only fsync goes on until they are
    /// written (`nfs_file_fsync`), and O_DIRECT does not wait. So a program that mixes the two
    /// needs an fsync between them where data servers may die.
    fn leave_direct(&mut self) -> Result<()> {
        if self.sync_before_direct {
            self.plain()?.sync_all().context("fsync before O_DIRECT")?;
        }
        if std::mem::take(&mut self.stored) {
            self.plain()?.read_at(&mut [0], 0).context("read before O_DIRECT")?;
        }
        Ok(())
    }

    fn direct_read(&mut self, range: Range, step: &Step, model: &Model) -> Result<()> {
        self.leave_direct()?;
        let mut room = Aligned::new(range.bytes);
        let file = opened(&mut self.direct, libc::O_DIRECT, &self.path)?;
        let count = file.read_at(room.bytes(), range.at).context("read with O_DIRECT")?;
        compare(range, &room.bytes()[..count], step, model)
    }

    fn direct_write(&mut self, range: Range, step: &Step, model: &Model) -> Result<()> {
        self.leave_direct()?;
        let mut room = Aligned::new(range.bytes);
        room.bytes().copy_from_slice(&model.content(range, step.number));
        let file = opened(&mut self.direct, libc::O_DIRECT, &self.path)?;
        written(file.write_at(room.bytes(), range.at), range.bytes).context("O_DIRECT")
    }

    fn evict(&mut self) -> Result<()> {
        let file = self.plain()?;
        // SAFETY: the descriptor is open; the call only advises the kernel.
        let failed = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        ensure!(failed == 0, "fadvise: {}", std::io::Error::from_raw_os_error(failed));
        Ok(())
    }

    fn check_all(&mut self, step: &Step, model: &Model) -> Result<()> {
        pieces(model, step.number).try_for_each(|range| self.read(range, step, model))
    }

    /// Where the file is first not as the model has it.
    fn first_wrong(&mut self, model: &Model) -> Result<Option<u64>> {
        let file = self.plain()?;
        let mut bytes = vec![0; CHECK_BYTES as usize];
        for range in pieces(model, 0) {
            let count = file.read_at(&mut bytes, range.at)?;
            let expected = model.read(range);
            if expected != bytes[..count] {
                let same = expected.iter().zip(&bytes[..count]).take_while(|(one, other)| one == other);
                return Ok(Some(range.at + same.count() as u64));
            }
        }
        Ok(None)
    }
}

/// The parts of the file to compare: all but most of what lies far within holes, and a read beyond
/// the end.
fn pieces(model: &Model, choice: u32) -> impl Iterator<Item = Range> {
    let count = model.size() / CHECK_BYTES + 2;
    let sampled = u64::from(choice) % HOLES_SAMPLED;
    let whole = |index: u64| Range { at: index * CHECK_BYTES, bytes: CHECK_BYTES };
    let wanted = move |index: &u64| {
        let around = Range { at: index.saturating_sub(1) * CHECK_BYTES, bytes: 3 * CHECK_BYTES };
        count <= index + 3 || model.has_data(around) || index % HOLES_SAMPLED == sampled
    };
    (0..count).filter(wanted).map(whole)
}

fn compare(range: Range, found: &[u8], step: &Step, model: &Model) -> Result<()> {
    Ok(difference::compare(range, &model.read(range), found, model.salt(), step.number)?)
}

/// A regular file takes a write whole or refuses it.
fn written(outcome: std::io::Result<usize>, bytes: u64) -> Result<()> {
    let count = outcome.context("write")?;
    ensure!(count as u64 == bytes, "{count} of {bytes} bytes were written");
    Ok(())
}

fn open(options: &mut std::fs::OpenOptions, path: &Path) -> Result<File> {
    options.read(true).write(true).open(path).with_context(|| format!("open {}", path.display()))
}

fn opened<'a>(descriptor: &'a mut Option<File>, flags: i32, path: &Path) -> Result<&'a File> {
    if descriptor.is_none() {
        *descriptor = Some(open(File::options().custom_flags(flags), path)?);
    }
    descriptor.as_ref().context("it was opened above")
}

fn close(file: File) -> Result<()> {
    crate::guest::files::close(file).context("close")
}

fn truncate(path: &Path, size: u64) -> Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path ends with a zero byte and outlives the call.
    if unsafe { libc::truncate(path.as_ptr(), size as libc::off_t) } != 0 {
        return Err(std::io::Error::last_os_error()).context("truncate");
    }
    Ok(())
}

fn seek_end(file: &File) -> Result<u64> {
    use std::io::Seek;
    (&*file).seek(std::io::SeekFrom::End(0)).context("lseek")
}

/// Several threads append records, all at once, each record with an open and a close.
fn append_many(path: &Path, writers: u32, records: u32, record: &[u8]) -> Result<()> {
    let start = Barrier::new(writers as usize);
    let write = || -> Result<()> {
        start.wait();
        for _ in 0..records {
            let file = open(File::options().append(true), path)?;
            written(std::io::Write::write(&mut &file, record), record.len() as u64)?;
            close(file)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        let ended = running.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a writer panicked")));
        ended.collect()
    })
}

fn lock(file: &File, kind: libc::c_int) -> Result<()> {
    let request = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open and the request outlives the call, which only reads it.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLKW, &raw const request) } != 0 {
        return Err(std::io::Error::last_os_error()).context("fcntl(F_SETLKW)");
    }
    Ok(())
}

/// Memory that O_DIRECT takes.
struct Aligned {
    room: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Aligned {
    fn new(bytes: u64) -> Self {
        let room = vec![0xAA; (bytes + DIRECT_BYTES) as usize];
        let start = room.as_ptr().align_offset(DIRECT_BYTES as usize);
        Self { room, start, bytes: bytes as usize }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::{CHECK_BYTES, Model, Operation, Range, pieces};

    #[test]
    fn a_sparse_file_is_compared_where_it_has_data_and_at_its_end() {
        let mut model = Model::new(1, None);
        model.apply(Operation::Write(Range { at: 50 * CHECK_BYTES - 1, bytes: 2 }), 1);
        model.apply(Operation::Truncate(100 * CHECK_BYTES + 5), 2);
        let compared: Vec<u64> = pieces(&model, 3).map(|range| range.at / CHECK_BYTES).collect();
        for index in [48, 49, 50, 51, 99, 100, 101] {
            assert!(compared.contains(&index), "{index} of {compared:?}");
        }
        // A hole is compared somewhere, and not everywhere.
        assert!(compared.contains(&19) && !compared.contains(&20));
    }
}
