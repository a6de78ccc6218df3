//! Disks of data servers lose the journal's files, are put back from an older copy, or fail: it is
//! found, others take over, and no byte that was promised reads as anything else.
//!
//! Long runs: `cargo xtask faults bad-disks` (docs/faults.md).

#![allow(clippy::unwrap_used, reason = "only tests are here")]
#![allow(dead_code, reason = "what is shared has more than is used here")]

mod bed;
#[path = "faults/chance.rs"]
mod chance;
#[path = "faults/file.rs"]
mod file;
#[path = "faults/fleet.rs"]
mod fleet;
#[path = "faults/leader.rs"]
mod leader;
#[path = "seal/metadata.rs"]
mod metadata;
#[path = "faults/rounds.rs"]
mod rounds;
#[path = "faults/tell.rs"]
mod tell;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use env::Disk;
use env::memory::{Broken, Crash, MemoryDisk};
use file::File;
use fleet::{Fleet, Shape};
use layout::ec::Profile;
use leader::Leader;

/// Rounds that one cluster lives for.
const LIFE: u64 = 5;
/// Long enough that the metadata server has heard how far journals are.
const HEARD_MS: u64 = 1_500;

/// What becomes of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// All files of the journal are gone.
    FilesGone,
    /// As well as the list of what ought to be there.
    ListGone,
    /// The directory is as it was some time ago.
    OlderCopy,
    FailsReads,
    FailsWrites,
    FailsSyncs,
    Dead,
}

const TROUBLES: [Trouble; 7] = [
    Trouble::FilesGone,
    Trouble::ListGone,
    Trouble::OlderCopy,
    Trouble::FailsReads,
    Trouble::FailsWrites,
    Trouble::FailsSyncs,
    Trouble::Dead,
];

/// What the metadata server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// It believes every store.
    BelievesStores,
    /// It does not hear that a disk has failed.
    DeafToFailures,
}

#[test]
fn bad_disks() {
    tell::begin();
    let (rounds, seed) = (rounds::rounds(10), rounds::seed());
    let (mut tally, mut failed) = (BTreeMap::new(), Vec::new());
    for life in rounds::first_life()..rounds.div_ceil(LIFE) {
        let seed = seed * 1_000 + life;
        let count = LIFE.min(rounds - life * LIFE);
        let troubles: Vec<Trouble> =
            (0..count).map(|round| TROUBLES[usize::try_from((life * LIFE + round) % 7).unwrap()]).collect();
        match lived(seed, &troubles, Planted::Nothing) {
            Ok(()) => troubles.into_iter().for_each(|one| *tally.entry(one).or_insert(0) += 1),
            Err(words) => {
                eprintln!("seed {seed}: {words}");
                failed.push(seed);
            }
        }
        if rounds::is_long() {
            eprintln!("{} of {rounds} rounds, seed {seed}", (life + 1) * LIFE);
        }
    }
    let passed: u64 = tally.values().sum();
    eprintln!("{tally:?}");
    eprintln!("bad-disks: {passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "seeds {failed:?}");
}

fn lived(seed: u64, troubles: &[Trouble], planted: Planted) -> Result<(), String> {
    let life = std::panic::AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(one_life(seed, troubles, planted));
    });
    std::panic::catch_unwind(life).map_err(|panic| match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(String::new, |words| (*words).to_owned()),
    })
}

/// A metadata server that believes every store gives clients zeros, or old bytes; their checker
/// says so.
#[test]
fn planted_a_metadata_server_that_believes_every_store() {
    for trouble in [Trouble::ListGone, Trouble::OlderCopy] {
        let words = lived(7, &[trouble], Planted::BelievesStores).unwrap_err();
        assert!(words.contains("wrong bytes"), "{trouble:?}: {words}");
    }
    // Without the files alone the store itself refuses, also where a metadata server believes it.
    lived(7, &[Trouble::FilesGone], Planted::BelievesStores).unwrap();
}

/// One that does not hear of failures leaves clients waiting; their checker says so.
#[test]
fn planted_a_metadata_server_that_is_deaf_to_failures() {
    for trouble in [Trouble::FailsSyncs, Trouble::FailsReads] {
        let words = lived(7, &[trouble], Planted::DeafToFailures).unwrap_err();
        assert!(words.contains("does not end"), "{trouble:?}: {words}");
    }
}

