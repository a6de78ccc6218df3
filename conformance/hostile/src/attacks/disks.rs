//! Disks that lose, forget, fail or fill, under servers that run or start.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::hosts::{apart, client};
use super::proof::must_have_happened;
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::{Cluster, Setting, text};
use crate::failed::{During, Failed, Outcome, failed};
use crate::honest::{LARGE, pattern};
use crate::limits::{FAILOVER_MS_MAX, READABLE_MS_MAX};
use crate::process::command;
use crate::session::Client;
use crate::stage::Stage;
use crate::tree::{self, Opened};

/// Bytes of the file system under the metadata server that is to be full.
const METADATA_DISK_BYTES: u64 = 256 << 20;

pub(super) fn attacks() -> Vec<Attack> {
    let attack = |name, line, row, play| Attack {
        name,
        line,
        row,
        setting: apart(),
        quick: false,
        play: Play::Once(play),
    };
    vec![
        attack("lost_store", 13, "a data server starts without its journal", |stage| {
            Box::pin(lose_store(stage))
        }),
        attack("old_store", 13, "a data server starts on an older copy of its directory", |stage| {
            Box::pin(put_back(stage, MARKED))
        }),
        attack("old_store_at_once", 13, "the same, as soon as the last write is answered", |stage| {
            Box::pin(put_back(stage, Duration::ZERO))
        }),
        attack("lone_without_log", 13, "a metadata server that is alone starts without its log", |stage| {
            Box::pin(lose_log(stage, CHECKPOINTED))
        }),
        attack("lone_without_log_at_once", 13, "the same, as soon as the cluster is up", |stage| {
            Box::pin(lose_log(stage, Duration::ZERO))
        }),
        attack("dead_disk", 14, "every write of a primary's disk fails", |stage| {
            Box::pin(fail_writes(stage))
        }),
        attack("bit_flips", 14, "bits of a primary's journal change on its disk", |stage| {
            Box::pin(flip_bits(stage))
        }),
        Attack {
            setting: Setting { metadata_disk_bytes: METADATA_DISK_BYTES, needs_root: true, ..apart() },
            ..attack("full_metadata_disk", 17, "the metadata server's disk is full but for 16 MiB", |stage| {
                Box::pin(fill_disk(stage, LEFT_BYTES))
            })
        },
        Attack {
            setting: Setting { metadata_disk_bytes: METADATA_DISK_BYTES, needs_root: true, ..apart() },
            ..attack("full_to_the_last_byte", 17, "the same to the last byte, as fast as it goes", |stage| {
                Box::pin(fill_disk(stage, 0))
            })
        },
    ]
}

/// Longer than a metadata server takes between two checkpoints (5 s): before the first the log is
/// all there is of a cluster.
const CHECKPOINTED: Duration = Duration::from_secs(12);

/// Longer than a data server takes to say how far its journal is (a second): docs/security.md names
/// what is lost before.
const MARKED: Duration = Duration::from_secs(3);

/// A data server has so long to write again what it found bad: docs/security.md names 2 s.
const REPAIRED: Duration = Duration::from_secs(5);
/// Others do not run for so long: less than the lease of a data server, so that nothing is moved.
const ALONE: Duration = Duration::from_millis(2_500);

/// What is left of a metadata disk that is full: less than half of the 64 MiB below which room is
/// refused.
const LEFT_BYTES: u64 = 16 << 20;
/// A server may take so long to notice that its disk is full, or that there is room again.
const ROOM_MS_MAX: u64 = 15_000;

/// Names that are removed from a full disk.
const REMOVED: u32 = 20;

const FILES: u64 = 12;
const FILE_BYTES: usize = 256 << 10;

fn path_of(number: u64) -> String {
    format!("stored-{number}")
}

/// Writes all files, each with the bytes of a round.
async fn write_all(client: &mut Client, round: u64) -> Outcome<()> {
    for number in 0..FILES {
        let file = tree::open_file(client, &path_of(number), 0o644).await?;
        let data = Bytes::from(pattern(round * 1000 + number, FILE_BYTES));
        tree::write_file(client, &file, 0, data).await?;
        tree::close_file(client, &file).await?;
    }
    Ok(())
}

