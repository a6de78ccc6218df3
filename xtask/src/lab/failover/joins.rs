//! A fourth metadata server joins three that run and gets a copy of everything, and then the leader
//! and the fourth are killed, under the programs of the group.
//!
//! The one shard stays with the first three, and so does the service address: the fourth has no
//! vote, so that neither its coming nor its going changes who leads.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::server::replicas::{JOINED, NODES, Replicas, SHARDS};
use super::super::stage::Stage;
use super::load::{Load, Longest};
use super::round::{SETTLE, kill_and_start, pause, round, under_load};
use super::stalls::{STALL_P50_MS_MAX, is_over};
use super::tally::{Tally, nothing_was_reclaimed};
use crate::process;

/// By then it has a copy.
const COPY_SECONDS_MAX: u64 = 120;

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
            wait_until_copied(server)?;
            println!("    {JOINED} has its copy again after {} ms more", began.elapsed().as_millis());
        }
    }
    let leader = server.leader()?;
    ensure!(leader <= NODES, "{leader} has the service address: shard 0 is to stay with the first {NODES}");
    Ok(())
}

/// Has the fourth join; returns when it has a copy.
fn join(server: &mut Replicas) -> Result<()> {
    let began = Instant::now();
    let joined = server.join_metadata();
    joined
        .with_context(|| format!("it does not join; its log is {}", server.metadata_log(JOINED).display()))?;
    let known = began.elapsed().as_millis();
    wait_until_copied(server)?;
    println!(
        "    {JOINED} knows a leader after {known} ms; it has a copy after {} ms",
        began.elapsed().as_millis()
    );
    Ok(())
}

fn wait_until_copied(server: &Replicas) -> Result<()> {
    let began = Instant::now();
    loop {
        let shares = shares(server)?;
        if is_beside(&shares) && server.has_caught_up(JOINED)? {
            return Ok(());
        }
        if Duration::from_secs(COPY_SECONDS_MAX) <= began.elapsed() {
            let log = server.metadata_log(JOINED);
            let said = process::tail(&log, 20);
            return Err(anyhow::anyhow!("{} ends with\n{said}\n", log.display())).context(format!(
                "it has no copy after {COPY_SECONDS_MAX} s: voted in and led are {shares:?}"
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

/// Whether the fourth is there without a vote, and the others vote as before.
fn is_beside(shares: &[(f64, f64)]) -> bool {
    let all = f64::from(SHARDS);
    let led: f64 = shares.iter().map(|(_, led)| led).sum();
    let vote = |shares: &[(f64, f64)]| shares.iter().all(|(voted, _)| *voted == all);
    shares.get(NODES) == Some(&(0.0, 0.0)) && vote(&shares[..NODES]) && led == all
}

#[cfg(test)]
mod tests {
    use super::is_beside;

    #[test]
    fn the_fourth_has_a_copy_and_no_vote() {
        assert!(!is_beside(&[(1.0, 1.0), (1.0, 0.0), (1.0, 0.0)]), "it is not there");
        assert!(!is_beside(&[(1.0, 0.0), (1.0, 0.0), (1.0, 0.0), (0.0, 0.0)]), "no node leads");
        assert!(!is_beside(&[(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 0.0)]), "a vote has moved");
        assert!(is_beside(&[(1.0, 1.0), (1.0, 0.0), (1.0, 0.0), (0.0, 0.0)]));
    }
}
