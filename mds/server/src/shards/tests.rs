//! Commands and acts whose callers are dropped.

pub(crate) mod guest;

use env::os::{OsClock, OsEntropy, Preference, open_disk};
use futures_util::poll;
use mds_namespace::op::lookup;
use mds_namespace::{Caller as Asker, Kind, ROOT_INO, SetAttributes};
use mds_raft::NodeConfig;
use mds_state::Refusal;
use mds_state::command::data::Format;
use mds_state::command::governor::{Carry, ReserveInodes};
use mds_state::command::namespace::{Create, Remove, Rename};

use super::names::Plan;
use super::*;

const SHARDS: usize = 3;

/// A single node with several shards without a governor: formatted, as a server makes it.
pub(crate) async fn first_shard(dir: &std::path::Path) -> (Env, Shard) {
    let env = Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(OsEntropy),
        disk: open_disk("test", Preference::Blocking).expect("threads always start").0,
        net: Arc::new(env::memory::net::MemoryNet::new()),
    };
    let config = NodeConfig { shards: SHARDS, ..NodeConfig::single([0; 16]) };
    let first = Shard::start(env.clone(), dir, config).await.unwrap();
    let format = Format {
        file_system: [1; 16],
        handle_key: [2; 32],
        cookie_key: [3; 32],
        root_uid: 0,
        root_gid: 0,
        root_mode: 0o777,
    };
    assert_eq!(first.propose(None, Command::Format(format)).await, Ok(Outcome::Done));
    (env, first)
}

pub(super) async fn shards(dir: &std::path::Path) -> Shards {
    let (env, first) = first_shard(dir).await;
    let shards = Shards::new(env, first);
    shards.govern().await.unwrap();
    shards
}

pub(super) fn create(directory: Ino, name: &str, kind: Kind) -> Command {
    Command::Create(Create {
        caller: Asker::default(),
        directory,
        name: name.as_bytes().to_vec(),
        kind,
        symlink_target: if kind == Kind::Symlink { b"target".to_vec() } else { Vec::new() },
        attributes: SetAttributes { mode: Some(0o755), ..SetAttributes::default() },
    })
}

fn is_there(shards: &Shards, directory: Ino, name: &str) -> bool {
    let view = shards.view().unwrap();
    lookup::lookup(view.namespace(), &Asker::default(), directory, name.as_bytes()).is_ok()
}

/// A logged command is applied although its caller was dropped: until then its inodes are under
/// way.
#[tokio::test]
async fn a_command_without_a_caller_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    for turn in 0..20 {
        let name = format!("link-{turn}");
        let mut proposal = Box::pin(shards.propose(None, create(ROOT_INO, &name, Kind::Symlink)));
        assert!(poll!(proposal.as_mut()).is_pending());
        drop(proposal);
        let locked = shards.locks().lock(vec![ROOT_INO]).await.unwrap();
        let seen = is_there(&shards, ROOT_INO, &name);
        shards.inner.env.clock.sleep_ms(20).await;
        assert_eq!(is_there(&shards, ROOT_INO, &name), seen, "{name}: it was changed while it was locked");
        drop(locked);
    }
    shards.stop().await;
}

/// The plan of the next command does not see logged commands that are not applied yet: once they
/// are, its name leads to another inode than the one it keeps acts away from.
#[tokio::test]
async fn a_command_is_planned_again_when_its_name_leads_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let mut planned_again = 0;
    for turn in 0..20 {
        let names = ["from", "to"].map(|name| format!("{name}-{turn}"));
        for name in &names {
            assert!(matches!(
                shards.propose(None, create(ROOT_INO, name, Kind::Symlink)).await,
                Ok(Outcome::Entry(_))
            ));
        }
        let [from_name, to_name] = names.clone().map(String::into_bytes);
        let (from_directory, to_directory, caller) = (ROOT_INO, ROOT_INO, Asker::default());
        let rename = Rename { caller, from_directory, from_name, to_directory, to_name: to_name.clone() };
        let remove = Remove { caller: Asker::default(), directory: ROOT_INO, name: to_name };
        let mut first = Box::pin(shards.propose(None, Command::Rename(rename)));
        let mut second = Box::pin(shards.propose(None, Command::Remove(remove.clone())));
        assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
        let plan = shards.plan(&Command::Remove(remove)).unwrap();
        let (renamed, removed) = futures_util::join!(first, second);
        assert!(matches!(renamed, Ok(Outcome::Renamed(_))), "{renamed:?}");
        let Ok(Outcome::Entry(removed)) = removed else { panic!("{removed:?}") };
        planned_again +=
            usize::from(!matches!(plan, Plan::One { inodes, .. } if inodes.contains(&removed.inode.ino)));
        assert!(names.iter().all(|name| !is_there(&shards, ROOT_INO, name)));
    }
    assert!(0 < planned_again, "some were planned on an older view");
    shards.stop().await;
}

