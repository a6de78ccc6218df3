//! Sessions that end, or move to another node, while they are resumed, or are unavailable.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use env::Env;
use env::memory::ManualClock;
use futures_util::future::join_all;
use futures_util::poll;
use mds_raft::ProposeError;
use mds_state::command::session::DestroySession;
use prometheus_client::registry::Registry;
use wire_nfs::control::ClusterKey;

use super::*;
use crate::client_end;
use crate::cluster_exports::SetError;
use crate::driver::{MdsConfig, make};
use crate::export::Export;
use crate::limits::RESUME_WAIT_MS_MAX;
use crate::server::Settings;
use crate::shards::tests::first_shard;
use crate::shards::tests::guest::{Guest, guest};

/// A server on which only the shards run, with a clock of its own.
pub(crate) async fn server(dir: &Path) -> (Arc<Server>, ManualClock) {
    let (server, clock) = server_without_exports(dir).await;
    server.begin_to_export().await.unwrap();
    (server, clock)
}

/// As [`server`], of a cluster without exports.
async fn server_without_exports(dir: &Path) -> (Arc<Server>, ManualClock) {
    let (env, shard) = first_shard(dir).await;
    let config = MdsConfig {
        dir: dir.to_owned(),
        listen: SocketAddr::from(([192, 0, 2, 1], 2049)),
        control: SocketAddr::from(([192, 0, 2, 1], 2050)),
        exports: vec![Export::any_port()],
        settings: Settings::default(),
        cluster_keys: ClusterKey::new([3; 32]).into(),
        node: 1,
        members: Vec::new(),
        join: Vec::new(),
        controls: Vec::new(),
        service: None,
    };
    let clock = ManualClock::new(0);
    let env = Env { clock: Arc::new(clock.clone()), ..env };
    let server = make(env, shard, &config, &mut Registry::default()).unwrap();
    server.shards.govern().await.unwrap();
    (Arc::new(server), clock)
}

fn tenure(server: &Server, guest: &Guest) -> Option<u32> {
    server.view().unwrap().session(&guest.session).unwrap().map(|session| session.tenure)
}

/// Returns when a session was resumed so often, as far as the log is concerned.
async fn until_tenure(server: &Server, guest: &Guest, number: u32) {
    while tenure(server, guest) != Some(number) {
        tokio::task::yield_now().await;
    }
}

/// Begins to resume a session. Dropping the returned future completes it: until then a command of
/// an earlier tenure is under way.
async fn half_resumed(
    server: &Arc<Server>,
    guest: &mut Guest,
) -> (tokio::task::JoinHandle<Result<(), Nfsstat4>>, impl Drop + use<>) {
    let held_up = server.shards.hold_up(&guest.origin());
    let (taker, session) = (Arc::clone(server), SessionId(guest.session));
    let taking = tokio::spawn(async move { taker.hold_session(session).await });
    until_tenure(server, guest, 2).await;
    assert!(!server.front.has(session));
    (taking, held_up)
}

/// A node that cannot map a handle to an export serves no client.
#[tokio::test]
async fn a_cluster_has_exports_before_a_session_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _clock) = server_without_exports(dir.path()).await;
    assert_eq!(server.exports().version(), 0);
    let guest = guest(&server.shards, "one").await;
    assert_eq!(server.hold_session(SessionId(guest.session)).await, Ok(()));
    assert_eq!(server.exports().version(), 1);
    server.shards.stop().await;
}

/// A node that cannot create exported directories does not set the list, though shard 0 would
/// accept it.
#[tokio::test]
async fn a_node_that_governs_no_more_sets_no_exports() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _clock) = server(dir.path()).await;
    let exports = [Export { path: "/made/here".to_owned(), ..Export::everything() }];
    server.shards.falter_now();
    let set = server.set_exports(None, &exports).await;
    assert!(matches!(set, Err(SetError::Propose(ProposeError::NotLeader { .. }))), "{set:?}");
    assert_eq!(server.exports().version(), 1);
    server.shards.govern().await.unwrap();
    assert_eq!(server.set_exports(None, &exports).await.unwrap(), 2);
    server.shards.stop().await;
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_resumed_is_not_held() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _clock) = server(dir.path()).await;
    let mut guest = guest(&server.shards, "one").await;
    let session = SessionId(guest.session);
    let (taking, held_up) = half_resumed(&server, &mut guest).await;
    let destroy = Command::DestroySession(DestroySession { session: session.0 });
    assert_eq!(server.propose(destroy).await, Ok(Outcome::Done));
    server.front.sessions.lock().end(session);
    drop(held_up);
    assert_eq!(taking.await.unwrap(), Err(Nfsstat4::Badsession));
    assert!(!server.front.has(session));
    server.shards.stop().await;
}

