//! A round: programs run, something is done to the cluster, and the programs go on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::load::{Load, Longest};
use super::tally::{Counts, Tally};
use crate::guest::random;
use crate::lab::server::ours::replicas;
use crate::lab::server::replicas::Replicas;
use crate::lab::stage::Stage;

/// How long a round goes on after the fault: what comes late is to be seen.
pub(super) const SETTLE: Duration = Duration::from_millis(4_000);

/// Has the programs run while `rounds` are played; what those came to, and what clients had to
/// claim again.
pub(super) fn under_load<T>(
    stage: &mut Stage,
    rounds: impl FnOnce(&mut Stage, &Load, &mut Tally) -> Result<T>,
) -> Result<(T, Counts)> {
    let load = Load::start(stage)?;
    let server = replicas(&mut stage.server)?;
    let mut tally = Tally::begin([&stage.a, &stage.b], server)?;
    let seen = rounds(stage, &load, &mut tally)?;
    load.stop(stage)?;
    // Before a client mounts again.
    let server = replicas(&mut stage.server)?;
    let reclaimed = tally.end([&stage.a, &stage.b], server)?;
    load.verify(stage)?;
    Ok((seen, reclaimed))
}

/// How long a round goes on before anything is done.
pub(super) fn pause(state: &mut u64) -> Duration {
    Duration::from_millis(500 + random(state) % 1_500)
}

/// One round, in which `act` is done; returns how long acts of the timed program took at most.
pub(super) fn round(
    stage: &mut Stage,
    load: &Load,
    tally: &mut Tally,
    pause: Duration,
    act: impl FnOnce(&mut Replicas, &mut Tally) -> Result<()>,
) -> Result<Longest> {
    load.begin_round(stage)?;
    std::thread::sleep(pause);
    let (a, b) = (&stage.a, &stage.b);
    let server = replicas(&mut stage.server)?;
    tally.look(server)?;
    act(server, tally)?;
    std::thread::sleep(Duration::from_millis(500));
    let stall = load.end_round(a)?;
    load.is_alive(a, b)?;
    Ok(stall)
}

/// Kills one, lets the others go on without it, and starts it again; returns when it has caught up.
pub(super) fn kill_and_start(server: &mut Replicas, tally: &mut Tally, number: usize) -> Result<()> {
    kill(server, tally, number)?;
    server.start_metadata(number)?;
    catch_up(server, number)
}

/// Kills one, and lets the others go on without it.
pub(super) fn kill(server: &mut Replicas, tally: &mut Tally, number: usize) -> Result<()> {
    let began = Instant::now();
    server.kill_metadata(number);
    let next = server.leader()?;
    println!("    {number} killed; {next} has the address after {} ms", began.elapsed().as_millis());
    tally.forget(number);
    std::thread::sleep(SETTLE);
    Ok(())
}

pub(super) fn catch_up(server: &Replicas, number: usize) -> Result<()> {
    ensure!(server.has_caught_up(number)?, "metadata server {number} does not catch up");
    Ok(())
}
