//! The group `rebalance`: a data server is added to a cluster that holds sealed files, while a
//! kernel client writes.
//!
//! In the end each server must hold its share, and no more may have moved than that takes; then
//! nothing moves any more. The application must see no error, and every byte must be there, read by
//! a mount that has nothing cached.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::agent::Ask;
use super::ds_failover::longest;
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::server::ours::shoal;
use super::stage::{self, Stage};

/// The one that is added.
const NEW: usize = 4;
/// What all four may store.
const CAPACITY_BYTES: u64 = 4 * SERVER_BYTES;
/// What each may.
const SERVER_BYTES: u64 = 2 << 30;
/// Files that are there before, and how large each is.
const FILES: (u64, u64) = (40, 16);
/// By then everything that rests is in groups.
const SEAL_SECONDS_MAX: u64 = 240;
/// By then each has its share, and old files have gone.
const MOVE_SECONDS_MAX: u64 = 300;
/// Servers are as full as that of each other, in parts of what each may store: the difference with
/// which moving begins.
const APART_MAX: f64 = 0.05;
/// Nothing may move for so long in the end.
const STILL_SECONDS: u64 = 30;
/// No operation of the application may take longer.
const STALL_SECONDS_MAX: f64 = 10.0;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "rebalance",
    name: "one-more",
    proves: "an empty data server added to three under fio: each holds its share in the end, no more was moved than that, \
             nothing moves any more, no error, no wrong byte",
    needs: Needs::DataServers,
    play: one_more,
}];

fn one_more(stage: &mut Stage) -> Result<()> {
    stage.with_server_of(Kind::ShoalGrowing, Some(CAPACITY_BYTES), play)
}

fn play(stage: &mut Stage) -> Result<()> {
    let (files, mib) = FILES;
    let write = format!(
        "mkdir -p /mnt/c/before /mnt/c/fio && cd /mnt/c/before && for i in $(seq {files}); do \
         tail -c +$((i*7919)) /mnt/lab/random | head -c {mib}M >f-$i; done && sync . && sha256sum * >/tmp/before.sha256"
    );
    stage.a.run_within(&write, 400)?;
    wait(SEAL_SECONDS_MAX, || Ok(super::ec::is_sealed(&stage.metrics()?).is_ok())).context("not sealed")?;
    let before = held(stage, 1..NEW)?;
    println!("  three servers hold {} MiB each", mebibytes(&before));
    let (job, reply, took) = add(stage)?;
    ensure!(reply.code == Some(0), "fio: {:?}\n{}{}", reply.code, reply.stdout, reply.stderr);
    let stall = longest(&reply.stdout)?;
    let settled = wait(MOVE_SECONDS_MAX, || {
        let sealed = super::ec::is_sealed(&stage.metrics()?).is_ok();
        let still = rests(stage)?;
        Ok(sealed && still && apart(&held(stage, 1..NEW + 1)?) <= APART_MAX)
    });
    let after = held(stage, 1..NEW + 1)?;
    let moved = moved(stage)?;
    println!(
        "  one more: the first bytes there after {took:.0} s, four servers hold {} MiB each, {:.0} MiB were moved, longest stall {stall:.2} s",
        mebibytes(&after),
        moved / f64::from(1 << 20)
    );
    settled.with_context(|| format!("they differ by {:.3} of what each may store", apart(&after)))?;
    let share = after.iter().sum::<f64>() / after.len() as f64;
    ensure!(
        moved <= share + APART_MAX * SERVER_BYTES as f64,
        "{moved} bytes were moved for a share of {share}"
    );
    ensure!(stall < STALL_SECONDS_MAX, "an operation took {stall:.2} s");
    std::thread::sleep(Duration::from_secs(STILL_SECONDS));
    ensure!(self::moved(stage)? <= moved, "it does not come to rest");
    stage::remount(&stage.a)?;
    stage.a.run_within("cd /mnt/c/before && sha256sum --quiet -c /tmp/before.sha256 2>&1", 400)?;
    stage.a.run_within(&format!("{job} --verify_only 2>&1"), 180).context("what was written is not there")?;
    let told = shoal(&mut stage.server)?.administer(&["verify", "/before/f-1"])?;
    ensure!(told.contains("all as it should be"), "{told}");
    Ok(())
}

/// Starts the new one while fio writes, and returns when it has got something and fio has ended:
/// fio's command, what it said, and how long the first bytes took.
fn add(stage: &mut Stage) -> Result<(String, super::agent::Reply, f64)> {
    let job = "fio --name=job --directory=/mnt/c/fio --numjobs=2 --size=24m --bs=64k --rw=randwrite --rate=600k --fsync=8 \
               --ioengine=psync --verify=crc32c --allrandrepeat=1 --verify_fatal=1 --output-format=json"
        .to_owned();
    let write = Ask { script: format!("{job} --do_verify=0 2>&1"), uid: None, timeout_s: 240 };
    let (a, server) = (&stage.a, &mut stage.server);
    let (reply, took) = std::thread::scope(|scope| {
        let fio = scope.spawn(|| a.ask(&write));
        std::thread::sleep(Duration::from_secs(2));
        let took = shoal(server).and_then(|shoal| {
            shoal.start_one(NEW)?;
            wait(MOVE_SECONDS_MAX, || Ok(0.0 < shoal.data_server_metrics(NEW)?.sum("shoal_image_bytes", &[])))
        });
        (fio.join(), took)
    });
    let reply = reply.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    Ok((job, reply, took.context("nothing moves")?))
}

/// Bytes of images and of what lives in journals, by server.
fn held(stage: &mut Stage, numbers: std::ops::Range<usize>) -> Result<Vec<f64>> {
    let shoal = shoal(&mut stage.server)?;
    let one = |number| {
        let metrics = shoal.data_server_metrics(number)?;
        Ok(metrics.sum("shoal_image_bytes", &[]) + metrics.sum("shoal_journal_live_bytes", &[]))
    };
    numbers.map(one).collect()
}

/// How much the fullest and the emptiest differ, in parts of what each may store.
fn apart(held: &[f64]) -> f64 {
    let most = held.iter().copied().fold(0.0, f64::max);
    let least = held.iter().copied().fold(f64::MAX, f64::min);
    (most - least) / SERVER_BYTES as f64
}

fn moved(stage: &Stage) -> Result<f64> {
    Ok(stage.metrics()?.sum("shoal_rebalance_moved_bytes_total", &[]))
}

/// Whether the metadata server says that nothing is to move.
fn rests(stage: &mut Stage) -> Result<bool> {
    let status = shoal(&mut stage.server)?.administer(&["status"])?;
    Ok(status.lines().any(|line| line.contains("Rebalance") && line.contains("nothing to move")))
}

fn mebibytes(held: &[f64]) -> String {
    held.iter().map(|bytes| format!("{:.0}", bytes / f64::from(1 << 20))).collect::<Vec<_>>().join(", ")
}

/// Waits until it is so; returns how long that took, seconds.
fn wait(seconds_max: u64, mut so: impl FnMut() -> Result<bool>) -> Result<f64> {
    let began = Instant::now();
    while !so()? {
        ensure!(began.elapsed() < Duration::from_secs(seconds_max), "not after {seconds_max} s");
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(began.elapsed().as_secs_f64())
}
