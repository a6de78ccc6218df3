//! Ends that other shards learn late, or before a command that was under way.

use std::sync::atomic::Ordering;

use mds_namespace::Ino;
use mds_state::StateidValue;
use mds_state::command::client::RemoveClient;
use mds_state::command::governor::Govern;
use mds_state::command::lock::{Lock, Locker, Range};
use mds_state::command::session::{DestroySession, TakeUpSession};
use wire_session::limits::SESSIONS_PER_CLIENT_MAX;

use super::super::tests::guest::{create_session, directory, exchange, guest, open};
use super::super::tests::shards;
use super::*;

fn lock(client: u64, (ino, open): (Ino, StateidValue)) -> Command {
    Command::Lock(Lock {
        client,
        ino,
        exclusive: true,
        range: Range { offset_bytes: 0, length_bytes: 10 },
        locker: Locker::New { open, owner: b"locker".to_vec() },
    })
}

fn remove(client: u64) -> Command {
    Command::RemoveClient(RemoveClient { client, only_if_idle: false })
}

/// A client's state in a shard: opens and locks, and whether there is any at all.
fn held(shards: &Shards, shard: u16, client: u64) -> (u32, u32, bool) {
    let view = shards.replica(shard).view().unwrap();
    let tally = view.tally(client).unwrap();
    (tally.opens, tally.locks, view.clients_with_state().unwrap().contains(&client))
}

const NOTHING: (u32, u32, bool) = (0, 0, false);

/// As when the fate of another command is unknown: proposals are refused until the shard has the
/// word.
fn renew_word(shards: &Shards, shard: usize) {
    shards.inner.words[shard].fetch_add(1, Ordering::AcqRel);
}

#[tokio::test]
async fn an_end_refused_for_its_word_is_retried() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let (mut gone, mut other) = (guest(&shards, "gone").await, guest(&shards, "other").await);
    let file = gone.open(&shards, directory).await.unwrap();
    let locked = shards.propose(Some(gone.origin()), lock(gone.client, file)).await;
    assert!(matches!(locked, Ok(Outcome::Stateid(_))), "{locked:?}");
    assert_eq!(held(&shards, 1, gone.client), (1, 1, true));
    renew_word(&shards, 1);
    let removed = shards.propose(None, remove(gone.client)).await;
    assert!(matches!(removed, Ok(Outcome::Removed(_))), "{removed:?}");
    shards.inner.env.clock.sleep_ms(2 * AGAIN_MS).await;
    assert_eq!(held(&shards, 1, gone.client), (1, 1, true), "the shard cannot learn it yet");
    assert_eq!(shards.to(1, None, Command::Govern(Govern)).await, Ok(Outcome::Done));
    shards.forgotten(gone.client).await;
    assert_eq!(held(&shards, 1, gone.client), NOTHING);
    other.open(&shards, directory).await.unwrap();
    shards.stop().await;
}

#[tokio::test]
async fn a_shard_that_fails_keeps_no_other_from_forgetting() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let (one, two) = (directory(&shards, 1).await, directory(&shards, 2).await);
    let mut gone = guest(&shards, "gone").await;
    gone.open(&shards, one).await.unwrap();
    gone.open(&shards, two).await.unwrap();
    shards.replica(1).stop().await;
    let removed = shards.propose(None, remove(gone.client)).await;
    // Shard 0 has applied it, and so the answer is success.
    assert!(matches!(removed, Ok(Outcome::Removed(_))), "{removed:?}");
    shards.forgotten(gone.client).await;
    assert_eq!(held(&shards, 2, gone.client), NOTHING);
    shards.first().stop().await;
}

/// Its session may still be in memory, and this node may not have learnt of its end.
#[tokio::test]
async fn an_ended_client_is_granted_nothing_in_other_shards() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut gone = guest(&shards, "gone").await;
    let file = gone.open(&shards, directory).await.unwrap();
    let untold = shards.first().propose(None, remove(gone.client)).await;
    assert!(matches!(untold, Ok(Outcome::Removed(_))), "{untold:?}");
    let late = shards.propose(Some(gone.origin()), lock(gone.client, file)).await;
    assert_eq!(late, Ok(Outcome::Refused(Refusal::UnknownSession)));
    // A second request for its end gets STALE_CLIENTID, and removes the state there.
    let again = shards.propose(None, remove(gone.client)).await;
    assert_eq!(again, Ok(Outcome::Refused(Refusal::StaleClient)));
    shards.forgotten(gone.client).await;
    assert_eq!(held(&shards, 1, gone.client), NOTHING);
    shards.stop().await;
}

#[tokio::test]
async fn an_earlier_tenure_is_over_in_other_shards_too() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut guest = guest(&shards, "guest").await;
    let file = guest.open(&shards, directory).await.unwrap();
    let taken = Command::TakeUpSession(TakeUpSession { session: guest.session });
    assert!(matches!(shards.propose(None, taken).await, Ok(Outcome::SessionTakenUp(_))));
    let late = shards.propose(Some(guest.origin()), lock(guest.client, file)).await;
    assert_eq!(late, Ok(Outcome::Refused(Refusal::Superseded)));
    shards.stop().await;
}

