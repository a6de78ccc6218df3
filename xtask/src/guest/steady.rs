//! Programs that run on while servers die: one that times small acts, one that holds files open and
//! locked, one that tries to get those locks. Each runs until a file exists, and fails at the first
//! error that it sees.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirEntryExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Between two acts of `gaps`, wherever they are.
const ACT_PAUSE: Duration = Duration::from_millis(10);
/// Between two looks of the others.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// An inode number has its shard above these bits (docs/formats/namespace.md).
const SHARD_SHIFT: u32 = 48;
/// An act that takes longer is looked into.
const SLOW: Duration = Duration::from_millis(2_500);
/// Where what was found is written.
const SLOW_FILE: &str = "/tmp/failover-slow";
const HELD_FILES: usize = 20;
const LOCK_BYTES: i64 = 100;
/// Of the large file: more than metadata servers keep.
const LARGE_BLOCK_BYTES: usize = 64 << 10;
const LARGE_BLOCKS: u64 = 64;

/// Small metadata acts and fsyncs, in a directory of each shard, and beside them blocks that data
/// servers get; prints how many of the former, in how many shards, the longest, and the longest of
/// the others, in milliseconds.
pub(super) fn gaps(dir: &Path, stop: &Path) -> Result<()> {
    let places: Vec<(PathBuf, Watched)> =
        one_of_each_shard(dir)?.into_iter().map(|place| (place, Watched::default())).collect();
    let (pause, done) = (ACT_PAUSE * u32::try_from(places.len())?, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let blocks = scope.spawn(|| blocks(&dir.join("blocks"), stop));
        scope.spawn(|| watch(&places, &done));
        let acting: Vec<_> = places
            .iter()
            .map(|(place, watched)| scope.spawn(move || small_acts(place, stop, pause, watched)))
            .collect();
        // All of them have ended before anything is said of one.
        let acted: Vec<_> = acting.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        let acted: Vec<(u64, Duration)> =
            acted.into_iter().map(|acted| acted.map_err(panicked)?).collect::<Result<_>>()?;
        let acts: u64 = acted.iter().map(|(acts, _)| acts).sum();
        let longest = acted.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
        let blocks = blocks.join().map_err(panicked)??;
        println!("{acts} {} {} {}", places.len(), longest.as_millis(), blocks.as_millis());
        Ok(())
    })
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> anyhow::Error {
    anyhow::anyhow!("a thread panicked")
}

/// Of the directories in `dir` one of each shard.
fn one_of_each_shard(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut of_shards = BTreeMap::new();
    for entry in std::fs::read_dir(dir).context("list of the directories")? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            of_shards.entry(entry.ino() >> SHARD_SHIFT).or_insert_with(|| entry.path());
        }
    }
    Ok(of_shards.into_values().collect())
}

