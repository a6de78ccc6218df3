//! A fixed life of a small cluster that does everything a data server writes to its disk for, once
//! or twice, while one of its disks may fail at a chosen operation.

use std::sync::Arc;

use env::memory::{Crash, CrashPoint, Reached};
use layout::DataServerId;
use layout::ec::Profile;

use crate::file::File;
use crate::fleet::{Fleet, Shape};
use crate::leader::Leader;

const FRAME: usize = 64 << 10;
pub(crate) const SERVERS: u32 = 4;

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) server: u32,
    /// Which operation of its disk.
    pub(crate) operation: u64,
    pub(crate) point: CrashPoint,
    /// What the crash leaves of what was not durable.
    pub(crate) crash: Crash,
    /// All others lose power with it.
    pub(crate) all: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    /// Operations of each server's disk.
    pub(crate) operations: Vec<u64>,
    pub(crate) reached: Option<Reached>,
}

/// Runs the script, with a fault or without.
pub(crate) async fn run(fault: Option<Fault>) -> Outcome {
    let shape = Shape {
        servers: SERVERS,
        profile: Profile::TwoPlusOne,
        capacity_bytes: 64 << 20,
        seal_bytes_per_s: 1 << 30,
        scrub_period_ms: 3_000,
    };
    let fleet = Fleet::new(shape, 7).await;
    if let Some(fault) = fault {
        fleet.disk(fault.server).crash_at(fault.operation, fault.point);
    }
    let crash = fault.map_or(Crash::Drop, |fault| fault.crash);
    for id in fleet.ids() {
        fleet.boot(id, crash).await;
    }
    let watch = fault.map(|fault| tokio::spawn(watch(Arc::clone(&fleet), fault)));
    let (leader, tasks) = Leader::begin(&fleet);
    fleet.until("all have a lease", || fleet.up().len() == SERVERS as usize).await;
    play(&fleet, &leader, crash).await;
    let operations = fleet.ids().into_iter().map(|id| fleet.disk(id).operations()).collect();
    let reached = fault.and_then(|fault| fleet.disk(fault.server).reached());
    assert!(tasks.iter().all(|task| !task.is_finished()), "the leader found something");
    tasks.iter().chain(&watch).for_each(tokio::task::JoinHandle::abort);
    Outcome { operations, reached }
}

/// Kills and starts again each server whose disk lost power; one whose disk failed a little later.
async fn watch(fleet: Arc<Fleet>, fault: Fault) {
    let disk = fleet.disk(fault.server);
    while disk.reached().is_none() || fault.point != CrashPoint::Fails && !disk.is_off() {
        tokio::task::yield_now().await;
        // One that has not come to its first start ends looks after itself.
        if disk.is_off() && fleet.running(fault.server).is_none() {
            return;
        }
    }
    if fault.point == CrashPoint::Fails {
        fleet.sleep_ms(1_500).await;
    }
    if fleet.running(fault.server).is_none() {
        return;
    }
    fleet.kill(fault.server, fault.crash);
    let others = fleet.ids().into_iter().filter(|id| fault.all && *id != fault.server);
    let others: Vec<u32> = others.filter(|id| fleet.running(*id).is_some()).collect();
    for id in &others {
        fleet.kill(*id, Crash::Tear { seed: fault.operation });
    }
    for id in others.iter().chain([&fault.server]) {
        fleet.boot(*id, fault.crash).await;
    }
}