/// An act beyond its shard's limit waits until another is settled, and is not refused.
#[tokio::test]
async fn an_act_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let room = Arc::clone(&shards.inner.unsettled[0]);
    let all = u32::try_from(INTENTS_MAX).unwrap();
    let others = room.acquire_many(all).await.unwrap();
    let elsewhere = (0..).map(|number| format!("d{number}"));
    let name = elsewhere.into_iter().find(|name| shards.shard_for(ROOT_INO, name.as_bytes()) != 0).unwrap();
    let mut act = Box::pin(shards.propose(None, create(ROOT_INO, &name, Kind::Directory)));
    for _ in 0..20 {
        assert!(poll!(act.as_mut()).is_pending());
        shards.inner.env.clock.sleep_ms(5).await;
    }
    drop(others);
    assert!(matches!(act.await, Ok(Outcome::Entry(_))));
    // Until it is settled.
    drop(room.acquire_many(all).await.unwrap());
    shards.stop().await;
}

/// A governor that finds an intent writes its parts again: no command may change the act's inodes
/// before it is settled.
#[tokio::test]
async fn no_command_changes_an_acts_inodes_before_it_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let mut acts = 0;
    for turn in 0..20 {
        let name = format!("directory-{turn}");
        let made = match shards.propose(None, create(ROOT_INO, &name, Kind::Directory)).await {
            Ok(Outcome::Entry(entry)) => entry.inode.ino,
            other => panic!("{other:?}"),
        };
        acts += usize::from(mds_namespace::shard_of(made) != 0);
        // It may be read as soon as it is answered.
        assert!(poll!(Box::pin(shards.pass([ROOT_INO].into_iter()))).is_ready());
        // The changed inode, and the new one.
        let _changes = shards.enter(vec![if turn % 2 == 0 { ROOT_INO } else { made }]).await.unwrap();
        let intents = shards.first().view().unwrap().intents().unwrap();
        assert!(intents.is_empty(), "{intents:?}");
    }
    assert!(0 < acts, "some are on other shards than the root");
    shards.stop().await;
}

/// A directory move keeps other moves waiting until it is done, also if its caller was dropped.
#[tokio::test]
async fn a_move_without_a_caller_keeps_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let mut made = Vec::new();
    for name in ["from", "to"] {
        match shards.propose(None, create(ROOT_INO, name, Kind::Directory)).await {
            Ok(Outcome::Entry(entry)) => made.push(entry.inode.ino),
            other => panic!("{other:?}"),
        }
    }
    let moved = shards.propose(None, create(made[0], "moved", Kind::Directory)).await;
    assert!(matches!(moved, Ok(Outcome::Entry(_))), "{moved:?}");
    // The creation is settled: the move does not wait for it.
    drop(shards.locks().lock(vec![made[0], made[1]]).await.unwrap());
    let rename = Command::Rename(Rename {
        caller: Asker::default(),
        from_directory: made[0],
        from_name: b"moved".to_vec(),
        to_directory: made[1],
        to_name: b"moved".to_vec(),
    });
    let mut act = Box::pin(shards.propose(None, rename));
    assert!(poll!(act.as_mut()).is_pending());
    drop(act);
    assert!(shards.inner.moves_directories.try_lock().is_err(), "it goes on by itself");
    let _turn = shards.inner.moves_directories.lock().await;
    assert!(is_there(&shards, made[1], "moved") && !is_there(&shards, made[0], "moved"));
    shards.stop().await;
}

