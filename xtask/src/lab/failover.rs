//! The group `failover`: the metadata server that clients are mounted from is killed, loses its disk, is cut off the network or stopped, again
//! and again, under programs that hold opens and locks.
//!
//! Nobody may see an error, lose a lock or an open, or have to reclaim anything; what is measured is how long a small act takes at most.

mod load;
mod tally;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use comfy_table::{Table, presets};

use self::load::{Load, Longest};
use self::tally::Tally;
use super::scenario::{Needs, Scenario};
use super::server::replicas::{NODES, Replicas};
use super::server::{Kind, Server};
use super::stage::Stage;
use crate::guest::random;

/// What an application may wait for after `kill -9` of the leader, milliseconds.
const STALL_P50_MS_MAX: u64 = 1_000;
const STALL_P99_MS_MAX: u64 = 3_000;
/// How long a round goes on after the fault: what comes late is to be seen.
const SETTLE: Duration = Duration::from_millis(4_000);
/// Between two stops of a rolling restart.
const BETWEEN: Duration = Duration::from_millis(1_500);
/// How long a node that was cut off stays so.
const APART: Duration = Duration::from_millis(4_000);

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "failover",
    name: "leader-killed",
    proves: "the metadata server that clients are mounted from killed, its disk lost, cut off or stopped: stall p50 of 1 s, no \
             error, no lock or open lost, nothing reclaimed",
    needs: Needs::DataServers,
    play: |stage| stage.with_server_of(Kind::ShoalReplicas, None, all),
}];

/// What is done to the cluster in a round.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// kill -9 of the leader.
    KillLeader,
    /// kill -9 of the leader, which comes back without its disk and is taken in again.
    LoseLeader,
    /// The leader is cut off, and comes back.
    PartitionLeader,
    /// The leader hangs (SIGSTOP), and goes on.
    HangLeader,
    /// kill -9 of a follower.
    KillFollower,
    /// All are stopped and started, one after another.
    RollingRestart,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::KillLeader,
        Self::LoseLeader,
        Self::PartitionLeader,
        Self::HangLeader,
        Self::KillFollower,
        Self::RollingRestart,
    ];

    /// The first ten rounds have each; most kill the leader. Its disk is lost in one of twenty, early: whatever is done in the rounds
    /// after it is done to a cluster that has taken one in again.
    fn of(round: u32) -> Self {
        match (round % 20, round % 10) {
            (3, _) => Self::LoseLeader,
            (_, 2) => Self::KillFollower,
            (_, 4) => Self::PartitionLeader,
            (_, 6) => Self::HangLeader,
            (_, 8) => Self::RollingRestart,
            _ => Self::KillLeader,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::KillLeader => "kill -9 of the leader",
            Self::LoseLeader => "leader loses its disk",
            Self::PartitionLeader => "leader cut off",
            Self::HangLeader => "leader hangs (SIGSTOP)",
            Self::KillFollower => "kill -9 of a follower",
            Self::RollingRestart => "rolling restart",
        }
    }
}

fn replicas(server: &mut Server) -> Result<&mut Replicas> {
    match server {
        Server::Replicas(replicas) => Ok(replicas),
        _ => bail!("this server has no replicas"),
    }
}

fn all(stage: &mut Stage) -> Result<()> {
    let mut state = stage.seed.max(1);
    let (rounds, seed) = (stage.rounds, stage.seed);
    let load = Load::start(stage)?;
    let mut tally = Tally::begin(stage)?;
    let mut stalls: Vec<(Fault, Longest)> = Vec::new();
    for round in 0..rounds {
        let fault = stage.fault.unwrap_or_else(|| Fault::of(round));
        let pause = Duration::from_millis(500 + random(&mut state) % 1_500);
        let victim = random(&mut state);
        let stall = one(stage, &load, &mut tally, fault, pause, victim).with_context(|| {
            format!("round {}, seed {seed}: {} after {pause:?}", round + 1, fault.label())
        })?;
        let (small, block) = (stall.small_ms, stall.block_ms);
        println!("  round {:3}: {:22} longest act {small} ms, block {block} ms", round + 1, fault.label());
        stalls.push((fault, stall));
    }
    load.stop(stage)?;
    // Before anybody mounts anew.
    let reclaimed = tally.end(stage)?;
    load.verify(stage)?;
    report(stage.a.kernel.name, &stalls, &reclaimed)
}

