//! Requests behind a CLOSE that is answered early.

use futures_util::poll;
use mds_namespace::Ino;
use mds_state::command::client::RemoveClient;
use mds_state::command::open::Close;
use mds_state::{Refusal, StateidValue};

use super::super::tests::guest::{Guest, directory, guest};
use super::super::tests::shards;
use super::*;

fn close(guest: &Guest, (ino, stateid): (Ino, StateidValue)) -> Command {
    Command::Close(Close { client: guest.client, ino, stateid })
}

/// An act may have the file locked, and be about to admit the CLOSE: an answered CLOSE comes before
/// later requests all the same.
#[tokio::test]
async fn a_close_that_was_answered_is_not_overtaken() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut guest = guest(&shards, "one").await;
    for turn in 0..20 {
        let file = guest.open(&shards, directory).await.unwrap();
        assert_eq!(file.1.seqid, 1, "turn {turn}: it was closed before it was opened again");
        let act = shards.locks().lock(vec![file.0]).await.unwrap();
        act.show();
        let (origin, close) = (guest.origin(), close(&guest, file));
        let mut behind = Box::pin(shards.propose_behind(Some(origin), close));
        assert!(poll!(behind.as_mut()).is_pending(), "it is not queued in the log yet");
        drop(act);
        assert_eq!(behind.await, None);
    }
    shards.stop().await;
}

/// Shard 0 checks whether a client holds anything, while its CLOSE is on the way in another shard.
/// Spec: RFC 8881 §18.50.3.
#[tokio::test]
async fn a_client_that_closed_its_file_is_not_busy() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut guest = guest(&shards, "one").await;
    let removes = Command::RemoveClient(RemoveClient { client: guest.client, only_if_idle: true });
    for _ in 0..20 {
        let file = guest.open(&shards, directory).await.unwrap();
        assert_eq!(shards.busy_elsewhere(&removes).await, Ok(Some(Refusal::ClientBusy)));
        let (origin, close) = (guest.origin(), close(&guest, file));
        assert_eq!(shards.propose_behind(Some(origin), close).await, None);
        assert_eq!(shards.busy_elsewhere(&removes).await, Ok(None));
    }
    shards.stop().await;
}

/// A command that is refused before it is queued in any log is not answered as queued.
#[tokio::test]
async fn a_close_without_a_place_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let shards = shards(dir.path()).await;
    let directory = directory(&shards, 1).await;
    let mut guest = guest(&shards, "one").await;
    let file = guest.open(&shards, directory).await.unwrap();
    let (mut origin, asked) = (guest.origin(), close(&guest, file));
    origin.tenure += 1;
    let refused = shards.propose_behind(Some(origin), asked).await;
    assert_eq!(refused, Some(Ok(Outcome::Refused(Refusal::Superseded))));
    let held = shards.enter(vec![file.0]).await.unwrap();
    shards.falter(held.reign());
    let origin = guest.origin();
    let refused = shards.propose_behind(Some(origin), close(&guest, file)).await;
    assert_eq!(refused, Some(Err(ProposeError::NotLeader { leader: None })));
    shards.stop().await;
}
