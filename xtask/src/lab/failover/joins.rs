//! A fourth metadata server joins three that run, shards move to it, and then the leader and the fourth are killed, under the programs of
//! the group.
//!
//! Shard 0 stays with the first three, and so does the service address. With one of its other voters gone, a shard that has moved goes on
//! with the fourth and one more; with the fourth gone, with two of the first.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::server::replicas::{JOINED, NODES, Replicas, SHARDS};
use super::super::stage::Stage;
use super::load::{Load, Longest};
use super::tally::Tally;
use super::{
    SETTLE, STALL_P50_MS_MAX, is_over, kill_and_start, nothing_was_reclaimed, pause, round, under_load,
};
use crate::process;

/// Eight shards have 24 votes, and each of four nodes a quarter of them.
const VOTED: f64 = 6.0;
/// Shards that it leads then.
const LED: f64 = 2.0;
/// By then shards have moved.
const MOVE_SECONDS_MAX: u64 = 120;

/// What is done, each once.
#[derive(Clone, Copy, Debug)]
enum Step {
    Join,
    KillLeader,
    KillFourth,
}

impl Step {
    const ALL: [Self; 3] = [Self::Join, Self::KillLeader, Self::KillFourth];

    fn label(self) -> &'static str {
        match self {
            Self::Join => "a fourth joins",
            Self::KillLeader => "kill -9 of the leader",
            Self::KillFourth => "kill -9 of the fourth",
        }
    }
}

pub(super) fn play(stage: &mut Stage) -> Result<()> {
    let (stalls, reclaimed) = under_load(stage, steps)?;
    nothing_was_reclaimed(&reclaimed)?;
    let mut longest: Vec<u64> = stalls.iter().map(|stall| stall.small_ms).collect();
    longest.sort_unstable();
    let over = is_over("one joins, two are killed", STALL_P50_MS_MAX, &longest);
    over.map_or(Ok(()), |over| bail!("acts took too long: {over}"))
}

fn steps(stage: &mut Stage, load: &Load, tally: &mut Tally) -> Result<Vec<Longest>> {
    let (mut state, seed) = (stage.seed.max(1), stage.seed);
    let mut stalls = Vec::new();
    for step in Step::ALL {
        let pause = pause(&mut state);
        let stall = round(stage, load, tally, pause, |server, tally| take(server, tally, step))
            .with_context(|| format!("seed {seed}: {} after {pause:?}", step.label()))?;
        println!("  {:22} {stall}", step.label());
        stalls.push(stall);
    }
    Ok(stalls)
}

fn take(server: &mut Replicas, tally: &mut Tally, step: Step) -> Result<()> {
    match step {
        Step::Join => {
            join(server)?;
            std::thread::sleep(SETTLE);
        }
        Step::KillLeader => {
            let leader = server.leader()?;
            kill_and_start(server, tally, leader)?;
        }
        Step::KillFourth => {
            kill_and_start(server, tally, JOINED)?;
            let began = Instant::now();
            wait_until_moved(server)?;
            println!("    {JOINED} has its share again after {} ms more", began.elapsed().as_millis());
        }
    }
    let leader = server.leader()?;
    ensure!(leader <= NODES, "{leader} has the service address: shard 0 is to stay with the first {NODES}");
    Ok(())
}

/// Has the fourth join; returns when shards have moved to it.
fn join(server: &mut Replicas) -> Result<()> {
    let began = Instant::now();
    let joined = server.join_metadata();
    joined
        .with_context(|| format!("it does not join; its log is {}", server.metadata_log(JOINED).display()))?;
    let known = began.elapsed().as_millis();
    wait_until_moved(server)?;
    println!(
        "    {JOINED} knows a leader after {known} ms; shards have moved after {} ms",
        began.elapsed().as_millis()
    );
    Ok(())
}

fn wait_until_moved(server: &Replicas) -> Result<()> {
    let began = Instant::now();
    loop {
        let shares = shares(server)?;
        if is_moved(&shares) {
            return Ok(());
        }
        if Duration::from_secs(MOVE_SECONDS_MAX) <= began.elapsed() {
            let log = server.metadata_log(JOINED);
            let said = process::tail(&log, 20);
            return Err(anyhow::anyhow!("{} ends with\n{said}\n", log.display())).context(format!(
                "shards have not moved after {MOVE_SECONDS_MAX} s: voted in and led are {shares:?}"
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// In how many shards each votes, and how many it leads, in the order of their numbers.
fn shares(server: &Replicas) -> Result<Vec<(f64, f64)>> {
    let share = |number| {
        let metrics = server.metadata_metrics(number)?;
        Ok((metrics.sum("shoal_shards_voted", &[]), metrics.sum("shoal_shards_led", &[])))
    };
    server.metadata_numbers().map(share).collect()
}

/// Whether the fourth has its share, and the others gave it away.
fn is_moved(shares: &[(f64, f64)]) -> bool {
    let all = f64::from(SHARDS);
    let led: f64 = shares.iter().map(|(_, led)| led).sum();
    shares.get(NODES) == Some(&(VOTED, LED)) && shares.iter().all(|(voted, _)| *voted < all) && led == all
}

#[cfg(test)]
mod tests {
    use super::is_moved;

    #[test]
    fn shards_have_moved_when_the_fourth_has_its_share() {
        assert!(!is_moved(&[(8.0, 3.0), (8.0, 3.0), (8.0, 2.0)]));
        assert!(!is_moved(&[(8.0, 2.0), (8.0, 2.0), (8.0, 2.0), (6.0, 2.0)]), "the others vote still");
        assert!(!is_moved(&[(6.0, 3.0), (6.0, 2.0), (6.0, 2.0), (6.0, 1.0)]));
        assert!(is_moved(&[(6.0, 2.0), (6.0, 2.0), (6.0, 2.0), (6.0, 2.0)]));
    }
}
