//! The group `ds-failover`: a data server killed under fio, again and again; every second time its
//! disk is lost as well.
//!
//! The application must see no error, only a stall; what it wrote must be there afterwards, read by
//! a mount that has nothing cached. After each round the cluster must come back to full redundancy
//! by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::agent::Ask;
use super::postgres;
use super::scenario::{Needs, Scenario};
use super::server::ours::shoal;
use super::server::{Kind, Server, shoal::Shoal};
use super::stage::{self, Stage};
use crate::guest::random;

/// Data servers of the split server.
const DATA_SERVERS: usize = 3;
/// A client writes by then.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// No operation of the application may take longer.
const STALL_SECONDS_MAX: f64 = 30.0;
/// By then a lost server's extents have their copies again.
const REPAIR_SECONDS_MAX: u64 = 120;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        group: "ds-failover",
        name: "home-killed",
        proves: "a data server killed under fio, its disk lost every second time: no error, no wrong byte, redundancy comes back",
        needs: Needs::DataServers,
        play: rounds,
    },
    postgres::DATA_SERVERS_SCENARIO,
];

fn rounds(stage: &mut Stage) -> Result<()> {
    stage.with_server_of(Kind::ShoalSplit, None, all)
}

fn all(stage: &mut Stage) -> Result<()> {
    let mut state = stage.seed.max(1);
    let mut stalls = Vec::new();
    for round in 0..stage.rounds {
        let pause = Duration::from_millis(2_000 + random(&mut state) % 3_000);
        let wipe = round % 2 == 1;
        let stall = one(stage, round, pause, wipe).with_context(|| {
            format!("round {round}, seed {}, killed after {pause:?}, disk lost: {wipe}", stage.seed)
        })?;
        stalls.push(stall);
    }
    stalls.sort_by(f64::total_cmp);
    let at = |share: usize| stalls[(stalls.len() * share / 100).min(stalls.len() - 1)];
    println!(
        "  {} rounds: longest stall of an operation p50 {:.2} s, p99 {:.2} s, max {:.2} s",
        stalls.len(),
        at(50),
        at(99),
        at(100)
    );
    Ok(())
}

/// One round; returns the longest time, in seconds, that an operation of fio took.
fn one(stage: &mut Stage, round: u32, pause: Duration, wipe: bool) -> Result<f64> {
    let dir = "/mnt/c/failover";
    // Every block is written once and flushed with its neighbours, not faster than a slow machine
    // can follow.
    let job = format!(
        "fio --name=job --directory={dir} --filename_format='r{round}.$jobnum' --numjobs=3 --size=48m --bs=64k \
         --rw=randwrite --rate=5m --fsync=8 --ioengine=psync --verify=crc32c --randseed={} --allrandrepeat=1 \
         --verify_fatal=1 --output-format=json",
        round + 1
    );
    stage.a.run(&format!("mkdir -p {dir}"))?;
    let before = written(stage)?;
    let (a, server) = (&stage.a, &mut stage.server);
    let write = Ask { script: format!("{job} --do_verify=0 2>&1"), uid: None, timeout_s: 180 };
    let (reply, killed) = std::thread::scope(|scope| {
        let fio = scope.spawn(|| a.ask(&write));
        let killed = under_way(server, &before).and_then(|()| {
            std::thread::sleep(pause);
            kill_busy(server, &before, round, wipe)
        });
        (fio.join(), killed)
    });
    let number = killed?;
    let reply = reply.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    ensure!(reply.code == Some(0), "fio: {:?}\n{}{}", reply.code, reply.stdout, reply.stderr);
    let stall = longest(&reply.stdout)?;
    // What is read back comes from the data servers that are left.
    stage::remount(&stage.a)?;
    stage.a.run_within(&format!("{job} --verify_only 2>&1"), 180).context("what was written is not there")?;
    shoal(&mut stage.server)?.start_one(number)?;
    let repaired = wait_for_copies(stage)?;
    println!(
        "  round {:3}: data server {number} killed{}, longest stall {stall:.2} s, all copies back after {repaired:.1} s",
        round + 1,
        if wipe { ", its disk lost" } else { "" },
    );
    ensure!(stall < STALL_SECONDS_MAX, "an operation took {stall:.2} s");
    stage.a.run(&format!("rm -f {dir}/*"))?;
    Ok(stall)
}

