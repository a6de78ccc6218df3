//! A node's disk: the one in memory from `env`, with time, and with the lies and failures that the
//! nemesis asks for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use env::disk::Capacity;
use env::memory::{Crash, MemoryDisk};
use env::{BoxFuture, Disk, File, OpenMode};
use futures_util::FutureExt as _;
use parking_lot::Mutex;

use crate::chance::Chance;
use crate::event_log::digest_of;
use crate::world::{NodeId, World};

/// How long a disk takes, and whether it is honest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) write_ns_max: u64,
    pub(crate) sync_ns_max: u64,
    /// A planted fault: a sync is answered and not done.
    pub(crate) lies: bool,
    /// A planted fault: one sync in [`HANGS`] takes an hour.
    pub(crate) hangs: bool,
    /// A planted fault: where much is read, as at a start, one bit is wrong.
    pub(crate) rots: bool,
    /// Reads, writes and syncs of files are not answered until this is over.
    pub(crate) silent: bool,
}

/// See [`Manner::rots`].
const ROTS_BYTES_MIN: usize = 64 << 10;

/// See [`Manner::hangs`].
const HANGS: u64 = 100;
const HANG_NS: u64 = 3_600_000_000_000;
/// How often what waits for a silent disk looks whether it answers.
const SILENT_LOOK_NS: u64 = 100_000_000;

/// A disk that outlives the processes on its node.
#[derive(Clone)]
pub(crate) struct SimDisk {
    world: World,
    node: NodeId,
    memory: MemoryDisk,
    shared: Arc<Mutex<(Manner, Chance)>>,
}

impl SimDisk {
    pub(crate) fn new(world: World, node: NodeId, seed: u64) -> Self {
        let chance = Chance::new(seed, &format!("disk {node}"));
        let (write_ns_max, sync_ns_max) = (100_000, 1_000_000);
        let manner =
            Manner { write_ns_max, sync_ns_max, lies: false, hangs: false, rots: false, silent: false };
        Self { world, node, memory: empty(), shared: Arc::new(Mutex::new((manner, chance))) }
    }

    /// The disk for a process that ends with the next crash.
    pub(crate) fn mount(&self) -> Self {
        Self { memory: self.memory.mount(), ..self.clone() }
    }

    pub(crate) fn set_manner(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.shared.lock().0);
    }

    /// The fault injector below.
    pub(crate) fn memory(&self) -> &MemoryDisk {
        &self.memory
    }

    /// What a crash leaves.
    pub(crate) fn crash(&self, crash: Crash) {
        self.memory.crash(crash);
    }

    /// Another disk, with nothing on it, takes its place.
    pub(crate) fn replace(&mut self) {
        self.memory = empty();
    }

    /// Another disk takes its place: what this one was at some moment.
    pub(crate) fn put_back(&mut self, copy: MemoryDisk) {
        copy.set_turns(0, 1);
        copy.set_capacity(u64::MAX);
        self.memory = copy;
    }

    /// Loses all files of a directory, which no process has open.
    pub(crate) fn lose_files(&self, dir: &Path) {
        let ready = "the disk in memory takes no time";
        // A disk that was never started with has no such directory.
        let Ok(names) = self.memory.list(dir).now_or_never().expect(ready) else { return };
        for name in names {
            self.memory.remove(&dir.join(name)).now_or_never().expect(ready).expect("it is there");
        }
        self.memory.sync_dir(dir).now_or_never().expect(ready).expect("it works");
    }

    async fn answer(&self) {
        while self.shared.lock().0.silent {
            self.world.sleep(SILENT_LOOK_NS, self.node).await;
        }
    }

    fn read(&self, bytes: Bytes) -> Bytes {
        if !self.shared.lock().0.rots || bytes.len() < ROTS_BYTES_MIN {
            return bytes;
        }
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let mut rotten = bytes.to_vec();
        rotten[used / 2] ^= 1;
        rotten.into()
    }

    fn hangs(&self) -> bool {
        let (manner, chance) = &mut *self.shared.lock();
        manner.hangs && chance.between(0, HANGS) == 0
    }

    fn sleep(&self, pick: impl FnOnce(&Manner) -> u64) -> crate::world::Sleep {
        let ns = {
            let (manner, chance) = &mut *self.shared.lock();
            let max_ns = pick(manner);
            chance.between(max_ns / 8, max_ns)
        };
        self.world.sleep(ns, self.node)
    }
}

fn empty() -> MemoryDisk {
    let memory = MemoryDisk::new();
    // One turn: so much of a sync as must come before its time is done in the first poll.
    memory.set_turns(0, 1);
    memory
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let (disk, opened) = (self.clone(), self.memory.open(path, mode));
        Box::pin(async move {
            let file = opened.await?;
            Ok(Arc::new(SimFile { disk, file }) as Arc<dyn File>)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.memory.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.memory.rename(from, to)
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        self.memory.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.memory.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        let (disk, dir): (Self, PathBuf) = (self.clone(), dir.to_path_buf());
        Box::pin(async move {
            disk.sleep(|manner| manner.sync_ns_max).await;
            if disk.shared.lock().0.lies {
                return Ok(());
            }
            disk.memory.sync_dir(&dir).await
        })
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        self.memory.exists(path)
    }

    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        self.memory.capacity(dir)
    }
}

#[derive(Clone)]
struct SimFile {
    disk: SimDisk,
    file: Arc<dyn File>,
}

impl SimFile {
    async fn write(&self, data: Vec<Bytes>, offset: u64) -> io::Result<()> {
        self.disk.sleep(|manner| manner.write_ns_max).await;
        self.disk.answer().await;
        let digest = data.iter().fold(0_u64, |sum, part| sum.rotate_left(7) ^ digest_of(part));
        self.disk.world.note(self.disk.node, "write", &[offset, digest]);
        self.file.write_at(data, offset).await
    }

    async fn sync(&self) -> io::Result<()> {
        let lies = self.disk.shared.lock().0.lies;
        let mut sync = self.file.sync_data();
        // What is written from here on is not covered.
        let early = if lies { std::task::Poll::Ready(Ok(())) } else { futures_util::poll!(sync.as_mut()) };
        self.disk.sleep(|manner| manner.sync_ns_max).await;
        let result = match early {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => sync.await,
        };
        self.disk.answer().await;
        if self.disk.hangs() {
            self.disk.world.sleep(HANG_NS, self.disk.node).await;
        }
        self.disk.world.note(self.disk.node, "sync", &[u64::from(result.is_ok())]);
        result
    }
}

impl File for SimFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move { file.write(data, offset).await })
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move {
            file.write(data, offset).await?;
            file.sync().await
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        let file = self.clone();
        Box::pin(async move {
            file.disk.answer().await;
            Ok(file.disk.read(file.file.read_at(offset, len).await?))
        })
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move { file.sync().await })
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.file.allocate(offset, len)
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.file.set_len(len)
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.file.len()
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.file.stored_bytes()
    }

    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.file.start_writeback(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.file.punch(offset, len)
    }
}
