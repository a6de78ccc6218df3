//! The group `degraded`: the primary of a sealed file dies, and every replica of it; the client
//! reads on through a reader, by itself.
//!
//! Before any extent has moved, and not by the metadata server: the counters of the data
//! servers say who answered. Then the file is overwritten, and a client that still holds a layout
//! from before must not be told an old byte by the reader.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::guest::Guest;
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::server::ours::shoal;
use super::stage::{self, Stage};
use super::{drain, ec};

const DATA_SERVERS: usize = 6;
/// Bytes of the file: one extent, a few dozen READs.
const FILE_MIB: u64 = 16;
/// By then everything that rests is in groups and the journals have released it.
const SEAL_SECONDS_MAX: u64 = 240;
/// By then a server that came back has what it missed.
const WHOLE_SECONDS_MAX: u64 = 120;
/// A reader must have given the whole file by then. An extent whose set is gone gets another
/// server after 13 s at the earliest.
const READ_SECONDS_MAX: f64 = 10.0;
/// The lease of data servers, and a heartbeat.
const LEASE: Duration = Duration::from_secs(4);
/// What a metadata server may read for itself meanwhile.
const IN_BAND_BYTES_MAX: f64 = 65_536.0;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "degraded",
    name: "second-mirror",
    proves: "primary and replicas of a sealed file killed: clients read on within 10 s through the second mirror, before anything was \
             moved; what was overwritten since is never read old, by a layout from before either",
    needs: Needs::DataServers,
    play: second_mirror,
}];

fn second_mirror(stage: &mut Stage) -> Result<()> {
    stage.with_server_of(Kind::ShoalEc, None, play)
}

fn play(stage: &mut Stage) -> Result<()> {
    write(stage)?;
    let sealed_s = ec::wait(stage, "sealed", SEAL_SECONDS_MAX, ec::is_sealed)?;
    println!("  sealed after {sealed_s:.0} s");
    let keepers = keepers(stage, "/degraded/one")?;
    // One client has a layout, the other asks for its first one when the primary is dead.
    for guest in stage.guests() {
        stage::remount(guest)?;
    }
    hold_layout(&stage.a)?;
    let placed = placed(stage)?;
    let healthy = Counters::read(stage)?;
    ensure!(healthy.reader_bytes == 0.0, "a reader was asked although the primary lives");
    kill(stage, &keepers)?;
    read_on(stage, &healthy, Instant::now())?;
    ensure!(self::placed(stage)? == placed, "the file was moved meanwhile: it proves nothing");
    start(stage, &keepers)?;
    overwritten(stage)
}

/// Both clients read the whole file while its primary and all its replicas are dead.
fn read_on(stage: &Stage, before: &Counters, killed: Instant) -> Result<()> {
    let with_layout = check(&stage.a, "random-one").context("the client that held a layout")?;
    // By now the metadata server has missed the primary as well.
    std::thread::sleep(LEASE.saturating_sub(killed.elapsed()));
    let without = check(&stage.b, "random-one").context("the client that had none")?;
    let after = Counters::read(stage)?;
    let read = after.reader_bytes - before.reader_bytes;
    println!(
        "  primary and replicas killed: read in {with_layout:.1} s by a layout from before, in {without:.1} s by a new one; readers gave \
         {read} bytes"
    );
    ensure!(with_layout.max(without) < READ_SECONDS_MAX, "that is more than {READ_SECONDS_MAX} s");
    let expected = ((2 * FILE_MIB) << 20) as f64;
    ensure!(expected <= read, "readers gave {read} bytes, {expected} expected");
    let in_band = after.in_band_bytes - before.in_band_bytes;
    ensure!(in_band < IN_BAND_BYTES_MAX, "{in_band} bytes were read in band");
    ensure!(before.reader_layouts < after.reader_layouts, "no layout names a reader alone");
    Ok(())
}

/// A client overwrites a part; the other one has a layout from before, with a reader. Then the
/// primary dies.
fn overwritten(stage: &mut Stage) -> Result<()> {
    // Mounted again: no client avoids a server that was dead a moment ago.
    for guest in stage.guests() {
        stage::remount(guest)?;
    }
    hold_layout(&stage.b)?;
    let keepers = keepers(stage, "/degraded/one")?;
    stage.a.run(
        "tail -c 1M /mnt/lab/random | dd of=/mnt/c/degraded/one bs=1M seek=7 conv=notrunc,fsync iflag=fullblock status=none && \
         cp /tmp/random-one /tmp/random-two && \
         tail -c 1M /mnt/lab/random | dd of=/tmp/random-two bs=1M seek=7 conv=notrunc iflag=fullblock status=none",
    )?;
    check(&stage.b, "random-two").context("the other client, while the primary lives")?;
    // The primary alone: a replica has what was written.
    kill(stage, &keepers[..1])?;
    let before = Counters::read(stage)?;
    for guest in stage.guests() {
        drop_pages(guest)?;
    }
    let (a, b) = (&stage.a, &stage.b);
    let (other, own) = std::thread::scope(|scope| {
        let own = scope.spawn(|| check(a, "random-two"));
        (check(b, "random-two"), own.join())
    });
    let other = other.context("by a layout from before the overwrite, the primary dead")?;
    let own = own.map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    let own = own.context("the client that overwrote it, the primary dead")?;
    let after = Counters::read(stage)?;
    let (refused, given) =
        (after.reader_refusals - before.reader_refusals, after.reader_bytes - before.reader_bytes);
    println!(
        "  overwritten, primary killed: read after {other:.1} s by a layout from before, {own:.1} s by the writer; readers refused {refused}"
    );
    ensure!(given == 0.0, "readers gave {given} bytes of what is not at rest");
    ensure!(0.0 < refused, "no reader was asked: it proves nothing");
    start(stage, &keepers[..1])?;
    for guest in stage.guests() {
        stage::remount(guest)?;
        check(guest, "random-two").context("when all are back")?;
    }
    Ok(())
}

