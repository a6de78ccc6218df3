//! PostgreSQL on the mount, with data checksums, by itself and while servers are killed.
//!
//! PostgreSQL flushes its WAL with each commit, extends tables a page at a time, writes recycled
//! segments over, and notices a page that is not what it wrote. After `pgbench` it is stopped
//! without a checkpoint, and the other guest, which has none of its files cached, recovers it from
//! what the servers have: each commit must be there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::agent::Ask;
use super::fsx::beside::{Beside, wait_until_whole};
use super::guest::Guest;
use super::scenario::{Needs, Scenario};
use super::server::ours::shoal;
use super::server::{Kind, Server};
use super::stage::{self, Stage};
use crate::guest::random;

/// The functions that the guests run.
const FUNCTIONS: &str = include_str!("../../../conformance/lab/postgres.sh");
/// `pgbench` without a fault runs for so long.
const CALM: Duration = Duration::from_secs(30);
/// With faults it goes on for so long after the last one.
const AFTER: Duration = Duration::from_secs(10);
/// Between two kills, and from a kill to the start, milliseconds.
const ALIVE_MS: u64 = 4_000;
const DEAD_MS: u64 = 6_000;
const DATA_SERVERS: u64 = 3;
/// A step of a crawling machine, seconds.
const STEP_SECONDS_MAX: u64 = 400;
/// `pgbench` ends by then, however many servers are killed, seconds.
const BENCH_SECONDS_MAX: u64 = 3_600;
/// The file that ends `pgbench`, in the guest's memory.
const STOP: &str = "/tmp/pgbench.stop";

/// A scenario of the group `programs`.
pub(super) const CALM_SCENARIO: Scenario = Scenario {
    group: "programs",
    name: "postgres",
    proves: "pgbench, a crash of PostgreSQL, recovery on the other guest: every commit, page, index and sum is right",
    needs: Needs::Mount,
    play: |stage| play(stage, |_, is_over| sleep_unless_over(CALM, is_over)),
};

/// A scenario of the group `ds-failover`.
pub(super) const DATA_SERVERS_SCENARIO: Scenario = Scenario {
    group: "ds-failover",
    name: "postgres-ds-killed",
    proves: "the same while data servers are killed, two of three times the primary of the WAL, every second time with the \
             disk lost",
    needs: Needs::DataServers,
    play: |stage| stage.with_server_of(Kind::ShoalSplit, None, |stage| play(own(stage), kill_data_servers)),
};

/// A scenario of the group `failover`.
pub(super) const LEADER_SCENARIO: Scenario = Scenario {
    group: "failover",
    name: "postgres-leader-killed",
    proves: "the same while the leader of three metadata servers is killed",
    needs: Needs::DataServers,
    play: |stage| stage.with_server_of(Kind::ShoalReplicas, None, |stage| play(own(stage), kill_leaders)),
};

/// What is done to the servers, and for how long, while `pgbench` runs.
struct Faults<'a> {
    guest: &'a Guest,
    server: &'a mut Server,
    dir: &'a str,
    rounds: u32,
    state: u64,
}

/// A folder of its own on a server that has just been mounted.
fn own(stage: &mut Stage) -> &mut Stage {
    "/mnt/c/postgres".clone_into(&mut stage.dir);
    stage
}