/// Reads all files; each must come, within a time, with the bytes of the round.
async fn read_all(client: &mut Client, round: u64, evidence: &mut Evidence) -> Outcome<()> {
    for number in 0..FILES {
        let path = path_of(number);
        let file = tree::open_file(client, &path, 0o644).await?;
        let until = Instant::now() + Duration::from_millis(READABLE_MS_MAX);
        let model = pattern(round * 1000 + number, FILE_BYTES);
        loop {
            match read_whole(client, &file).await {
                Ok(data) if data == model => break,
                Ok(_) => {
                    evidence.exceeded(format!("{path}: other bytes than were acknowledged"));
                    break;
                }
                Err(error) if until < Instant::now() => {
                    evidence.broken(format!("{path} cannot be read: {error}"));
                    break;
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
        tree::close_file(client, &file).await?;
    }
    Ok(())
}

async fn read_whole(client: &mut Client, file: &Opened) -> Outcome<Vec<u8>> {
    let count = u32::try_from(FILE_BYTES).unwrap_or(u32::MAX);
    Ok(tree::read_file(client, file, 0, count).await?.data.to_vec())
}

/// What `shoal admin health` says of a data server that is behind what it acknowledged.
const BEHIND: &str = "lack what they had acknowledged";

/// Waits until the data server refuses to start, or health names it: a store that lost something
/// must be kept out.
async fn wait_until_kept_out(stage: &Stage, index: usize, evidence: &mut Evidence) {
    let until = Instant::now() + Duration::from_millis(READABLE_MS_MAX);
    while Instant::now() < until {
        if let Some(status) = stage.cluster.processes.lock()[index].ended() {
            evidence.note(format!("it refuses to start: {status}"));
            return;
        }
        if stage.cluster.problems().iter().any(|text| text.contains(BEHIND)) {
            evidence.note("health says that it is behind");
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
    evidence.broken("neither does it refuse to start, nor does health say that it is behind");
}

/// Files of which the first data server is the primary must be there, or it has nothing to lose.
fn some_must_be_first(stage: &Stage) -> Outcome<()> {
    for number in 0..FILES {
        if stage.cluster.home_of(&format!("/{}", path_of(number)))? == 0 {
            return Ok(());
        }
    }
    Err(failed("the first data server is the primary of no file"))
}

async fn lose_store(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut writer = client(stage, 0, "stores").await?;
    write_all(&mut writer, 1).await?;
    some_must_be_first(stage)?;
    let index = Cluster::process_of(0);
    stage.cluster.processes.lock()[index].kill();
    let journal = stage.cluster.data_directory(0).join("journal");
    let mut removed = 0;
    for entry in std::fs::read_dir(&journal).during("the journal")?.flatten() {
        std::fs::remove_file(entry.path())?;
        removed += 1;
    }
    must_have_happened(&mut evidence, "files of a journal", (removed, 1), None);
    stage.start_again(index)?;
    wait_until_kept_out(stage, index, &mut evidence).await;
    read_all(&mut writer, 1, &mut evidence).await?;
    replace(stage, 0).await?;
    writer.end().await?;
    Ok(evidence)
}

async fn put_back(stage: &Stage, wait: Duration) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut writer = client(stage, 0, "stores").await?;
    write_all(&mut writer, 1).await?;
    let index = Cluster::process_of(0);
    let directory = stage.cluster.data_directory(0);
    let old = stage.cluster.directory.join("old");
    stage.cluster.processes.lock()[index].kill();
    command("cp", &["-a", &text(&directory), &text(&old)])?;
    stage.start_again(index)?;
    stage.cluster.wait_until_up().await?;
    healthy(stage).await?;
    write_all(&mut writer, 2).await?;
    some_must_be_first(stage)?;
    sleep(wait).await;
    stage.cluster.processes.lock()[index].kill();
    std::fs::remove_dir_all(&directory)?;
    std::fs::rename(&old, &directory)?;
    stage.start_again(index)?;
    wait_until_kept_out(stage, index, &mut evidence).await;
    read_all(&mut writer, 2, &mut evidence).await?;
    replace(stage, 0).await?;
    writer.end().await?;
    Ok(evidence)
}

/// Waits until everything is kept as promised.
async fn healthy(stage: &Stage) -> Outcome<()> {
    let until = Instant::now() + Duration::from_millis(READABLE_MS_MAX);
    loop {
        let problems = stage.cluster.problems();
        if problems.is_empty() {
            return Ok(());
        }
        if until < Instant::now() {
            return Err(failed(problems.join("; ")));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// What an administrator does with a disk that was refused: empties it, and starts the data server
/// on it.
async fn replace(stage: &Stage, number: usize) -> Outcome<()> {
    let index = Cluster::process_of(number);
    stage.cluster.processes.lock()[index].kill();
    std::fs::remove_dir_all(stage.cluster.data_directory(number))?;
    stage.start_again(index)
}

async fn lose_log(stage: &Stage, wait: Duration) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let log = stage.cluster.metadata_directory().join("log");
    let aside = stage.cluster.directory.join("log-aside");
    sleep(wait).await;
    stage.cluster.processes.lock()[0].kill();
    std::fs::rename(&log, &aside).during("the log")?;
    stage.start_again(0)?;
    let until = Instant::now() + Duration::from_secs(10);
    let mut ended = None;
    while ended.is_none() && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
        ended = stage.cluster.processes.lock()[0].ended();
    }
    let said = stage.cluster.processes.lock()[0].said();
    match ended {
        Some(status) if !status.success() && said.contains("--accept-log-loss") => {
            evidence.note(format!("it refuses to start: {status}"));
        }
        Some(status) => {
            let last = said.lines().last().unwrap_or_default();
            evidence.broken(format!("it ended with {status}, and does not name --accept-log-loss: {last}"));
        }
        None => evidence.broken("it starts from a checkpoint without a word"),
    }
    stage.cluster.processes.lock()[0].kill();
    if log.exists() {
        std::fs::remove_dir_all(&log)?;
    }
    std::fs::rename(&aside, &log)?;
    stage.start_again(0)?;
    stage.cluster.wait_until_up().await?;
    Ok(evidence)
}

/// How long it takes until the honest client has done some operations more.
async fn stall(stage: &Stage) -> Duration {
    let (began, done) = (Instant::now(), stage.meter.operations());
    let (mut last, mut seen, mut longest) = (began, done, Duration::ZERO);
    // Watched for so long that each of its kinds of operations has had its turn.
    while began.elapsed() < Duration::from_millis(FAILOVER_MS_MAX) * 2 {
        sleep(Duration::from_millis(20)).await;
        if stage.meter.operations() != seen {
            (last, seen) = (Instant::now(), stage.meter.operations());
        }
        longest = longest.max(last.elapsed());
    }
    longest
}

/// The longest operation must not be longer than a failover may take.
fn judge_wait(stage: &Stage, stalled: Duration, evidence: &mut Evidence) {
    let longest = Duration::from_micros(stage.meter.latency().longest_us).max(stalled);
    evidence.note(format!("the longest wait was {longest:.1?}"));
    if Duration::from_millis(FAILOVER_MS_MAX) < longest {
        evidence.broken(format!("an operation waited for {longest:.1?}"));
    }
}

async fn fail_writes(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let home = stage.cluster.home_of(&format!("/{LARGE}"))?;
    let index = Cluster::process_of(home);
    let id = stage.cluster.processes.lock()[index].id().to_string();
    command("prlimit", &["--pid", &id, "--fsize=0:unlimited"])?;
    let stalled = stall(stage).await;
    judge_wait(stage, stalled, &mut evidence);
    let now = stage.cluster.home_of(&format!("/{LARGE}"))?;
    if now == home {
        evidence.broken("the data server whose disk is dead is still the home");
    }
    // The process may have ended by itself: its disk is gone. Here it comes back with a disk that
    // works.
    if stage.cluster.processes.lock()[index].ended().is_some() {
        evidence.note("the data server ended by itself");
        stage.start_again(index)?;
    } else {
        if !stage.cluster.processes.lock()[index].said().contains("the disk failed") {
            evidence.broken("the data server does not say that its disk failed");
        }
        // It serves nothing until it is started again, on a disk that works.
        stage.cluster.processes.lock()[index].kill();
        stage.start_again(index)?;
    }
    Ok(evidence)
}

async fn flip_bits(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut writer = client(stage, 0, "stores").await?;
    write_all(&mut writer, 1).await?;
    let home = stage.cluster.home_of(&format!("/{}", path_of(0)))?;
    let flipped = flip_in(&stage.cluster.data_directory(home).join("journal"))?;
    let began = Instant::now();
    read_all(&mut writer, 1, &mut evidence).await?;
    let took = began.elapsed();
    evidence.note(format!("{flipped} bits; all files were read in {took:.1?}"));
    judge_wait(stage, Duration::ZERO, &mut evidence);
    if Duration::from_millis(FAILOVER_MS_MAX) < took {
        evidence.broken(format!("READs waited for {took:.1?}"));
    }
    read_alone(stage, home, &mut writer, &mut evidence).await?;
    writer.end().await?;
    Ok(evidence)
}

/// Reads the files of a data server while no other one runs: their bytes are those of its own
/// journal, which must be good again.
async fn read_alone(stage: &Stage, home: usize, reader: &mut Client, evidence: &mut Evidence) -> Outcome<()> {
    let mut own = Vec::new();
    for number in 0..FILES {
        if stage.cluster.home_of(&format!("/{}", path_of(number)))? == home {
            own.push(number);
        }
    }
    sleep(REPAIRED).await;
    let signal_others = |signal: &str| -> Outcome<()> {
        let processes = stage.cluster.processes.lock();
        for (index, process) in processes.iter().enumerate().skip(1) {
            if index != Cluster::process_of(home) {
                process.signal(signal)?;
            }
        }
        Ok(())
    };
    signal_others("STOP")?;
    let read = timeout(ALONE, async {
        for number in &own {
            let file = tree::open_file(reader, &path_of(*number), 0o644).await?;
            let data = read_whole(reader, &file).await?;
            if data != pattern(1000 + number, FILE_BYTES) {
                evidence.exceeded(format!("{}: other bytes than were acknowledged", path_of(*number)));
            }
            tree::close_file(reader, &file).await?;
        }
        Ok::<(), Failed>(())
    })
    .await;
    signal_others("CONT")?;
    match read {
        Ok(Ok(())) => evidence.note(format!("{} files read while no other data server ran", own.len())),
        Ok(Err(error)) => evidence.broken(format!("it does not serve by itself what it repaired: {error}")),
        Err(_) => evidence
            .broken(format!("what it repaired cannot be read in {ALONE:?} while no other data server runs")),
    }
    Ok(())
}

/// Flips a bit in each stretch of the journal's records, behind the first block of each segment.
fn flip_in(journal: &Path) -> Outcome<u32> {
    use std::os::unix::fs::FileExt;
    const STRETCH: u64 = 96 << 10;
    let mut flipped = 0;
    for entry in std::fs::read_dir(journal).during("the journal")?.flatten() {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(entry.path())?;
        let bytes = file.metadata()?.len();
        let mut at = STRETCH;
        while at < bytes {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            // What was never written is zero.
            if byte[0] != 0 {
                file.write_all_at(&[byte[0] ^ 0x10], at)?;
                flipped += 1;
            }
            at += STRETCH;
        }
    }
    if flipped == 0 { Err(failed("the journal has nothing to flip")) } else { Ok(flipped) }
}

async fn fill_disk(stage: &Stage, left_bytes: u64) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let ended = async {
        while stage.cluster.processes.lock()[0].ended().is_none() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    // Requests to a server that has ended would be repeated for long.
    tokio::select! {
        filled = fill_and_free(stage, left_bytes, &mut evidence) => filled?,
        () = ended => evidence.broken("the metadata server ended"),
    }
    Ok(evidence)
}

async fn fill_and_free(stage: &Stage, left_bytes: u64, evidence: &mut Evidence) -> Outcome<()> {
    let mut writer = client(stage, 0, "fills").await?;
    for number in 0..REMOVED {
        let file = tree::open_file(&mut writer, &format!("fill-{number}"), 0o644).await?;
        tree::write_file(&mut writer, &file, 0, vec![1; 4096].into()).await?;
        tree::close_file(&mut writer, &file).await?;
    }
    // The writer may be kept waiting in the end, with its one slot taken.
    let mut remover = client(stage, 0, "removes").await?;
    let filler = stage.cluster.metadata_directory().join("filler");
    let reserve = stage.cluster.metadata_directory().join("reserve");
    stage.honest.spare(true);
    fill(&filler, left_bytes)?;
    let (made, refused) = make_until_refused(&mut writer).await;
    evidence.note(format!("{made} files made on the full disk, then: {refused}"));
    if !refused.contains("NFS4ERR_NOSPC") {
        evidence.broken(format!("what needs room is not refused with NOSPC: {refused}"));
    }
    let until = Instant::now() + Duration::from_millis(ROOM_MS_MAX);
    while 0 < std::fs::metadata(&reserve).map_or(0, |file| file.len()) {
        if until < Instant::now() {
            evidence.broken("the reserve is not given back");
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    // The room of the reserve is taken, too.
    fill(&filler, left_bytes)?;
    let before = stage.meter.operations();
    sleep(Duration::from_secs(3)).await;
    if stage.meter.operations() == before {
        evidence.broken("reads do not go on while the disk is full");
    }
    let remove = async {
        for number in 0..REMOVED {
            let path = format!("fill-{number}");
            tree::good(tree::remove_name(&mut remover, &path).await?, "REMOVE on the full disk")?;
        }
        Ok::<(), Failed>(())
    };
    match timeout(Duration::from_secs(20), remove).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => evidence.broken(error.to_string()),
        Err(_) => evidence.broken("REMOVE waits on the full disk"),
    }
    std::fs::remove_file(&filler)?;
    let mut again = client(stage, 0, "makes again").await.during("a client when there is room again")?;
    let until = Instant::now() + Duration::from_millis(ROOM_MS_MAX);
    loop {
        let opened = tree::open_file(&mut again, "after", 0o644).await;
        if opened.is_ok() || until < Instant::now() {
            stage.honest.spare(false);
            return opened.map(drop).during("OPEN when there is room again");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// New names, until they are refused: the room in files that the server has is used up first. How
/// many came, and what ended it.
async fn make_until_refused(writer: &mut Client) -> (u32, String) {
    let (mut made, until) = (0, Instant::now() + Duration::from_secs(20));
    loop {
        let path = format!("more-{made}");
        let make = async {
            let file = tree::open_file(writer, &path, 0o644).await?;
            tree::write_file(writer, &file, 0, vec![2; 12_000].into()).await?;
            tree::close_file(writer, &file).await
        };
        match timeout(Duration::from_secs(10), make).await {
            Ok(Ok(())) if Instant::now() < until => made += 1,
            Ok(Ok(())) => return (made, "not refused".to_owned()),
            Ok(Err(error)) => return (made, error.to_string()),
            Err(_) => return (made, "answered DELAY for 10 s".to_owned()),
        }
    }
}

/// A file that grows until so little room is left.
fn fill(path: &Path, left_bytes: u64) -> Outcome<()> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(path);
    let free = command("df", &["--output=avail", "--block-size=1", &text(folder)])?;
    let free: u64 = free.lines().last().unwrap_or_default().trim().parse().during("df")?;
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    let block = vec![0x5a; 64 << 10];
    for _ in 0..free.saturating_sub(left_bytes) / block.len() as u64 {
        // What the server writes meanwhile takes room, too.
        match file.write_all(&block) {
            Err(error) if left_bytes == 0 && error.kind() == std::io::ErrorKind::StorageFull => break,
            written => written.during("the filler")?,
        }
    }
    let mut bytes = if left_bytes == 0 { block.len() } else { 0 };
    while 0 < bytes {
        // Less and less, until nothing fits.
        match file.write(&block[..bytes]) {
            Ok(written) if 0 < written => {}
            _ => bytes /= 2,
        }
    }
    Ok(())
}