/// Bytes that clients have written to each data server.
fn written(stage: &mut Stage) -> Result<Vec<f64>> {
    let shoal = shoal(&mut stage.server)?;
    (1..=DATA_SERVERS).map(|number| written_to(shoal, number)).collect()
}

fn written_to(shoal: &Shoal, number: usize) -> Result<f64> {
    Ok(shoal.data_server_metrics(number)?.sum("shoal_data_bytes_total", &["direction=\"write\""]))
}

/// Waits until clients write: a client on a busy machine may take its time to begin.
fn under_way(server: &mut Server, before: &[f64]) -> Result<()> {
    let shoal = shoal(server)?;
    let began = Instant::now();
    while began.elapsed() < BEGIN_MAX {
        for (number, before) in (1..).zip(before) {
            if *before < written_to(shoal, number)? {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("no client has written anything in {BEGIN_MAX:?}")
}

/// Kills one of the data servers that clients have written most to since `before`: it is primary of
/// what is being written.
fn kill_busy(server: &mut Server, before: &[f64], round: u32, wipe: bool) -> Result<usize> {
    let shoal = shoal(server)?;
    let since = |(number, before): (usize, &f64)| Ok((number, written_to(shoal, number)? - before));
    let since = (1..).zip(before).map(since).collect::<Result<Vec<_>>>()?;
    let most = since.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max);
    let busy: Vec<usize> =
        since.iter().filter(|(_, bytes)| most / 2.0 < *bytes).map(|(one, _)| *one).collect();
    let number = busy[round as usize % busy.len()];
    shoal.kill_data_server(number);
    if wipe {
        shoal.wipe_data_server(number)?;
    }
    Ok(number)
}

/// The longest write or flush in fio's report, seconds.
pub(super) fn longest(report: &str) -> Result<f64> {
    let json = report.find('{').map(|at| &report[at..]).context("fio says nothing")?;
    let report: serde_json::Value = serde_json::from_str(json).context("fio's report")?;
    let jobs = report["jobs"].as_array().context("fio's report has no jobs")?;
    let mut longest = 0.0_f64;
    for job in jobs {
        ensure!(job["error"] == 0, "fio's job ended with {}", job["error"]);
        for ns in [&job["write"]["lat_ns"]["max"], &job["sync"]["lat_ns"]["max"]] {
            longest = longest.max(ns.as_f64().unwrap_or(0.0) / 1e9);
        }
    }
    Ok(longest)
}

/// Waits until every extent has all its copies; returns how long that took, seconds.
fn wait_for_copies(stage: &Stage) -> Result<f64> {
    let began = Instant::now();
    let mut quiet = 0;
    // The gauges are renewed every few seconds: one good look may be an old one.
    while quiet < 12 {
        std::thread::sleep(Duration::from_millis(500));
        let metrics = stage.metrics()?;
        let gauges = ["shoal_extents_degraded", "shoal_extents_filling", "shoal_extents_unserved"];
        let left: Vec<f64> = gauges.iter().map(|gauge| metrics.sum(gauge, &[])).collect();
        quiet = if left.iter().all(|count| *count == 0.0) { quiet + 1 } else { 0 };
        ensure!(
            began.elapsed() < Duration::from_secs(REPAIR_SECONDS_MAX),
            "after {REPAIR_SECONDS_MAX} s: degraded, filling, unserved extents are {left:?}"
        );
    }
    Ok(began.elapsed().as_secs_f64() - 6.0)
}
