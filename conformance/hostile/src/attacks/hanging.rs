//! A disk that answers nothing for a while, neither data nor an error, under the primary of the
//! honest client's file. Its data server must give up while it hangs, so that a replica takes over,
//! and come back when it answers, without a restart.
//!
//! Each data server has a file system of its own, and that of one is frozen: the kernel keeps each
//! write to it waiting. What freezes it is a process that thaws it by itself, whatever becomes of
//! this one: a server that waits for its disk cannot even be killed.

use std::process::{Child, Command};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::hosts::{apart, client};
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::{Cluster, Setting, text};
use crate::failed::{During, Outcome, failed};
use crate::honest::{LARGE, pattern};
use crate::limits::FAILOVER_MS_MAX;
use crate::session::Client;
use crate::stage::Stage;
use crate::tree::{self, Opened};

pub(super) fn attacks() -> Vec<Attack> {
    vec![Attack {
        name: "hanging_disk",
        line: 14,
        row: "a primary's disk answers nothing for 20 s, then goes on",
        setting: Setting { data_disk_bytes: DATA_DISK_BYTES, needs_root: true, ..apart() },
        quick: false,
        play: Play::Once(|stage| Box::pin(hang(stage))),
    }]
}

/// Bytes of each data server's file system: more than what it is told to hold.
const DATA_DISK_BYTES: u64 = 2 << 30;
/// Longer than an operation may wait: one that waited for the disk shows.
const HANG: Duration = Duration::from_secs(20);
/// A data server whose disk answers again has so long to be one of the cluster.
const BACK: Duration = Duration::from_secs(15);
/// What `shoal admin health` says of a data server that has given up for now.
const GIVEN_UP: &str = "disks have failed";
/// A data server waits for its disk for about so long: a shorter wait was none for the disk.
const WATCHED: Duration = Duration::from_secs(3);
/// So many operations at least the honest client does while the disk still hangs, of some thousand
/// on a quiet machine.
const GOES_ON: u64 = 50;
/// What does not need the disk that hangs must come within this time.
const ELSEWHERE: Duration = Duration::from_secs(5);

const FILES: u64 = 6;
const FILE_BYTES: usize = 256 << 10;

async fn hang(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut reader = client(stage, 0, "beside a disk that hangs").await?;
    let home = stage.cluster.home_of(&format!("/{LARGE}"))?;
    let mut elsewhere = Vec::new();
    for number in 0..FILES {
        let path = format!("beside-{number}");
        let file = tree::open_file(&mut reader, &path, 0o644).await?;
        let model = pattern(7_000 + number, FILE_BYTES);
        tree::write_file(&mut reader, &file, 0, Bytes::from(model.clone())).await?;
        if stage.cluster.home_of(&format!("/{path}"))? != home {
            elsewhere.push((path, file, model));
        } else {
            tree::close_file(&mut reader, &file).await?;
        }
    }
    let place = text(&stage.cluster.data_directory(home));
    let mut freezer = freeze(stage, &place).await?;
    let frozen = Instant::now();
    // A READ of what another data server holds needs nothing of this one.
    for (path, file, model) in &elsewhere {
        match timeout(ELSEWHERE, read_whole(&mut reader, file)).await {
            Ok(read) if read.as_ref().is_ok_and(|data| data == model) => {}
            Ok(Err(error)) => return Err(failed(format!("{path}: {error}"))),
            Ok(_) => evidence.exceeded(format!("{path}: other bytes than were acknowledged")),
            Err(_) => {
                evidence.broken(format!("{path}, of another data server, waits for more than {ELSEWHERE:?}"))
            }
        }
    }
    let moved = wait_until_moved(stage, home, frozen).await?;
    if freezer.try_wait()?.is_some() {
        return Err(failed("the disk does not hang any more"));
    }
    match moved {
        Some(after) => evidence.note(format!("a replica was primary after {after:.1?}")),
        None => evidence.broken("the data server whose disk hangs is still the primary"),
    }
    let done = stage.meter.operations();
    while freezer.try_wait()?.is_none() {
        sleep(Duration::from_millis(100)).await;
    }
    let meanwhile = stage.meter.operations() - done;
    evidence.note(format!("{meanwhile} operations while the disk still hung"));
    if meanwhile < GOES_ON {
        evidence.broken(format!("{meanwhile} operations of the honest client while the disk still hung"));
    }
    wait_until_back(stage, home, &mut evidence).await?;
    evidence.note(format!("{} files of other data servers were read meanwhile", elsewhere.len()));
    let longest = Duration::from_micros(stage.meter.latency().longest_us);
    evidence.note(format!("the longest wait was {longest:.1?}"));
    if Duration::from_millis(FAILOVER_MS_MAX) < longest.max(stage.meter.waiting()) {
        evidence.broken(format!("an operation waited for {longest:.1?}, the disk for {HANG:?}"));
    }
    if longest < WATCHED {
        evidence.broken("not played: no operation of the honest client waited for the disk");
    }
    for (_, file, _) in &elsewhere {
        tree::close_file(&mut reader, file).await?;
    }
    reader.end().await?;
    Ok(evidence)
}

/// Waits until another data server is the primary of the honest client's file; how long that took
/// since the disk was frozen.
async fn wait_until_moved(stage: &Stage, home: usize, frozen: Instant) -> Outcome<Option<Duration>> {
    while frozen.elapsed() < Duration::from_millis(FAILOVER_MS_MAX) {
        if stage.cluster.home_of(&format!("/{LARGE}"))? != home {
            return Ok(Some(frozen.elapsed()));
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(None)
}

/// Waits until the data server is one of the cluster again: the process that it was.
async fn wait_until_back(stage: &Stage, home: usize, evidence: &mut Evidence) -> Outcome<()> {
    let thawed = Instant::now();
    while stage.cluster.problems().iter().any(|text| text.contains(GIVEN_UP) || text.contains("are down")) {
        if BACK < thawed.elapsed() {
            evidence.broken(format!("the data server is not back {BACK:?} after its disk answers"));
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
    evidence.note(format!("it was back after {:.1?}", thawed.elapsed()));
    let mut processes = stage.cluster.processes.lock();
    let process = &mut processes[Cluster::process_of(home)];
    if process.ended().is_some() {
        evidence.broken("the data server ended");
    }
    if !process.said().contains("disk hangs: ") {
        evidence.broken("the data server does not say that its disk hung");
    }
    Ok(())
}

/// Freezes the file system at `place`; returns when it is frozen, and the process that thaws it
/// after [`HANG`].
async fn freeze(stage: &Stage, place: &str) -> Outcome<Child> {
    let script = "fsfreeze --freeze \"$1\" && : > \"$3\" && sleep \"$2\"; fsfreeze --unfreeze \"$1\"";
    let (seconds, told) = (HANG.as_secs().to_string(), stage.cluster.directory.join("frozen"));
    let words = ["-c", script, "sh", place, &seconds, &text(&told)];
    let mut freezer = Command::new("sh").args(words).spawn().during("sh")?;
    while !told.exists() {
        if freezer.try_wait()?.is_some() {
            return Err(failed("the file system cannot be frozen"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(freezer)
}

async fn read_whole(client: &mut Client, file: &Opened) -> Outcome<Vec<u8>> {
    let count = u32::try_from(FILE_BYTES).unwrap_or(u32::MAX);
    Ok(tree::read_file(client, file, 0, count).await?.data.to_vec())
}