/// Nor does its lease restart.
#[tokio::test]
async fn a_session_whose_client_ends_while_it_is_resumed_is_not_held() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _clock) = server(dir.path()).await;
    let mut guest = guest(&server.shards, "one").await;
    let (taking, held_up) = half_resumed(&server, &mut guest).await;
    client_end::expire(&server, guest.client).await;
    assert_eq!(tenure(&server, &guest), None);
    drop(held_up);
    assert_eq!(taking.await.unwrap(), Err(Nfsstat4::Badsession));
    assert!(!server.front.has(SessionId(guest.session)));
    assert!(server.front.sessions.lock().expired(u64::MAX).is_empty());
    server.shards.stop().await;
}

/// As when this node led, did not, and leads again by the time it puts the session into memory.
#[tokio::test]
async fn a_session_that_goes_elsewhere_while_it_is_resumed_is_not_held() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _clock) = server(dir.path()).await;
    let mut guest = guest(&server.shards, "one").await;
    let session = SessionId(guest.session);
    let (taking, held_up) = half_resumed(&server, &mut guest).await;
    let other = Arc::clone(&server);
    let again = Command::TakeUpSession(TakeUpSession { session: session.0 });
    let again = tokio::spawn(async move { other.propose(again).await });
    until_tenure(&server, &guest, 3).await;
    drop(held_up);
    assert_eq!(taking.await.unwrap(), Err(Nfsstat4::Delay));
    assert!(!server.front.has(session));
    assert!(matches!(again.await.unwrap(), Ok(Outcome::SessionTakenUp(_))));
    // The next request resumes it.
    assert_eq!(server.hold_session(session).await, Ok(()));
    assert_eq!(server.front.sessions.lock().session(session).map(Session::tenure), Some(4));
    server.shards.stop().await;
}

/// A new session may be over as well by the time it is put into memory; and a session resumed
/// meanwhile stays.
#[tokio::test]
async fn a_session_that_was_made_is_held_in_the_tenure_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _clock) = server(dir.path()).await;
    let guest = guest(&server.shards, "one").await;
    let session = SessionId(guest.session);
    let record = server.view().unwrap().session(&guest.session).unwrap().unwrap().record;
    assert_eq!(server.hold_session(session).await, Ok(()));
    assert_eq!(server.put_session(&record, 1, Past::None), Ok(()));
    assert_eq!(server.front.sessions.lock().session(session).map(Session::tenure), Some(2));
    let destroy = Command::DestroySession(DestroySession { session: session.0 });
    assert_eq!(server.propose(destroy).await, Ok(Outcome::Done));
    server.front.sessions.lock().end(session);
    assert_eq!(server.put_session(&record, 1, Past::None), Err(Nfsstat4::Badsession));
    assert!(!server.front.has(session));
    server.shards.stop().await;
}

/// A client has many requests in a session. While it is unavailable, the last of them does not wait
/// for an attempt of each before it.
#[tokio::test]
async fn a_request_that_waits_for_a_delayed_attempt_is_delayed_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (server, clock) = server(dir.path()).await;
    let (mut guest, other) = (guest(&server.shards, "one").await, guest(&server.shards, "other").await);
    let session = SessionId(guest.session);
    let held_up = server.shards.hold_up(&guest.origin());
    let mut asked: Vec<_> = (0..8).map(|_| Box::pin(server.hold_session(session))).collect();
    for one in &mut asked {
        assert!(poll!(one.as_mut()).is_pending());
    }
    // A request for another session waits for none of them.
    assert_eq!(server.hold_session(SessionId(other.session)).await, Ok(()));
    let answered = join_all(asked);
    let passing = async {
        loop {
            clock.advance_ms(RESUME_WAIT_MS_MAX);
            tokio::task::yield_now().await;
        }
    };
    let answers = tokio::select! {
        answers = answered => answers,
        () = passing => unreachable!("it does not end"),
    };
    assert_eq!(answers, [Err(Nfsstat4::Delay); 8]);
    assert_eq!(tenure(&server, &guest), Some(2), "one of them tried");
    // A later request tries again.
    let (held, ()) = tokio::join!(server.hold_session(session), async { drop(held_up) });
    assert_eq!(held, Ok(()));
    assert_eq!(tenure(&server, &guest), Some(3));
    server.shards.stop().await;
}

/// A session that is over, or held, is no other request's answer: each checks for itself, which
/// takes no time.
#[tokio::test]
async fn a_request_that_waits_for_a_settled_attempt_checks_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _clock) = server(dir.path()).await;
    let guest = guest(&server.shards, "one").await;
    let session = SessionId(guest.session);
    let held = join_all((0..8).map(|_| server.hold_session(session))).await;
    assert_eq!(held, [Ok(()); 8]);
    assert_eq!(tenure(&server, &guest), Some(2), "one of them resumed it");
    let unknown = join_all((0..8).map(|_| server.hold_session(SessionId([9; 16])))).await;
    assert_eq!(unknown, [Err(Nfsstat4::Badsession); 8]);
    server.shards.stop().await;
}