/// Writes and flushes a block of a file that is too large to live with the metadata; the longest
/// time that took.
fn blocks(path: &Path, stop: &Path) -> Result<Duration> {
    let file = File::create(path).context("create of a large file")?;
    let (block, mut longest) = (vec![7_u8; LARGE_BLOCK_BYTES], Duration::ZERO);
    let mut at = 0;
    while !stop.exists() {
        let began = Instant::now();
        file.write_all_at(&block, at % LARGE_BLOCKS * LARGE_BLOCK_BYTES as u64)
            .context("write of a block")?;
        file.sync_all().context("fsync of a block")?;
        longest = longest.max(began.elapsed());
        at += 1;
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(longest)
}

/// The act under way, for a message about what takes so long.
#[derive(Default)]
struct Watched {
    /// Its number and when it began; none between two.
    act: Mutex<Option<(u64, Instant)>>,
}

impl Watched {
    fn begin(&self, act: u64) {
        *self.act.lock().expect("no thread panics with it") = Some((act, Instant::now()));
    }

    fn end(&self) {
        *self.act.lock().expect("no thread panics with it") = None;
    }

    /// The act under way, if it takes long and was not reported yet.
    fn slow(&self, told: Option<u64>) -> Option<(u64, Instant)> {
        let act = *self.act.lock().expect("no thread panics with it");
        act.filter(|(number, began)| told != Some(*number) && SLOW < began.elapsed())
    }
}

/// Writes down where the kernel is, once, when an act takes long.
fn watch(places: &[(PathBuf, Watched)], done: &AtomicBool) {
    let mut told = vec![None; places.len()];
    while !done.load(Ordering::Acquire) {
        std::thread::sleep(LOOK_PAUSE);
        for ((place, watched), told) in places.iter().zip(&mut told) {
            let Some((number, began)) = watched.slow(*told) else { continue };
            *told = Some(number);
            let what = ["create, write, fsync", "rename", "open, write, fsync", "unlink"];
            let what = what[usize::try_from(number % 4).expect("below four")];
            let (place, took_ms) = (place.display(), began.elapsed().as_millis());
            let text = format!("act {number} in {place} ({what}) for {took_ms} ms\n{}", kernel_state());
            // What is told here is for people: that it cannot be told fails nothing.
            drop(std::fs::write(SLOW_FILE, text));
        }
    }
}

/// Where this process's threads are in the kernel, and the connections.
fn kernel_state() -> String {
    let script = "for t in /proc/[0-9]*/task/[0-9]*; do s=$(cat $t/stack 2>/dev/null | head -14); \
                  case \"$s\" in *nfs*|*rpc*) echo \"$(cat $t/comm)\"; echo \"$s\";; esac; done; \
                  grep xprt: /proc/self/mountstats; cat /proc/net/tcp /proc/net/arp; dmesg | tail -5";
    let asked = std::process::Command::new("sh").args(["-c", script]).output();
    asked.map_or_else(|error| error.to_string(), |said| String::from_utf8_lossy(&said.stdout).into_owned())
}

/// How many acts, and how long the longest took.
fn small_acts(dir: &Path, stop: &Path, pause: Duration, watched: &Watched) -> Result<(u64, Duration)> {
    let (old, new) = (dir.join("gap"), dir.join("gap-moved"));
    let (mut acts, mut longest) = (0_u64, Duration::ZERO);
    while !stop.exists() {
        let began = Instant::now();
        watched.begin(acts);
        match acts % 4 {
            0 => {
                let file = File::create(&old).context("create")?;
                file.write_all_at(&acts.to_be_bytes(), 0).context("write")?;
                file.sync_all().context("fsync")?;
            }
            1 => std::fs::rename(&old, &new).context("rename")?,
            2 => {
                let file = File::options().write(true).open(&new).context("open")?;
                file.write_all_at(&acts.to_be_bytes(), 8).context("write again")?;
                file.sync_all().context("fsync again")?;
            }
            _ => std::fs::remove_file(&new).context("unlink")?,
        }
        watched.end();
        longest = longest.max(began.elapsed());
        acts += 1;
        std::thread::sleep(pause);
    }
    Ok((acts, longest))
}

/// Keeps files open and locked, one of them unlinked, and writes and reads them through the
/// descriptors it had from the start.
pub(super) fn hold(dir: &Path, ready: &Path, stop: &Path) -> Result<()> {
    let open = |at: usize| {
        File::options().read(true).write(true).create(true).truncate(true).open(held(dir, at)).context("open")
    };
    let files: Vec<File> = (0..HELD_FILES).map(open).collect::<Result<_>>()?;
    for file in &files {
        ensure!(lock(file)?, "a lock is held already");
    }
    let unlinked = File::options().read(true).write(true).create_new(true).open(dir.join("unlinked"))?;
    std::fs::remove_file(dir.join("unlinked"))?;
    File::create(ready)?;
    let mut looks = 0_u64;
    while !stop.exists() {
        let at = usize::try_from(looks)? % HELD_FILES;
        for file in [&files[at], &unlinked] {
            file.write_all_at(&looks.to_be_bytes(), 0).context("write through an old descriptor")?;
            file.sync_all().context("fsync through an old descriptor")?;
            let mut back = [0; 8];
            file.read_exact_at(&mut back, 0).context("read through an old descriptor")?;
            ensure!(back == looks.to_be_bytes(), "something else was written");
        }
        looks += 1;
        std::thread::sleep(LOOK_PAUSE);
    }
    println!("{looks}");
    Ok(())
}

/// Tries to get what `hold` has; prints how often it was refused.
pub(super) fn contend(dir: &Path, stop: &Path) -> Result<()> {
    let open = |at: usize| File::options().read(true).write(true).open(held(dir, at)).context("open");
    let files: Vec<File> = (0..HELD_FILES).map(open).collect::<Result<_>>()?;
    let mut refused = 0_u64;
    while !stop.exists() {
        for (at, file) in files.iter().enumerate() {
            ensure!(!lock(file)?, "LOST: the lock of file {at} was given to a second client");
            refused += 1;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    println!("{refused}");
    Ok(())
}

/// Gets all of them at once; they were released.
pub(super) fn obtain(dir: &Path) -> Result<()> {
    for at in 0..HELD_FILES {
        let file = File::options().read(true).write(true).open(held(dir, at))?;
        ensure!(lock(&file)?, "the lock of file {at} is still held");
    }
    println!("{HELD_FILES}");
    Ok(())
}

fn held(dir: &Path, at: usize) -> PathBuf {
    dir.join(format!("held-{at}"))
}

/// Takes a write lock on the first bytes; false if another process has one.
fn lock(file: &File) -> Result<bool> {
    let request = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: LOCK_BYTES,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open and the request outlives the call, which only reads it.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const request) } == 0 {
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => bail!("fcntl: {error}"),
    }
}
