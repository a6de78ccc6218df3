//! Watches the disk: a data server whose disk answers nothing gives up its lease until the disk
//! answers again.
//!
//! A heartbeat needs no I/O. Without this a server would renew its lease for as long as its disk
//! hangs, and no replica would take over. [`WatchedDisk`] is the door through which all I/O goes:
//! each operation is in the [`Table`] from its first poll until the disk answers it.
//! [`crate::lease::Serving::watch_disk`] looks at the table a few times a second, and tells the
//! rest of the server. The table reads no clock: its caller says what time it is.
//!
//! INVARIANT: [`DiskWatch::turns`] rises with every begin and end of a hang, so a request that sees
//! the same number before and after its work was served by a disk that had not been given up
//! meanwhile.
//! INVARIANT: time goes on by at most [`WATCH_STEP_MS_MAX`] from one look to the next. So time in
//! which nothing looked, because the process or its machine was stopped or nothing ran yet, does
//! not count against the disk.
//! INVARIANT: an operation takes no lock and waits for nothing when it begins and ends.
//! Spec: docs/protocol/control.md §2.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use env::disk::Capacity;
use env::{BoxFuture, Disk, File, OpenMode};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::limits::{HANG_OVER_MS, PROMPT_MS, WATCH_PLACES, WATCH_STEP_MS_MAX};

/// What is known of the disk's answers.
pub(crate) struct DiskWatch {
    table: Arc<Table>,
    /// Odd while the disk hangs.
    turns: AtomicU64,
    /// What the disk did not answer, while it hangs.
    words: RwLock<String>,
    turned: Notify,
}

impl DiskWatch {
    /// For a disk that hangs if it has not answered for so long; 0: the disk never hangs.
    pub(crate) fn new(hang_ms: u64) -> Self {
        Self {
            table: Arc::new(Table::new(hang_ms)),
            turns: AtomicU64::new(0),
            words: RwLock::default(),
            turned: Notify::new(),
        }
    }

    /// The same disk, whose I/O is watched.
    pub(crate) fn door(&self, disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
        Arc::new(WatchedDisk { disk, table: Arc::clone(&self.table) })
    }

    /// How often a hang has begun or ended.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    /// Whether the disk hangs.
    pub(crate) fn hangs(&self) -> bool {
        self.turns() & 1 == 1
    }

    /// How often the disk has hung and answered again.
    pub(crate) fn survived(&self) -> u64 {
        self.turns() / 2
    }

    /// Why nothing is served, while the disk hangs.
    pub(crate) fn reason(&self) -> Option<String> {
        self.hangs().then(|| self.words.read().clone())
    }

    /// Returns once a hang has begun or ended since [`turns`](Self::turns) was `turns`.
    pub(crate) async fn wait_for_turn(&self, turns: u64) {
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            // Registered before looking, so that no hang is missed.
            turned.as_mut().enable();
            if self.turns() != turns {
                return;
            }
            turned.await;
        }
    }

    /// Looks at the operations under way; the monotonic clock shows `clock_ms`. When this returns,
    /// requests see what has changed.
    pub(crate) fn look_at_disk(&self, clock_ms: u64) -> Change {
        let change = self.table.look_at_operations(clock_ms);
        match change {
            Change::None => {}
            Change::Hangs(kind) => {
                let for_s = self.table.hang_ms / 1000;
                self.turn(format!("disk hangs: no answer to {} for {for_s} s", kind.name()));
                assert!(self.hangs(), "turns are odd while the disk hangs");
            }
            Change::Answers => {
                self.turn(String::new());
                assert!(!self.hangs(), "turns are even while the disk answers");
            }
        }
        change
    }

    fn turn(&self, words: String) {
        *self.words.write() = words;
        self.turns.fetch_add(1, Ordering::SeqCst);
        self.turned.notify_waiters();
    }
}

/// A kind of operation of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Flush,
    /// The server reserves room or gives it back.
    Room,
    /// The server opens, renames or lists files.
    Names,
}

const KINDS: [Kind; 5] = [Kind::Read, Kind::Write, Kind::Flush, Kind::Room, Kind::Names];
/// Bits of a place's value that hold the kind.
const KIND_BITS: u32 = 3;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;
const _: () = assert!(KINDS.len() <= KIND_MASK as usize + 1, "a kind fits its bits");

impl Kind {
    /// As administrators read it.
    fn name(self) -> &'static str {
        match self {
            Self::Read => "a read",
            Self::Write => "a write",
            Self::Flush => "a flush",
            Self::Room => "a reservation of room",
            Self::Names => "a look at a directory",
        }
    }
}

/// What a look at the disk has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The disk hangs from now on: it does not answer an operation of this kind.
    Hangs(Kind),
    /// The disk does not hang any more.
    Answers,
}

/// All operations under way.
struct Table {
    /// 0: the disk never hangs.
    hang_ms: u64,
    /// As of the last look.
    now_ms: AtomicU64,
    /// One for each operation: 0 is free, else when the operation began, plus 1, times 8, and its
    /// kind.
    places: [AtomicU64; WATCH_PLACES],
    next: AtomicUsize,
    judge: Mutex<Judge>,
}

/// What only looks change.
#[derive(Default)]
struct Judge {
    looked_ms: u64,
    hangs: bool,
    /// Since when nothing has waited for long, while the disk hangs.
    prompt_since_ms: Option<u64>,
}