/// A command that was under way at its client's end, and is applied after the shard learnt of it.
#[tokio::test]
async fn a_late_command_leaves_no_state() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let (one, two) = (directory(&shards, 1).await, directory(&shards, 2).await);
    let (mut gone, mut other) = (guest(&shards, "gone").await, guest(&shards, "other").await);
    other.open(&shards, two).await.unwrap();
    let removed = shards.propose(None, remove(gone.client)).await;
    assert!(matches!(removed, Ok(Outcome::Removed(_))), "{removed:?}");
    shards.forgotten(gone.client).await;
    let mut seen = [None; 3];
    shards.forget_orphaned(&mut seen).await;
    assert!(seen[1].is_some() && seen[2].is_some(), "nothing is left: {seen:?}");
    let word = shards.inner.words[1].load(Ordering::Acquire);
    let late = shards.replica(1).propose_as(word, Some(gone.origin()), open(gone.client, one)).await;
    let Ok(Outcome::Opened(opened)) = late else { panic!("{late:?}") };
    let file = (opened.inode.ino, opened.stateid);
    let late = shards.replica(1).propose_as(word, Some(gone.origin()), lock(gone.client, file)).await;
    assert!(matches!(late, Ok(Outcome::Stateid(_))), "{late:?}");
    assert_eq!(held(&shards, 1, gone.client), (1, 1, true));
    shards.forget_orphaned(&mut seen).await;
    assert_eq!(held(&shards, 1, gone.client), NOTHING);
    other.open(&shards, one).await.unwrap();
    assert_eq!(held(&shards, 2, other.client), (1, 0, true), "a known client keeps its state");
    shards.stop().await;
}

#[tokio::test]
async fn a_client_with_state_in_another_shard_is_not_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut holder = guest(&shards, "owner").await;
    holder.open(&shards, directory).await.unwrap();
    let destroy = Command::DestroySession(DestroySession { session: holder.session });
    assert_eq!(shards.propose(None, destroy).await, Ok(Outcome::Done));
    let other = shards.propose(None, exchange("owner", "another")).await;
    assert_eq!(other, Ok(Outcome::Refused(Refusal::ClientInUse)));
    assert_eq!(held(&shards, 1, holder.client).0, 1);
    // Nor does it leave before it has released that.
    let leave = Command::RemoveClient(RemoveClient { client: holder.client, only_if_idle: true });
    assert_eq!(shards.propose(None, leave).await, Ok(Outcome::Refused(Refusal::ClientBusy)));
    shards.stop().await;
}

#[tokio::test]
async fn an_evicted_client_is_forgotten_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut idle = guest(&shards, "owner").await;
    let destroy = Command::DestroySession(DestroySession { session: idle.session });
    assert_eq!(shards.propose(None, destroy).await, Ok(Outcome::Done));
    shards.inner.ends.over(Ended::Session(idle.session)).await;
    // It comes late, holds nothing, and is recorded.
    let word = shards.inner.words[1].load(Ordering::Acquire);
    let no_open = (directory, StateidValue { seqid: 1, other: [0; 12] });
    let late = shards.replica(1).propose_as(word, Some(idle.origin()), lock(idle.client, no_open)).await;
    assert!(matches!(late, Ok(Outcome::Refused(_))), "{late:?}");
    assert_eq!(held(&shards, 1, idle.client), (0, 0, true));
    let other = shards.propose(None, exchange("owner", "another")).await;
    let Ok(Outcome::Client(answer)) = other else { panic!("{other:?}") };
    assert_eq!(answer.replaces, Some(idle.client));
    shards.forgotten(idle.client).await;
    assert_eq!(held(&shards, 1, idle.client), NOTHING);
    shards.stop().await;
}

/// The 65th session of a client ends the oldest: its records are removed, although the shard was
/// unavailable at that moment.
#[tokio::test]
async fn records_of_a_session_end_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut guest = guest(&shards, "guest").await;
    guest.open(&shards, directory).await.unwrap();
    let recorded = |shards: &Shards| shards.replica(1).view().unwrap().sessions_with_records().unwrap();
    assert_eq!(recorded(&shards), [guest.session]);
    renew_word(&shards, 1);
    for more in 0..SESSIONS_PER_CLIENT_MAX {
        let sequence = 2 + u32::try_from(more).unwrap();
        let made = shards.propose(None, create_session(guest.client, sequence)).await;
        let Ok(Outcome::SessionCreated(made)) = made else { panic!("{made:?}") };
        assert_eq!(made.ended, (more + 1 == SESSIONS_PER_CLIENT_MAX).then_some(guest.session));
    }
    shards.inner.env.clock.sleep_ms(2 * AGAIN_MS).await;
    assert_eq!(recorded(&shards), [guest.session], "the shard cannot learn it yet");
    assert_eq!(shards.to(1, None, Command::Govern(Govern)).await, Ok(Outcome::Done));
    shards.inner.ends.over(Ended::Session(guest.session)).await;
    assert!(recorded(&shards).is_empty());
    assert_eq!(held(&shards, 1, guest.client), (1, 0, true), "its client is still there");
    shards.stop().await;
}

/// As of a session whose end this node did not learn.
#[tokio::test]
async fn orphaned_records_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut guest = guest(&shards, "guest").await;
    guest.open(&shards, directory).await.unwrap();
    let destroy = Command::DestroySession(DestroySession { session: guest.session });
    assert_eq!(shards.first().propose(None, destroy).await, Ok(Outcome::Done));
    assert_eq!(shards.orphaned(1), Ok(vec![Ended::Session(guest.session)]));
    shards.forget_orphaned(&mut [None; 3]).await;
    assert_eq!(shards.orphaned(1), Ok(Vec::new()));
    assert_eq!(held(&shards, 1, guest.client), (1, 0, true));
    shards.stop().await;
}