/// One round; returns how long acts of the timed program took at most.
fn one(
    stage: &mut Stage,
    load: &Load,
    tally: &mut Tally,
    fault: Fault,
    pause: Duration,
    victim: u64,
) -> Result<Longest> {
    load.begin_round(stage)?;
    std::thread::sleep(pause);
    let (a, b) = (&stage.a, &stage.b);
    let server = replicas(&mut stage.server)?;
    let leader = server.leader()?;
    let followers: Vec<usize> = (1..=NODES).filter(|number| *number != leader).collect();
    let follower = followers[usize::try_from(victim % followers.len() as u64)?];
    tally.look(server)?;
    match fault {
        Fault::KillLeader => {
            kill(server, tally, leader)?;
            server.start_metadata(leader)?;
            catch_up(server, leader)?;
        }
        Fault::LoseLeader => {
            kill(server, tally, leader)?;
            come_back_empty(server, leader)?;
            catch_up(server, leader)?;
        }
        Fault::KillFollower => {
            kill(server, tally, follower)?;
            server.start_metadata(follower)?;
            catch_up(server, follower)?;
        }
        Fault::PartitionLeader => {
            server.partition(leader, true)?;
            std::thread::sleep(APART);
            server.partition(leader, false)?;
            catch_up(server, leader)?;
        }
        Fault::HangLeader => {
            server.hang(leader, true)?;
            std::thread::sleep(APART);
            server.hang(leader, false)?;
            catch_up(server, leader)?;
        }
        Fault::RollingRestart => {
            for number in 1..=NODES {
                tally.look(server)?;
                server.stop_metadata(number)?;
                tally.forget(number);
                server.start_metadata(number)?;
                catch_up(server, number)?;
                std::thread::sleep(BETWEEN);
            }
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let stall = load.end_round(a)?;
    load.is_alive(a, b)?;
    Ok(stall)
}

/// Kills one, and lets the others go on without it.
fn kill(server: &mut Replicas, tally: &mut Tally, number: usize) -> Result<()> {
    let began = Instant::now();
    server.kill_metadata(number);
    let next = server.leader()?;
    println!("    {number} killed; {next} has the address after {} ms", began.elapsed().as_millis());
    tally.forget(number);
    std::thread::sleep(SETTLE);
    Ok(())
}

/// Takes away the disk of one that was killed, and returns when all shards have it again.
fn come_back_empty(server: &mut Replicas, number: usize) -> Result<()> {
    server.wipe_metadata(number)?;
    let began = Instant::now();
    server.readmit_metadata(number)?;
    println!("    {number} without its disk; all shards have it after {} ms", began.elapsed().as_millis());
    Ok(())
}

fn catch_up(server: &Replicas, number: usize) -> Result<()> {
    ensure!(server.has_caught_up(number)?, "metadata server {number} does not catch up");
    Ok(())
}

/// Prints what was seen and holds it against the bounds.
fn report(kernel: &str, stalls: &[(Fault, Longest)], reclaimed: &tally::Counts) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "  fault",
        "rounds",
        "p50 ms",
        "p99 ms",
        "max ms",
        "blocks p50",
        "p99",
        "max",
    ]);
    let mut bound = (0, 0);
    for fault in Fault::ALL {
        let own = stalls.iter().filter(|(one, _)| *one == fault);
        let (mut small, mut blocks): (Vec<u64>, Vec<u64>) =
            own.map(|(_, one)| (one.small_ms, one.block_ms)).unzip();
        if small.is_empty() {
            continue;
        }
        small.sort_unstable();
        blocks.sort_unstable();
        if fault == Fault::KillLeader {
            bound = (at(&small, 50), at(&small, 99));
        }
        let shares = [&small, &blocks].map(|all| [50, 99, 100].map(|share| at(all, share)));
        let numbers = [small.len() as u64].into_iter().chain(shares.into_iter().flatten());
        let numbers = numbers.map(|number| number.to_string());
        table.add_row([format!("  {}", fault.label())].into_iter().chain(numbers));
    }
    println!("  kernel {kernel}: the longest act of each round\n{table}");
    println!("  {reclaimed}");
    ensure!(reclaimed.is_nothing(), "something was reclaimed or made anew: {reclaimed}");
    ensure!(bound.0 <= STALL_P50_MS_MAX, "p50 is {} ms", bound.0);
    ensure!(bound.1 <= STALL_P99_MS_MAX, "p99 is {} ms", bound.1);
    Ok(())
}

/// The value that a share of all, in per cent, does not exceed.
fn at(sorted: &[u64], per_cent: usize) -> u64 {
    let rank = (sorted.len() * per_cent).div_ceil(100);
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::{Fault, at};

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let all: Vec<u64> = (1..=100).collect();
        assert_eq!((at(&all, 50), at(&all, 99)), (50, 99));
        assert_eq!((at(&[7], 50), at(&[7], 99)), (7, 7));
        assert_eq!(at(&[1, 2, 3], 50), 2);
    }

    #[test]
    fn ten_rounds_have_each_fault() {
        let seen: Vec<Fault> = (0..10).map(Fault::of).collect();
        assert!(Fault::ALL.iter().all(|fault| seen.contains(fault)));
    }

    #[test]
    fn one_round_of_twenty_loses_a_disk() {
        let count = |wanted| (0..100).map(Fault::of).filter(|fault| *fault == wanted).count();
        assert_eq!(Fault::ALL.map(count), [55, 5, 10, 10, 10, 10]);
    }
}
