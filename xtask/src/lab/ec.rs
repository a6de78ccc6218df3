//! The group `ec`: files at rest are erasure-coded, any two of six data servers are lost with their
//! disks, twice.
//!
//! Every byte must be there all along, read by a mount that has nothing cached; writes go on; full
//! redundancy comes back by itself before the next two go.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::metrics::Metrics;
use super::scenario::{Needs, Scenario};
use super::server::{Kind, Server, shoal::Shoal};
use super::stage::{self, Stage};
use crate::guest::random;
use crate::process;

const DATA_SERVERS: usize = 6;
/// Large files, and how large each is.
const LARGE: (u64, u64) = (5, 200);
/// Small files, each too large to lie beside its inode.
const SMALL: (u64, u64) = (100, 100);
/// By then everything that rests is in groups and the journals have released it.
const SEAL_SECONDS_MAX: u64 = 240;
/// By then the images of two lost servers are somewhere else.
const REPAIR_SECONDS_MAX: u64 = 300;
/// By then short groups are joined where that saves parity.
const JOIN_SECONDS_MAX: f32 = 60.0;
/// Bytes on disk for each byte of files that nothing can squeeze: 1.5 is the code's own.
const STORED_MAX: f64 = 1.55;

/// Extents of all files, and servers that keep each while it is hot.
const COPIES: u64 = 2 * (LARGE.0 * LARGE.1.div_ceil(64) + SMALL.0);
/// What journals may still hold when all is sealed: for each copy the records that name its image,
/// its epoch and its last act. A single copy that is not sealed yet holds more than all of that,
/// however small its file.
const JOURNAL_LIVE_BYTES_MAX: u64 = 400 * COPIES;
const _: () = assert!(JOURNAL_LIVE_BYTES_MAX < SMALL.1 << 10, "the smallest file is seen");
/// Gauges are renewed every ten seconds at the latest.
const GOOD_LOOKS: u32 = 12;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "ec",
    name: "two-lost-twice",
    proves: "4+2 on six data servers: at most 1.55 bytes stored per byte; any two lost with their disks, then two others: \
             every byte is there, writes go on, full redundancy comes back by itself",
    needs: Needs::DataServers,
    play: two_lost_twice,
}];

fn two_lost_twice(stage: &mut Stage) -> Result<()> {
    stage.with_server_of(Kind::ShoalCoded, None, play)
}

fn play(stage: &mut Stage) -> Result<()> {
    write_files(stage)?;
    let logical = logical_bytes(stage)?;
    let took = wait(stage, "sealed", SEAL_SECONDS_MAX, is_sealed)?;
    let (stored, joined_s) = settled_bytes(stage, logical)?;
    let share = stored as f64 / logical as f64;
    let metrics = stage.metrics()?;
    let of = |name: &str| metrics.sum(name, &[]) as u64;
    let (journal, live) = (of("shoal_journal_bytes"), of("shoal_journal_live_bytes"));
    println!("  sealed after {took:.0} s: journals take {journal} bytes, {live} of them alive");
    let (living, dead) = (of("shoal_group_living_bytes"), of("shoal_group_dead_bytes"));
    println!(
        "  images take {} bytes in {} groups: {living} of extents, {dead} dead, the rest parity",
        of("shoal_image_bytes"),
        of("shoal_groups")
    );
    println!("  {stored} bytes stored for {logical}, {share:.3} each, {joined_s:.0} s later");
    ensure!(share <= STORED_MAX, "{share:.3} bytes are stored for each, {STORED_MAX} allowed");
    let mut order: Vec<usize> = (1..=DATA_SERVERS).collect();
    shuffle(&mut order, stage.seed.max(1));
    for (round, pair) in order[..4].chunks_exact(2).enumerate() {
        // What was written meanwhile has two copies until it is sealed.
        wait(stage, "sealed", SEAL_SECONDS_MAX, is_sealed)?;
        lose(stage, round, pair).with_context(|| format!("data servers {pair:?}, seed {}", stage.seed))?;
    }
    Ok(())
}

/// Two servers go with their disks, come back empty, and what they had is made again.
fn lose(stage: &mut Stage, round: usize, pair: &[usize]) -> Result<()> {
    for number in pair {
        shoal(&mut stage.server)?.kill_data_server(*number);
    }
    for number in pair {
        shoal(&mut stage.server)?.wipe_data_server(*number)?;
    }
    let began = Instant::now();
    stage::remount(&stage.a)?;
    let (a, b) = (&stage.a, &stage.b);
    // One reads what was sealed while the other writes on.
    let new = format!("head -c 100M /mnt/lab/random >/mnt/c/new-{round} && sync /mnt/c/new-{round}");
    let (read, wrote) = std::thread::scope(|scope| {
        let wrote = scope.spawn(|| b.run_within(&new, 240));
        (check(a), wrote.join())
    });
    read.context("two data servers are gone")?;
    wrote.map_err(|_| anyhow::anyhow!("a thread panicked"))?.context("writing while two are gone")?;
    let read_s = began.elapsed().as_secs_f32();
    for number in pair {
        shoal(&mut stage.server)?.start_one(*number)?;
    }
    let repaired = wait(stage, "repaired", REPAIR_SECONDS_MAX, is_whole)?;
    stage::remount(&stage.a)?;
    check(&stage.a).context("after the repair")?;
    for earlier in 0..=round {
        stage.a.run_within(&format!("cmp -n 104857600 /mnt/c/new-{earlier} /mnt/lab/random"), 120)?;
    }
    println!(
        "  data servers {pair:?} lost with their disks: all read in {read_s:.0} s without them, whole again after {repaired:.0} s"
    );
    Ok(())
}