/// A command with an unknown fate may still be on its way: when it arrives, others were applied in
/// its stead.
#[tokio::test]
async fn a_late_command_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let before = shards.inner.words[1].load(Ordering::Acquire);
    let reserve = || Command::ReserveInodes(ReserveInodes { count: 1 });
    assert!(matches!(shards.to(1, None, reserve()).await, Ok(Outcome::Reserved(_))));
    shards.until_answered(shards.reign(), 1).await;
    let late = shards.replica(1).propose_as(before, None, reserve()).await;
    assert_eq!(late, Ok(Outcome::Refused(Refusal::Superseded)));
    assert!(matches!(shards.to(1, None, reserve()).await, Ok(Outcome::Reserved(_))));
    // Another shard's word does not count.
    assert!(matches!(shards.replica(2).propose_as(before, None, reserve()).await, Ok(Outcome::Reserved(_))));
    shards.stop().await;
}

/// A command with locks from before this node began to govern again changes nothing.
#[tokio::test]
async fn a_lock_of_an_earlier_reign_is_worth_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let held = shards.enter(vec![ROOT_INO]).await.unwrap();
    shards.falter(held.reign());
    assert!(!shards.is_leader(), "it serves no client");
    assert!(shards.enter(vec![ROOT_INO]).await.is_err());
    assert!(matches!(shards.read_barrier().await, Err(ProposeError::NotLeader { .. })));
    shards.govern().await.unwrap();
    assert!(shards.is_leader());
    let reserve = || Command::ReserveInodes(ReserveInodes { count: 1 });
    for shard in 0..3 {
        let late = shards.within(held.reign(), shard, None, reserve()).await;
        assert!(matches!(late, Err(ProposeError::NotLeader { .. })), "{late:?}");
    }
    // The current locks are others.
    drop(shards.locks().lock(vec![ROOT_INO]).await.unwrap());
    drop(held);
    assert!(matches!(shards.to(1, None, reserve()).await, Ok(Outcome::Reserved(_))));
    shards.stop().await;
}

/// Shard 0 keeps no word: a plan of a term in which this node led it is not proposed in another
/// term.
#[tokio::test]
async fn a_plan_of_another_term_is_not_for_shard_0() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let reserve = || Command::ReserveInodes(ReserveInodes { count: 1 });
    // As if it led again and had not begun to govern in that term.
    let term = shards.inner.term.fetch_add(1, Ordering::AcqRel);
    let late = shards.within(shards.reign(), 0, None, reserve()).await;
    assert_eq!(late, Err(ProposeError::NotLeader { leader: None }));
    // The wait for a decision ends: it may be what keeps this node from governing.
    let (reign, clock) = (shards.reign(), shards.inner.env.clock.clone());
    tokio::select! {
        () = shards.until_answered(reign, 0) => {}
        () = clock.sleep_ms(5_000) => panic!("it waits for a term that is over"),
    }
    let carry = Command::Carry(Carry { writes: Vec::new() });
    assert!(matches!(shards.insist(reign, 0, carry).await, Err(ProposeError::NotLeader { .. })));
    shards.inner.term.store(term, Ordering::Release);
    assert!(matches!(shards.within(shards.reign(), 0, None, reserve()).await, Ok(Outcome::Reserved(_))));
    shards.stop().await;
}

#[test]
fn the_last_request_of_a_slot_counts() {
    let mark = |slot, sequence| SlotMark { slot, sequence, request: u64::from(sequence) };
    let mut slots = vec![mark(0, 5), mark(1, u32::MAX)];
    for one in [mark(0, 4), mark(2, 9), mark(1, 0), mark(0, 5)] {
        merge(&mut slots, one);
    }
    assert_eq!(slots, [mark(0, 5), mark(1, 0), mark(2, 9)]);
}
