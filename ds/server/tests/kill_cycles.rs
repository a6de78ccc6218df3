//! Data servers die again and again while clients write, extents are sealed, groups made, lost
//! images made again: no byte that was promised is lost, and none reads as something that was never
//! written.
//!
//! Long runs: `cargo xtask faults kill-cycles` (docs/faults.md).

#![allow(clippy::unwrap_used, reason = "only tests are here")]
#![allow(dead_code, reason = "what is shared has more than is used here")]

mod bed;
#[path = "faults/chance.rs"]
mod chance;
#[path = "faults/clients.rs"]
mod clients;
#[path = "faults/file.rs"]
mod file;
#[path = "faults/fleet.rs"]
mod fleet;
#[path = "faults/killer.rs"]
mod killer;
#[path = "faults/leader.rs"]
mod leader;
#[path = "seal/metadata.rs"]
mod metadata;
#[path = "faults/rounds.rs"]
mod rounds;
#[path = "faults/tell.rs"]
mod tell;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chance::Chance;
use clients::Gate;
use env::memory::Crash;
use file::File;
use fleet::{Fleet, Shape};
use killer::{Killer, Tally};
use layout::ec::Profile;
use leader::Leader;
use tokio::sync::Mutex;

/// Cycles that one cluster lives for.
const LIFE: u64 = 25;

#[test]
fn kill_cycles() {
    tell::begin();
    let (rounds, seed) = (rounds::rounds(25), rounds::seed());
    let mut tally = Tally::default();
    let (mut acts, mut io_errors, mut failed) = (0, 0, Vec::new());
    for life in rounds::first_life()..rounds.div_ceil(LIFE) {
        let seed = seed * 1_000 + life;
        let cycles = LIFE.min(rounds - life * LIFE);
        // One that fails does not keep the others from being tried.
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(one_life(seed, cycles, &mut tally))
        }));
        match tried {
            Ok((done, errors)) => (acts, io_errors) = (acts + done, io_errors + errors),
            Err(_) => failed.push(seed),
        }
        if rounds::is_long() {
            eprintln!("{} of {rounds} cycles, {acts} acts of clients, seed {seed}", tally.cycles);
        }
    }
    let passed = tally.cycles.saturating_sub(failed.len() as u64);
    eprintln!("{} cycles, {acts} acts of clients, {io_errors} times IO", tally.cycles);
    eprintln!("going on when the kill came: {:?}", tally.doing);
    eprintln!("killed: {:?}", tally.kills);
    eprintln!("kill-cycles: {passed} passed, {} failed", failed.len());
    assert!(
        failed.is_empty(),
        "seeds {failed:?}: the last three digits are the life, to begin with by SHOAL_FAULT_LIFE"
    );
}

/// A life in which something was found: an image was put into use below what its replica had been
/// told since, and the replica, primary later, went on with one whose group was gone.
#[test]
fn a_life_that_failed_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(one_life(3001, LIFE, &mut Tally::default()));
}

/// A cluster from its first start to its end.
async fn one_life(seed: u64, cycles: u64, tally: &mut Tally) -> (u64, u64) {
    let mut chance = Chance::new(seed);
    let (servers, profile) =
        if chance.one_in(2) { (4, Profile::TwoPlusOne) } else { (6, Profile::TwoPlusOne) };
    let profile = if servers == 6 { Profile::FourPlusTwo } else { profile };
    let scrub_period_ms = if chance.one_in(3) { 2_000 } else { 0 };
    let seal_bytes_per_s = if chance.one_in(3) { 256 << 10 } else { 1 << 30 };
    let shape = Shape { servers, profile, capacity_bytes: 64 << 20, seal_bytes_per_s, scrub_period_ms };
    let fleet = Fleet::new(shape, seed).await;
    for id in fleet.ids() {
        fleet.boot(id, Crash::Drop).await;
    }
    let all = servers as usize;
    fleet.until("all have a lease", || fleet.up().len() == all).await;
    let (leader, mut tasks) = Leader::begin(&fleet);
    let gate = Arc::new(Gate::default());
    let mut files = Vec::new();
    for _ in 0..6 {
        let file = Arc::new(Mutex::new(clients::new_file(&fleet).await));
        tasks.push(tokio::spawn(clients::run(Arc::clone(&fleet), Arc::clone(&file), Arc::clone(&gate))));
        files.push(file);
    }
    let mut killer = Killer::new(Arc::clone(&fleet), Arc::clone(&leader));
    for cycle in 0..cycles {
        gate.is_open.store(true, Ordering::SeqCst);
        killer.cycle(tally).await;
        // No new acts; those under way end, whatever was killed.
        gate.is_open.store(false, Ordering::SeqCst);
        for file in &files {
            let what = format!("seed {seed}, cycle {cycle}");
            file.lock().await.check(&fleet, &what).await;
        }
        for task in tasks.iter().filter(|task| task.is_finished()) {
            assert!(
                !task.is_finished(),
                "seed {seed}, cycle {cycle}: a client or the leader found something"
            );
        }
    }
    end(&fleet, &leader, &files, seed).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let mut io_errors = 0;
    for file in files {
        io_errors += file.lock().await.io_errors;
    }
    (gate.acts.load(Ordering::Relaxed), io_errors)
}

/// Everything comes to rest, all is readable, and when files are gone so are their bytes.
async fn end(fleet: &Arc<Fleet>, leader: &Leader, files: &[Arc<Mutex<File>>], seed: u64) {
    fleet.until("everything is whole again", || leader.is_at_rest(fleet)).await;
    for file in files {
        let mut file = file.lock().await;
        file.check(fleet, &format!("seed {seed}, whole again")).await;
        file.commit(fleet).await;
        file.check(fleet, &format!("seed {seed}, at the end")).await;
        file.remove(fleet);
    }
    fleet.until("what is gone is forgotten", || leader.is_at_rest(fleet)).await;
}
