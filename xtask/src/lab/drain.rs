//! The group `drain`: a data server is emptied under a kernel client that writes, taken away with
//! its disk, forgotten, and another one comes in its place.
//!
//! The application must see no error and no long stall, and everything written before and meanwhile
//! must be there, read by a mount that has nothing cached from servers that stayed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::agent::Ask;
use super::ds_failover::longest;
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::server::ours::shoal;
use super::stage::{self, Stage};

/// No operation of the application may take longer.
const STALL_SECONDS_MAX: f64 = 10.0;
/// By then the server is empty.
const DRAIN_SECONDS_MAX: u64 = 120;
/// By then a stopped server's lease has run out.
const LEASE_SECONDS_MAX: u64 = 30;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "drain",
    name: "emptied-under-writes",
    proves: "each of three data servers in turn is drained under fio, removed with its disk and replaced: no error, no wrong byte, no \
             stall of 10 s",
    needs: Needs::DataServers,
    play: each_in_turn,
}];

fn each_in_turn(stage: &mut Stage) -> Result<()> {
    stage.with_server_of(Kind::ShoalSplit, None, all)
}

fn all(stage: &mut Stage) -> Result<()> {
    let before = "mkdir -p /mnt/c/drain && head -c 200M /mnt/lab/random >/mnt/c/drain/before && sync /mnt/c/drain/before";
    stage.a.run_within(before, 240)?;
    // Numbers as the cluster gave them; one that was removed comes back under a new one.
    for process in 1..=3_usize {
        let address = shoal(&mut stage.server)?.data_addresses()[process - 1];
        let id = number(stage, address)?.context("it is not listed")?;
        one(stage, process, id).with_context(|| format!("data server {id}, seed {}", stage.seed))?;
    }
    Ok(())
}

/// Drains one server while fio writes, removes it, and starts an empty one in its place.
fn one(stage: &mut Stage, process: usize, id: u32) -> Result<()> {
    let dir = "/mnt/c/drain";
    let job = format!(
        "fio --name=job --directory={dir} --filename_format='d{process}.$jobnum' --numjobs=3 --size=48m --bs=64k --rw=randwrite \
         --rate=3m --fsync=8 --ioengine=psync --verify=crc32c --randseed={process} --allrandrepeat=1 --verify_fatal=1 \
         --output-format=json"
    );
    let write = Ask { script: format!("{job} --do_verify=0 2>&1"), uid: None, timeout_s: 180 };
    let (a, server) = (&stage.a, &mut stage.server);
    let (reply, drained) = std::thread::scope(|scope| {
        let fio = scope.spawn(|| a.ask(&write));
        std::thread::sleep(Duration::from_secs(3));
        let drained = shoal(server).and_then(|shoal| {
            shoal.administer(&["ds", "drain", &id.to_string()])?;
            wait(DRAIN_SECONDS_MAX, || Ok(row(&shoal.administer(&["ds", "list"])?, id).contains("empty:")))
        });
        (fio.join(), drained)
    });
    let took = drained.context("it does not become empty")?;
    let reply = reply.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    ensure!(reply.code == Some(0), "fio: {:?}\n{}{}", reply.code, reply.stdout, reply.stderr);
    let stall = longest(&reply.stdout)?;
    let shoal = shoal(&mut stage.server)?;
    ensure!(shoal.administer(&["ds", "remove", &id.to_string()]).is_err(), "one that runs was removed");
    shoal.kill_data_server(process);
    shoal.wipe_data_server(process)?;
    let removed =
        wait(LEASE_SECONDS_MAX, || Ok(shoal.administer(&["ds", "remove", &id.to_string()]).is_ok()));
    let removed = removed.context("it is not removed")?;
    ensure!(row(&shoal.administer(&["ds", "list"])?, id).is_empty(), "it is still listed");
    let told = shoal.administer(&["verify", "/drain/before"])?;
    ensure!(told.contains("all as it should be"), "{told}");
    // What is read comes from those that stayed.
    stage::remount(&stage.a)?;
    stage.a.run_within("cmp -n 209715200 /mnt/c/drain/before /mnt/lab/random", 240)?;
    stage.a.run_within(&format!("{job} --verify_only 2>&1"), 180).context("what was written is not there")?;
    println!(
        "  data server {id} empty after {took:.1} s under fio, longest stall {stall:.2} s, forgotten {removed:.1} s after it was killed"
    );
    ensure!(stall < STALL_SECONDS_MAX, "an operation took {stall:.2} s");
    super::server::ours::shoal(&mut stage.server)?.start_one(process)
}

/// The number that the cluster gave the data server at this address.
pub(super) fn number(stage: &mut Stage, address: &str) -> Result<Option<u32>> {
    let shoal = shoal(&mut stage.server)?;
    let mut found = None;
    wait(LEASE_SECONDS_MAX, || {
        let list = shoal.administer(&["ds", "list"])?;
        let line =
            list.lines().find(|line| line.contains(&format!("{address}:3049")) && line.contains(" up "));
        found = line.and_then(|line| line.split_whitespace().next()).and_then(|id| id.parse().ok());
        Ok(found.is_some())
    })?;
    Ok(found)
}

/// The line of a data server in `ds list`; empty if there is none.
fn row(list: &str, id: u32) -> &str {
    let of = |line: &&str| line.split_whitespace().next() == Some(&id.to_string());
    list.lines().find(of).unwrap_or_default()
}

/// Waits until it is so; returns how long that took, seconds.
fn wait(seconds_max: u64, mut so: impl FnMut() -> Result<bool>) -> Result<f64> {
    let began = Instant::now();
    while !so()? {
        ensure!(began.elapsed() < Duration::from_secs(seconds_max), "not after {seconds_max} s");
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(began.elapsed().as_secs_f64())
}