/// One file of one extent, and others for its group.
fn write(stage: &Stage) -> Result<()> {
    let bytes = FILE_MIB << 20;
    for guest in stage.guests() {
        guest.run(&format!("head -c {bytes} /mnt/lab/random >/tmp/random-one"))?;
    }
    stage
        .a
        .run_within(
            "mkdir /mnt/c/degraded && cd /mnt/c/degraded && for name in one two three four; do cp /tmp/random-one $name; done && sync .",
            240,
        )
        .map(drop)?;
    stage
        .b
        .run(
            "cp /tmp/random-one /tmp/random-two && tail -c 1M /mnt/lab/random | \
                 dd of=/tmp/random-two bs=1M seek=7 conv=notrunc iflag=fullblock status=none",
        )
        .map(drop)
}

/// Has the client get a layout for reading, and keep it, but no page.
fn hold_layout(guest: &Guest) -> Result<()> {
    guest.run("head -c 1M /mnt/c/degraded/one | cmp -n 1048576 - /mnt/lab/random")?;
    drop_pages(guest)
}

/// Inodes stay, and their layouts.
fn drop_pages(guest: &Guest) -> Result<()> {
    guest.run("echo 1 >/proc/sys/vm/drop_caches").map(drop)
}

/// Compares the file with what it should be; how long that took, seconds.
fn check(guest: &Guest, expected: &str) -> Result<f64> {
    let began = Instant::now();
    guest.run_within(&format!("cmp /mnt/c/degraded/one /tmp/{expected} 2>&1"), 120)?;
    Ok(began.elapsed().as_secs_f64())
}

/// Primary and epoch of the file's one extent: the epoch rises with whatever is done about it.
fn placed(stage: &mut Stage) -> Result<(String, String)> {
    let extent = extent(stage, "/degraded/one")?;
    Ok((extent["home"]["server"].to_string(), extent["epoch"].to_string()))
}

/// The first extent of a file, as `verify` tells it.
fn extent(stage: &mut Stage, path: &str) -> Result<serde_json::Value> {
    let told = shoal(&mut stage.server)?.administer(&["verify", "--json", path])?;
    let mut told: serde_json::Value = serde_json::from_str(&told).context("what verify says")?;
    Ok(told["extents"][0].take())
}

/// The processes that keep the one extent of a file, the primary first.
fn keepers(stage: &mut Stage, path: &str) -> Result<Vec<usize>> {
    let mut numbers = BTreeMap::new();
    for process in 1..=DATA_SERVERS {
        let address = shoal(&mut stage.server)?.data_addresses()[process - 1];
        numbers.insert(drain::number(stage, address)?.context("it is not listed")?, process);
    }
    let extent = extent(stage, path)?;
    ensure!(extent["state"] == "at rest", "{extent}");
    let ids = std::iter::once(&extent["home"]).chain(extent["backups"].as_array().into_iter().flatten());
    let process = |at: &serde_json::Value| {
        let id = at["server"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.and_then(|id| numbers.get(&id).copied()).context("a data server that is not listed")
    };
    ids.map(process).collect()
}

fn kill(stage: &mut Stage, processes: &[usize]) -> Result<()> {
    let shoal = shoal(&mut stage.server)?;
    processes.iter().for_each(|process| shoal.kill_data_server(*process));
    Ok(())
}

/// Starts them again, and waits until everything has its copies.
fn start(stage: &mut Stage, processes: &[usize]) -> Result<()> {
    for process in processes {
        shoal(&mut stage.server)?.start_one(*process)?;
    }
    ec::wait(stage, "whole", WHOLE_SECONDS_MAX, ec::is_whole).map(drop)
}

/// What the servers have counted.
#[derive(Clone, Copy, Debug)]
struct Counters {
    /// File data that readers gave.
    reader_bytes: f64,
    reader_refusals: f64,
    reader_layouts: f64,
    /// File data that the metadata server read for clients.
    in_band_bytes: f64,
}

impl Counters {
    fn read(stage: &Stage) -> Result<Self> {
        let metrics = stage.metrics()?;
        let of = |name: &str| metrics.sum(name, &[]);
        Ok(Self {
            reader_bytes: of("shoal_reader_bytes_total"),
            reader_refusals: of("shoal_reader_refusals_total"),
            reader_layouts: of("shoal_reader_layouts_total"),
            in_band_bytes: metrics.sum("shoal_data_bytes_total", &["role=\"mds\"", "direction=\"read\""]),
        })
    }
}