async fn one_life(seed: u64, troubles: &[Trouble], planted: Planted) {
    let shape = Shape {
        servers: 3,
        profile: Profile::TwoPlusOne,
        capacity_bytes: 64 << 20,
        seal_bytes_per_s: 1 << 30,
        scrub_period_ms: 0,
    };
    let fleet = Fleet::new(shape, seed).await;
    {
        let roster = &mut fleet.log.lock().unwrap().roster;
        // Everything stays in journals: what images do without a disk is looked at by other suites.
        roster.seal_idle_ms = 0;
        roster.judges = planted != Planted::BelievesStores;
        roster.is_deaf = planted == Planted::DeafToFailures;
    }
    for id in fleet.ids() {
        fleet.boot(id, Crash::Drop).await;
    }
    fleet.until("all have a lease", || fleet.up().len() == 3).await;
    let (leader, tasks) = Leader::begin(&fleet);
    let mut files = Vec::new();
    for home in 0..6u32 {
        files.push(File::new(&fleet, home % 3 + 1, &[(home + 1) % 3 + 1]));
    }
    // So that each has a complete segment, which its list names.
    work(&fleet, &mut files).await;
    for id in fleet.ids() {
        fleet.kill(id, Crash::Drop);
        fleet.boot(id, Crash::Drop).await;
    }
    for (round, trouble) in troubles.iter().enumerate() {
        work(&fleet, &mut files).await;
        let victim = files[0].home(&fleet);
        let old = fleet.disk(victim).after_crash(Crash::Keep);
        work(&fleet, &mut files).await;
        fleet.sleep_ms(HEARD_MS).await;
        fleet.until("every byte is twice there", || leader.survives(&fleet, &[victim])).await;
        suffer(&fleet, &leader, &mut files, *trouble, victim, old).await;
        for file in &mut files {
            file.check(&fleet, &format!("seed {seed}, round {round}, {trouble:?}")).await;
        }
        fleet.until("everything is whole again", || leader.is_at_rest(&fleet)).await;
    }
    work(&fleet, &mut files).await;
    for file in &mut files {
        file.check(&fleet, &format!("seed {seed}, at the end")).await;
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Clients write, all of it promised.
async fn work(fleet: &Fleet, files: &mut [File]) {
    for file in files {
        for _ in 0..3 {
            let (at, length) = (fleet.below(300_000), 1 + fleet.below(20_000));
            let (at, length) = (usize::try_from(at).unwrap(), usize::try_from(length).unwrap());
            file.write(fleet, at, length, fleet.below(u64::MAX)).await;
        }
        file.write_loosely(fleet, 0, 5_000, fleet.below(u64::MAX)).await;
        file.commit(fleet).await;
    }
}

/// Something becomes of the victim's disk; another server takes its place once that is known.
async fn suffer(
    fleet: &Arc<Fleet>,
    leader: &Leader,
    files: &mut [File],
    trouble: Trouble,
    victim: u32,
    old: MemoryDisk,
) {
    let is_known = || {
        let log = fleet.log.lock().unwrap();
        log.roster.failed.contains_key(&victim) || log.roster.behind.contains(&victim)
    };
    let broken = match trouble {
        Trouble::FilesGone | Trouble::ListGone | Trouble::OlderCopy => {
            fleet.kill(victim, Crash::Drop);
            if trouble == Trouble::OlderCopy {
                fleet.set_disk(victim, old);
            } else {
                lose_files(&fleet.disk(victim), trouble == Trouble::ListGone).await;
            }
            match fleet.try_boot(victim).await {
                // The list knows of complete segments: those of the start before, at least.
                Err(words) => assert!(words.contains("journal segments are gone"), "{words}"),
                Ok(()) => fleet.until("it is judged", || is_known() || fleet.is_serving(victim)).await,
            }
            if fleet.is_serving(victim) {
                // It is believed: the clients see.
                return;
            }
            None
        }
        Trouble::FailsReads => Some(Broken { reads: true, ..Broken::default() }),
        Trouble::FailsWrites => Some(Broken { writes: true, ..Broken::default() }),
        Trouble::FailsSyncs => Some(Broken { syncs: true, ..Broken::default() }),
        Trouble::Dead => Some(Broken::ALL),
    };
    if let Some(broken) = broken {
        fleet.disk(victim).set_broken(broken);
        let began_ms = fleet.now_ms();
        let late_ms = began_ms + 3_000;
        // One that is primary of it notices, whatever the client wants.
        while !is_known() && fleet.now_ms() < late_ms {
            files[0].touch(fleet).await;
            fleet.sleep_ms(50).await;
        }
    }
    if broken.is_some() && !is_known() {
        return;
    }
    fleet.kill(victim, Crash::Drop);
    let new = fleet.lose(victim);
    leader.declare_dead(fleet, victim);
    fleet.boot(new, Crash::Drop).await;
}

async fn lose_files(disk: &MemoryDisk, with_list: bool) {
    let dir = Path::new("/ds/journal");
    for name in Disk::list(disk, dir).await.unwrap() {
        disk.remove(&dir.join(name)).await.unwrap();
    }
    if with_list {
        disk.remove(Path::new("/ds/segments")).await.unwrap();
        disk.sync_dir(Path::new("/ds")).await.unwrap();
    }
    disk.sync_dir(dir).await.unwrap();
}