fn write_files(stage: &Stage) -> Result<()> {
    let ((large, mib), (small, kib)) = (LARGE, SMALL);
    let script = format!(
        "mkdir /mnt/c/ec && cd /mnt/c/ec && for i in $(seq {large}); do \
         tail -c +$((i*7919)) /mnt/lab/random | head -c {mib}M >large-$i; done && \
         for i in $(seq {small}); do tail -c +$((i*104729)) /mnt/lab/random | head -c {kib}K >small-$i; done && sync . && \
         sha256sum * >/tmp/ec.sha256"
    );
    stage.a.run_within(&script, 600).map(drop)
}

fn check(guest: &super::guest::Guest) -> Result<()> {
    guest.run_within("cd /mnt/c/ec && sha256sum --quiet -c /tmp/ec.sha256 2>&1", 400).map(drop)
}

fn logical_bytes(stage: &Stage) -> Result<u64> {
    let said = stage.a.run("cat /mnt/c/ec/* | wc -c")?;
    Ok(said.trim().parse()?)
}

/// What the folders of all data servers take on this machine's disk.
fn stored_bytes(stage: &mut Stage) -> Result<u64> {
    let shoal = shoal(&mut stage.server)?;
    (1..=DATA_SERVERS).map(|number| disk_bytes(&shoal.data_folder(number))).sum()
}

/// The same, once it is little enough: groups that missed each other are joined some seconds later.
/// And after how many seconds.
fn settled_bytes(stage: &mut Stage, logical: u64) -> Result<(u64, f32)> {
    let began = Instant::now();
    loop {
        let stored = stored_bytes(stage)?;
        let took_s = began.elapsed().as_secs_f32();
        if stored as f64 <= STORED_MAX * logical as f64 || JOIN_SECONDS_MAX < took_s {
            return Ok((stored, took_s));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn disk_bytes(folder: &Path) -> Result<u64> {
    let said = process::words(&format!("du -s --block-size=1 {}", folder.display()))?;
    said.split_whitespace().next().context("du says nothing")?.parse().map_err(Into::into)
}

fn shuffle(order: &mut [usize], mut state: u64) {
    for at in (1..order.len()).rev() {
        order.swap(at, random(&mut state) as usize % (at + 1));
    }
}

fn shoal(server: &mut Server) -> Result<&mut Shoal> {
    match server {
        Server::Shoal(shoal) => Ok(shoal),
        _ => bail!("this server has no processes to choose from"),
    }
}

/// Everything is in groups, and every journal, of primaries and of replicas, lets images stand for
/// all of it.
pub(crate) fn is_sealed(metrics: &Metrics) -> Result<(), String> {
    let of = |name: &str| metrics.sum(name, &[]);
    let (groups, waiting) = (of("shoal_groups"), of("shoal_images_waiting"));
    let live = of("shoal_journal_live_bytes");
    let done = 0.0 < groups && waiting == 0.0 && live <= JOURNAL_LIVE_BYTES_MAX as f64;
    if done {
        Ok(())
    } else {
        Err(format!("{groups} groups, {waiting} images waiting, {live} bytes in journals"))
    }
}

/// No image is on a server that is away, and every extent has its copies.
pub(crate) fn is_whole(metrics: &Metrics) -> Result<(), String> {
    let gauges = [
        "shoal_images_away",
        "shoal_groups_unreadable",
        "shoal_extents_degraded",
        "shoal_extents_filling",
        "shoal_extents_unserved",
    ];
    let left: Vec<f64> = gauges.iter().map(|gauge| metrics.sum(gauge, &[])).collect();
    if left.iter().all(|count| *count == 0.0) {
        return Ok(());
    }
    Err(format!("images away, groups unreadable, extents degraded, filling, unserved: {left:?}"))
}

/// Waits until the metrics have been as wished for a while: gauges are renewed every few seconds.
/// Returns how long that took.
pub(super) fn wait(
    stage: &Stage,
    what: &str,
    seconds_max: u64,
    done: fn(&Metrics) -> Result<(), String>,
) -> Result<f64> {
    let (began, mut good) = (Instant::now(), 0);
    while good < GOOD_LOOKS {
        std::thread::sleep(Duration::from_secs(1));
        let outcome = done(&stage.metrics()?);
        good = if outcome.is_ok() { good + 1 } else { 0 };
        if Duration::from_secs(seconds_max) < began.elapsed() {
            bail!("not {what} after {seconds_max} s: {}", outcome.err().unwrap_or_default());
        }
    }
    Ok(began.elapsed().as_secs_f64() - f64::from(GOOD_LOOKS))
}
