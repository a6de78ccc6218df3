//! The group `failover`: the metadata server that clients are mounted from is killed, loses its
//! disk, is cut off the network or stopped, again and again, under programs that hold opens and
//! locks; and another one joins.
//!
//! No client may see an error, lose a lock or an open, or have to reclaim anything; what is measured
//! is how long a small act takes at most.

mod fault;
mod joins;
mod load;
mod round;
mod stalls;
mod tally;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};

pub(crate) use self::fault::Fault;
use self::load::{Load, Longest};
use self::round::{catch_up, kill, kill_and_start, pause, round, under_load};
use self::stalls::{at, is_over};
use self::tally::{Counts, Tally, nothing_was_reclaimed};
use super::postgres;
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::server::replicas::Replicas;
use super::stage::Stage;
use crate::guest::random;

/// Between two stops of a rolling restart.
const BETWEEN: Duration = Duration::from_millis(1_500);
/// How long a node that was cut off stays so.
const APART: Duration = Duration::from_millis(4_000);

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        group: "failover",
        name: "leader-killed",
        proves: "the metadata server that clients are mounted from killed, its disk lost, cut off or stopped: stall p50 of 1 s, no \
                 error, no lock or open lost, nothing reclaimed",
        needs: Needs::DataServers,
        play: |stage| stage.with_server_of(Kind::ShoalReplicas, None, all),
    },
    Scenario {
        group: "failover",
        name: "node-joins",
        proves: "a fourth metadata server joins and gets a copy, then the leader and the fourth are killed: the same stalls at \
                 most, no error, no lock or open lost, nothing reclaimed",
        needs: Needs::DataServers,
        play: |stage| stage.with_server_of(Kind::ShoalReplicas, None, joins::play),
    },
    postgres::LEADER_SCENARIO,
];

fn all(stage: &mut Stage) -> Result<()> {
    let (stalls, reclaimed) = under_load(stage, faults)?;
    report(stage.a.kernel.name, &stalls, &reclaimed)
}

fn faults(stage: &mut Stage, load: &Load, tally: &mut Tally) -> Result<Vec<(Fault, Longest)>> {
    let mut state = stage.seed.max(1);
    let (rounds, seed) = (stage.rounds, stage.seed);
    let mut stalls = Vec::new();
    for number in 0..rounds {
        let fault = stage.fault.unwrap_or_else(|| Fault::of(number));
        let pause = pause(&mut state);
        let victim = random(&mut state);
        let stall = round(stage, load, tally, pause, |server, tally| strike(server, tally, fault, victim))
            .with_context(|| {
                format!("round {}, seed {seed}: {} after {pause:?}", number + 1, fault.label())
            })?;
        println!("  round {:3}: {:22} {stall}", number + 1, fault.label());
        stalls.push((fault, stall));
    }
    Ok(stalls)
}

/// Does what is done in a round; returns when all have caught up.
fn strike(server: &mut Replicas, tally: &mut Tally, fault: Fault, victim: u64) -> Result<()> {
    let leader = server.leader()?;
    let followers: Vec<usize> = server.metadata_numbers().filter(|number| *number != leader).collect();
    let follower = followers[usize::try_from(victim % followers.len() as u64)?];
    match fault {
        Fault::KillLeader => kill_and_start(server, tally, leader),
        Fault::LoseLeader => {
            kill(server, tally, leader)?;
            come_back_empty(server, leader)?;
            catch_up(server, leader)
        }
        Fault::KillFollower => kill_and_start(server, tally, follower),
        Fault::PartitionLeader => {
            server.partition(leader, true)?;
            std::thread::sleep(APART);
            server.partition(leader, false)?;
            catch_up(server, leader)
        }
        Fault::HangLeader => {
            server.hang(leader, true)?;
            std::thread::sleep(APART);
            server.hang(leader, false)?;
            catch_up(server, leader)
        }
        Fault::RollingRestart => {
            for number in server.metadata_numbers() {
                tally.look(server)?;
                server.stop_metadata(number)?;
                tally.forget(number);
                server.start_metadata(number)?;
                catch_up(server, number)?;
                std::thread::sleep(BETWEEN);
            }
            Ok(())
        }
    }
}

/// Takes away the disk of one that was killed, and returns when all shards have it again.
fn come_back_empty(server: &mut Replicas, number: usize) -> Result<()> {
    server.wipe_metadata(number)?;
    let began = Instant::now();
    server.readmit_metadata(number)?;
    println!("    {number} without its disk; all shards have it after {} ms", began.elapsed().as_millis());
    Ok(())
}

/// Prints what was seen and holds it against the bounds.
fn report(kernel: &str, stalls: &[(Fault, Longest)], reclaimed: &Counts) -> Result<()> {
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
    let mut over = Vec::new();
    for fault in Fault::ALL {
        let own = stalls.iter().filter(|(one, _)| *one == fault);
        let (mut small, mut blocks): (Vec<u64>, Vec<u64>) =
            own.map(|(_, one)| (one.small_ms, one.block_ms)).unzip();
        if small.is_empty() {
            continue;
        }
        small.sort_unstable();
        blocks.sort_unstable();
        let shares = [&small, &blocks].map(|all| [50, 99, 100].map(|share| at(all, share)));
        let numbers = [small.len() as u64].into_iter().chain(shares.into_iter().flatten());
        let numbers = numbers.map(|number| number.to_string());
        table.add_row([format!("  {}", fault.label())].into_iter().chain(numbers));
        over.extend(is_over(fault.label(), fault.stall_p50_ms_max(), &small));
    }
    println!("  kernel {kernel}: the longest act of each round\n{table}");
    nothing_was_reclaimed(reclaimed)?;
    ensure!(over.is_empty(), "acts took too long: {}", over.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Fault, at, is_over};

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let all: Vec<u64> = (1..=100).collect();
        assert_eq!((at(&all, 50), at(&all, 99)), (50, 99));
        assert_eq!((at(&[7], 50), at(&[7], 99)), (7, 7));
        assert_eq!(at(&[1, 2, 3], 50), 2);
    }

    #[test]
    fn what_takes_too_long_is_told() {
        let bound = Fault::KillLeader.stall_p50_ms_max();
        assert_eq!(is_over("a kill", bound, &[100, 1_000, 3_000]), None);
        assert_eq!(is_over("a kill", bound, &[7, 1_001, 1_002]).unwrap(), "a kill, p50 1001 ms, p99 1002 ms");
        let bound = Fault::HangLeader.stall_p50_ms_max();
        assert_eq!(is_over("a hang", bound, &[1_500, 1_600, 3_000]), None);
        assert!(is_over("a hang", bound, &[100, 100, 3_001]).is_some());
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