/// An operation that ends when this is dropped.
struct Operation {
    table: Arc<Table>,
    /// `None`: the table had no place left, so the operation is not watched.
    place: Option<usize>,
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let before = self.table.places[place].swap(0, Ordering::Release);
            assert_ne!(before, 0, "a place belongs to one operation until it ends");
        }
    }
}

impl Table {
    /// Nothing is under way.
    fn new(hang_ms: u64) -> Self {
        Self {
            hang_ms,
            now_ms: AtomicU64::new(0),
            places: [const { AtomicU64::new(0) }; WATCH_PLACES],
            next: AtomicUsize::new(0),
            judge: Mutex::default(),
        }
    }

    /// Notes an operation that begins. One that finds no place beside its turn goes unwatched: then
    /// so many others are under way that a disk which hangs shows by them.
    fn begin_operation(self: &Arc<Self>, kind: Kind) -> Operation {
        const TRIES: usize = 8;
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let value = ((self.now_ms.load(Ordering::Relaxed) + 1) << KIND_BITS) | kind as u64;
        assert_ne!(value, 0, "0 is a free place");
        let take = |place: &usize| {
            let place = &self.places[*place];
            place.compare_exchange(0, value, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let place = (first..first.wrapping_add(TRIES)).map(|at| at % WATCH_PLACES).find(take);
        Operation { table: Arc::clone(self), place }
    }

    /// Looks at the operations under way; the monotonic clock shows `clock_ms`.
    fn look_at_operations(&self, clock_ms: u64) -> Change {
        let mut judge = self.judge.lock();
        let step_ms = clock_ms.saturating_sub(judge.looked_ms).min(WATCH_STEP_MS_MAX);
        judge.looked_ms = clock_ms;
        let now_ms = self.now_ms.fetch_add(step_ms, Ordering::Relaxed) + step_ms;
        let oldest = self.oldest();
        let waits_ms = oldest.map_or(0, |(began_ms, _)| now_ms.saturating_sub(began_ms));
        let is_late = self.hang_ms != 0 && self.hang_ms <= waits_ms;
        if let (Some((_, kind)), true) = (oldest, is_late) {
            judge.prompt_since_ms = None;
            let is_news = !std::mem::replace(&mut judge.hangs, true);
            return if is_news { Change::Hangs(kind) } else { Change::None };
        }
        if !judge.hangs {
            return Change::None;
        }
        if PROMPT_MS <= waits_ms {
            judge.prompt_since_ms = None;
            return Change::None;
        }
        let since_ms = *judge.prompt_since_ms.get_or_insert(now_ms);
        assert!(since_ms <= now_ms, "the table's time does not go back");
        if now_ms - since_ms < HANG_OVER_MS {
            return Change::None;
        }
        *judge = Judge { looked_ms: clock_ms, ..Judge::default() };
        Change::Answers
    }

    /// When the oldest of all operations began, and its kind.
    fn oldest(&self) -> Option<(u64, Kind)> {
        let values = self.places.iter().map(|place| place.load(Ordering::Acquire));
        let oldest = values.filter(|value| *value != 0).min()?;
        assert!(1 <= oldest >> KIND_BITS, "a place that is taken says when its operation began");
        let kind = KINDS.get((oldest & KIND_MASK) as usize).copied().unwrap_or(Kind::Names);
        Some(((oldest >> KIND_BITS) - 1, kind))
    }
}

/// A disk whose I/O is watched.
struct WatchedDisk {
    disk: Arc<dyn Disk>,
    table: Arc<Table>,
}

struct WatchedFile {
    file: Arc<dyn File>,
    table: Arc<Table>,
}

fn watch_operation<T: 'static>(
    table: &Arc<Table>,
    kind: Kind,
    work: BoxFuture<'static, io::Result<T>>,
) -> BoxFuture<'static, io::Result<T>> {
    let table = Arc::clone(table);
    Box::pin(async move {
        let _operation = table.begin_operation(kind);
        work.await
    })
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let opened = watch_operation(&self.table, Kind::Names, self.disk.open(path, mode));
        let table = Arc::clone(&self.table);
        Box::pin(async move {
            let file = opened.await?;
            Ok(Arc::new(WatchedFile { file, table }) as Arc<dyn File>)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Names, self.disk.remove(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Names, self.disk.rename(from, to))
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        watch_operation(&self.table, Kind::Names, self.disk.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Names, self.disk.create_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Flush, self.disk.sync_dir(dir))
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        watch_operation(&self.table, Kind::Names, self.disk.exists(path))
    }

    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        watch_operation(&self.table, Kind::Names, self.disk.capacity(dir))
    }
}

impl File for WatchedFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Write, self.file.write_at(data, offset))
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, at: u64) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Write, self.file.write_at_and_sync(data, at))
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        watch_operation(&self.table, Kind::Read, self.file.read_at(offset, len))
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Flush, self.file.sync_data())
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Room, self.file.allocate(offset, len))
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Room, self.file.set_len(len))
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        watch_operation(&self.table, Kind::Names, self.file.len())
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        watch_operation(&self.table, Kind::Names, self.file.stored_bytes())
    }

    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Write, self.file.start_writeback(offset, len))
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watch_operation(&self.table, Kind::Room, self.file.punch(offset, len))
    }
}

#[cfg(test)]
mod tests;