async fn play(fleet: &Arc<Fleet>, leader: &Leader, crash: Crash) {
    let mut first = File::new(fleet, 1, &[2]);
    let mut second = File::new(fleet, 2, &[3]);
    // Stable and not, a commit, a cut, and what fills a segment.
    first.write(fleet, FRAME, 3 * FRAME + 100, 1).await;
    second.write(fleet, 0, 2 * FRAME, 2).await;
    first.write_loosely(fleet, 5 * FRAME, 9_000, 3).await;
    first.write_loosely(fleet, 6 * FRAME, 20_000, 4).await;
    first.commit(fleet).await;
    first.cut(fleet, 6 * FRAME + 10_000).await;
    first.check(fleet, "written and cut").await;
    let mut third = File::new(fleet, 3, &[1]);
    for part in 0..5 {
        third.write(fleet, part << 20, 1 << 20, 10 + part as u64).await;
    }
    third.check(fleet, "a segment is full").await;
    third.remove(fleet);
    // Sealed, in a group, and in use.
    sealed(fleet, &first).await;
    sealed(fleet, &second).await;
    first.check(fleet, "sealed").await;
    second.check(fleet, "sealed").await;
    // Above an image, and sealed again.
    first.write(fleet, 2 * FRAME + 5, 3 * FRAME, 20).await;
    first.check(fleet, "written over").await;
    second.cut(fleet, FRAME + 77).await;
    second.write(fleet, FRAME / 4, FRAME, 21).await;
    sealed(fleet, &first).await;
    sealed(fleet, &second).await;
    first.check(fleet, "sealed again").await;
    fleet.until("whole", || leader.is_at_rest(fleet)).await;
    // One is gone for long: what it had of images is made again elsewhere.
    let holder = holder(fleet, &first);
    fleet.kill(holder, crash);
    leader.declare_dead(fleet, holder);
    let here = Some(DataServerId(holder));
    let has_nothing =
        || fleet.log.lock().unwrap().groups.values().all(|group| !group.homes().contains(&here));
    fleet.until("made again", has_nothing).await;
    first.check(fleet, "without one").await;
    fleet.boot(holder, crash).await;
    leader.is_back(holder);
    fleet.until("whole again", || leader.is_at_rest(fleet)).await;
    // All that keep an extent are gone: another one takes it up.
    sealed(fleet, &second).await;
    let set = set_of(fleet, &second);
    for id in &set {
        fleet.kill(*id, crash);
    }
    for id in set.iter().rev() {
        leader.declare_dead(fleet, *id);
    }
    let is_adopted = || {
        let log = fleet.log.lock().unwrap();
        !log.pending.contains_key(&second.extent) && !set.contains(&log.extents[&second.extent].home)
    };
    fleet.until("adopted", is_adopted).await;
    // Two of a group's three may be gone: what is in it is readable when one is back.
    for id in set {
        fleet.boot(id, crash).await;
        leader.is_back(id);
    }
    second.check(fleet, "adopted").await;
    second.write(fleet, FRAME / 2, FRAME, 30).await;
    first.check(fleet, "before the end").await;
    second.check(fleet, "before the end").await;
    fleet.until("whole at last", || leader.is_at_rest(fleet)).await;
    first.write(fleet, 0, 100, 40).await;
    first.check(fleet, "at the end").await;
    second.check(fleet, "at the end").await;
    first.remove(fleet);
    second.remove(fleet);
    fleet.until("all is forgotten", || leader.is_at_rest(fleet)).await;
    let empty = || fleet.ids().into_iter().all(|id| is_empty(fleet, id));
    fleet.until("the space comes back", empty).await;
}

/// Journals at rest take little, and images nothing.
fn is_empty(fleet: &Fleet, id: u32) -> bool {
    let Some(running) = fleet.running(id) else { return false };
    let usage = running.server.usage();
    usage.live_bytes < 64 << 10 && usage.used_bytes < 4 << 20
}

/// Waits until all of it is an image in use.
async fn sealed(fleet: &Fleet, file: &File) {
    let is_at_rest = || {
        let log = fleet.log.lock().unwrap();
        log.extents[&file.extent].images.len() == 1 && log.at_rest(file.extent).is_some()
    };
    fleet.until("sealed and in use", is_at_rest).await;
}

/// The primary of a file's image.
fn holder(fleet: &Fleet, file: &File) -> u32 {
    let log = fleet.log.lock().unwrap();
    let image = *log.extents[&file.extent].images.last_key_value().unwrap().1;
    let (group, slots) = log.places(image).unwrap();
    group.homes()[slots[0]].unwrap().0
}

fn set_of(fleet: &Fleet, file: &File) -> Vec<u32> {
    let log = fleet.log.lock().unwrap();
    let record = &log.extents[&file.extent];
    std::iter::once(record.home).chain(record.backups.iter().map(|one| one.server)).collect()
}