fn play(stage: &mut Stage, disturb: fn(&mut Faults<'_>, &dyn Fn() -> bool) -> Result<()>) -> Result<()> {
    std::fs::write(stage.folder.join("postgres.sh"), FUNCTIONS)?;
    let began = Instant::now();
    stage.a.run(&format!("rm -f {STOP}; mkdir -p {}", stage.dir))?;
    step(&stage.a, &stage.dir, "create && start && fill")?;
    println!("  initdb and pgbench -i: {:.0} s", began.elapsed().as_secs_f64());
    let outcome = bench(stage, disturb).and_then(|commits| judge(stage, commits));
    // What PostgreSQL itself says tells more than the failure of a step.
    let complaints = step(&stage.b, &stage.dir, "complaints || true")?;
    let log = stage.folder.join("postgres.log");
    let kept = stage.folder.parent().unwrap_or(&stage.folder).join("postgres.log");
    if outcome.is_err() || !complaints.is_empty() {
        std::fs::copy(&log, &kept)?;
        println!("  seed {}, the log of PostgreSQL: {}", stage.seed, kept.display());
    }
    outcome.map_err(|error| error.context(format!("the log of PostgreSQL tells of:\n{complaints}")))?;
    ensure!(complaints.is_empty(), "the log of PostgreSQL tells of:\n{complaints}");
    Ok(())
}

/// Runs `pgbench` beside the faults; how many transactions it committed.
fn bench(stage: &mut Stage, disturb: fn(&mut Faults<'_>, &dyn Fn() -> bool) -> Result<()>) -> Result<u64> {
    let (script, began) = (script(&stage.dir, &format!("bench {STOP}")), Instant::now());
    let (a, rounds, state) = (&stage.a, stage.rounds, stage.seed.max(1));
    let (dir, server) = (stage.dir.as_str(), &mut stage.server);
    let (benched, disturbed) = std::thread::scope(|scope| {
        let ask = Ask { script, uid: None, timeout_s: BENCH_SECONDS_MAX };
        let running = scope.spawn(move || a.ask(&ask));
        let is_over = || running.is_finished();
        let disturbed = disturb(&mut Faults { guest: a, server, dir, rounds, state }, &is_over);
        let stopped = a.run(&format!("touch {STOP}"));
        (running.join(), disturbed.and(stopped))
    });
    let benched = benched.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    ensure!(benched.code == Some(0), "pgbench: {:?}\n{}{}", benched.code, benched.stdout, benched.stderr);
    disturbed?;
    let commits =
        benched.stdout.trim().parse().with_context(|| format!("pgbench said {}", benched.stdout))?;
    println!("  {commits} transactions in {:.0} s", began.elapsed().as_secs_f64());
    Ok(commits)
}

/// Crashes PostgreSQL, recovers it on the other guest, and checks all of it.
fn judge(stage: &Stage, commits: u64) -> Result<()> {
    ensure!(0 < commits, "pgbench committed nothing");
    let (a, b, dir) = (&stage.a, &stage.b, stage.dir.as_str());
    step(a, dir, "stop immediate").context("the crash")?;
    step(b, dir, "start").context("recovery on the other guest")?;
    let sums = step(b, dir, "sums")?;
    ensure!(sums.trim() == format!("{commits}|t"), "{commits} commits, but count and sums are {sums}");
    let wrong = step(b, dir, "check").context("pg_amcheck on the other guest")?;
    ensure!(wrong.is_empty(), "pg_amcheck: {wrong}");
    step(b, dir, "stop fast")?;
    stage::remount(a)?;
    step(a, dir, "checksums").context("pg_checksums by a mount with nothing cached")?;
    Ok(())
}

fn kill_data_servers(faults: &mut Faults<'_>, is_over: &dyn Fn() -> bool) -> Result<()> {
    for round in 0..faults.rounds {
        sleep_unless_over(Duration::from_millis(random(&mut faults.state) % ALIVE_MS), is_over)?;
        let primary = wal_primary(faults)?;
        let victim = match round % 3 {
            2 => usize::try_from((random(&mut faults.state) >> 8) % DATA_SERVERS)? + 1,
            _ => primary,
        };
        let dead = Duration::from_millis((random(&mut faults.state) >> 8) % DEAD_MS);
        let wipe = round % 2 == 1;
        Beside::DataServersKilled.kill_and_start(faults.server, dead, victim, wipe)?;
        let began = Instant::now();
        wait_until_whole(faults.server, is_over)?;
        println!(
            "  round {:3}: data server {victim} killed for {:.1} s{}{}, redundancy back {:.0} s later",
            round + 1,
            dead.as_secs_f64(),
            if wipe { ", its disk lost" } else { "" },
            if victim == primary { ", primary of the WAL" } else { "" },
            began.elapsed().as_secs_f64()
        );
    }
    sleep_unless_over(AFTER, is_over)
}

fn kill_leaders(faults: &mut Faults<'_>, is_over: &dyn Fn() -> bool) -> Result<()> {
    for _ in 0..faults.rounds {
        sleep_unless_over(Duration::from_millis(1_000 + random(&mut faults.state) % ALIVE_MS), is_over)?;
        let dead = Duration::from_millis((random(&mut faults.state) >> 8) % DEAD_MS);
        Beside::LeaderKilled.kill_and_start(faults.server, dead, 0, false)?;
    }
    println!("  {} leaders killed", faults.rounds);
    sleep_unless_over(AFTER, is_over)
}

/// The data server, by its process, that is primary of the WAL segment that is being written.
fn wal_primary(faults: &mut Faults<'_>) -> Result<usize> {
    let segment = step(faults.guest, faults.dir, "wal")?;
    let folder = faults.dir.strip_prefix("/mnt/c").context("PostgreSQL is not on the mount")?;
    let shoal = shoal(faults.server)?;
    let path = format!("{folder}/data/pg_wal/{}", segment.trim());
    let verified = document(&shoal.administer(&["verify", "--json", &path])?)?;
    let home = &verified["extents"][0]["home"]["server"];
    let list = document(&shoal.administer(&["ds", "list", "--json"])?)?;
    let servers = list["data_servers"].as_array().context("no list of data servers")?;
    let found = servers.iter().find(|server| server["id"] == *home);
    let address = found.and_then(|server| server["addresses"][0].as_str());
    let address = address.with_context(|| format!("{path}: no data server {home} in {list}"))?;
    let own = |own: &&str| address.strip_prefix(*own).is_some_and(|port| port.starts_with(':'));
    let number = shoal.data_addresses().iter().position(own);
    Ok(number.with_context(|| format!("{address} is none of ours"))? + 1)
}

fn document(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).with_context(|| format!("no JSON: {text}"))
}

/// Waits; an error if `pgbench` ends before: it is to run until it is told to stop.
fn sleep_unless_over(time: Duration, is_over: &dyn Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        if is_over() {
            bail!("pgbench ended by itself");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn script(dir: &str, act: &str) -> String {
    format!("DATA={dir}/data; . /mnt/lab/postgres.sh; {act}")
}

/// What a function of the script wrote.
fn step(guest: &Guest, dir: &str, act: &str) -> Result<String> {
    guest.run_within(&script(dir, act), STEP_SECONDS_MAX)
}
