//! Sessions in the state: made, made again, resumed, removed.

use wire_session::server::record::{CallbackCredential, ChannelBounds, SessionRecord, session_id};

use super::*;
use crate::command::client::RemoveClient;
use crate::command::session::{
    CreateSession, DestroySession, SessionCreated, SessionTakenUp, SetCallback, SlotMark, TakeUpSession,
};
use crate::limits::SESSIONS_PER_CLIENT_MAX;

pub(super) fn record(client: u64, sequence: u32, random: u32) -> SessionRecord {
    let bounds = ChannelBounds {
        request_bytes_max: 4096,
        response_bytes_max: 4096,
        response_cached_bytes_max: 4096,
        operations_max: 8,
        requests_max: 8,
    };
    SessionRecord {
        id: session_id(client, sequence, random),
        client,
        sequence,
        minor_version: 2,
        fore: bounds,
        back: bounds,
        back_wanted: true,
        program: 0x4000_0000,
        credential: Some(CallbackCredential::None),
    }
}

fn create(record: SessionRecord) -> Command {
    Command::CreateSession(CreateSession { record, principal: b"principal".to_vec() })
}

pub(super) fn resume(session: [u8; 16]) -> Command {
    Command::TakeUpSession(TakeUpSession { session })
}

fn created(outcome: Outcome) -> SessionCreated {
    match outcome {
        Outcome::SessionCreated(created) => *created,
        outcome => panic!("{outcome:?}"),
    }
}

fn resumed(outcome: Outcome) -> SessionTakenUp {
    match outcome {
        Outcome::SessionTakenUp(taken) => *taken,
        outcome => panic!("{outcome:?}"),
    }
}

impl Stage {
    /// A session of this client, which is confirmed with `client`.
    pub(super) fn session(&mut self, client: u64) -> [u8; 16] {
        created(self.run(create(record(client, 2, 7)))).record.id
    }

    /// Names a request in the session's first tenure.
    pub(super) fn origin(session: [u8; 16], slot: u32, sequence: u32) -> Origin {
        Origin { session, slot, sequence, operation: 1, request: u64::from(sequence), tenure: 1 }
    }
}

/// Spec: RFC 8881 §18.36.4: CREATE_SESSION has a slot of its own, on whichever node.
#[test]
fn create_session_again_gives_the_same() {
    let mut stage = Stage::new();
    let Outcome::Client(known) = stage.run(exchange("a", 1)) else { panic!("a client") };
    let asked = record(known.client, known.sequence, 1);
    assert_eq!(stage.refused(create(record(known.client, known.sequence + 1, 1))), Refusal::Misordered);
    let first = created(stage.run(create(asked.clone())));
    assert_eq!((&first.record, first.tenure, first.replay, first.ended), (&asked, 1, false, None));
    assert!(stage.view().client(known.client).unwrap().unwrap().record.confirmed);
    resumed(stage.run(resume(asked.id)));
    // Another node draws another random number, and may have room for another number of slots.
    let mut elsewhere = record(known.client, known.sequence, 2);
    elsewhere.fore.requests_max = 4;
    let before = stage.dump();
    let again = created(stage.run(create(elsewhere)));
    assert_eq!((again.record, again.tenure, again.replay), (asked.clone(), 2, true));
    assert_eq!(stage.dump(), before);
    let next = created(stage.run(create(record(known.client, known.sequence + 1, 1))));
    assert_ne!(next.record.id, asked.id);
    stage.run(Command::DestroySession(DestroySession { session: next.record.id }));
    assert_eq!(stage.refused(create(next.record)), Refusal::Misordered, "it was created, used, and ended");
    assert!(stage.view().session(&asked.id).unwrap().is_some());
}

#[test]
fn a_session_is_removed_with_its_records() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let session = stage.session(client);
    let remove = |name: &str| {
        Command::Remove(Remove { caller: ROOT, directory: ROOT_INO, name: name.as_bytes().to_vec() })
    };
    let refused = Outcome::Refused(Refusal::Namespace(mds_namespace::FsError::NotFound));
    assert_eq!(stage.asked(Some(Stage::origin(session, 3, 9)), remove("x")), refused);
    let taken = resumed(stage.run(resume(session)));
    assert_eq!((taken.tenure, taken.slots), (2, vec![SlotMark { slot: 3, sequence: 9, request: 9 }]));
    // A client with a session is not idle.
    let idle = Command::RemoveClient(RemoveClient { client, only_if_idle: true });
    assert_eq!(stage.refused(idle.clone()), Refusal::ClientBusy);
    let destroy = Command::DestroySession(DestroySession { session });
    assert_eq!(stage.run(destroy.clone()), Outcome::Done);
    assert_eq!(stage.refused(destroy), Refusal::NoSuchSession);
    assert_eq!(stage.refused(resume(session)), Refusal::NoSuchSession);
    let left = stage.dump();
    assert!(left.iter().all(|(key, _)| !key.starts_with(b"state/se") && !key.starts_with(b"state/slot/")));
    assert!(matches!(stage.run(idle), Outcome::Removed(_)));
}

#[test]
fn sessions_go_with_their_client() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let session = stage.session(client);
    let other = stage.client("b");
    let kept = stage.session(other);
    stage.asked(Some(Stage::origin(session, 0, 1)), exchange("c", 1));
    stage.run(Command::RemoveClient(RemoveClient { client, only_if_idle: false }));
    assert_eq!(stage.view().session(&session).unwrap(), None);
    assert!(stage.view().session(&kept).unwrap().is_some());
    assert!(stage.dump().iter().all(|(key, _)| !key.starts_with(b"state/slot/")));
    // A client that restarted: its old sessions are removed when the new incarnation is confirmed.
    let Outcome::Client(new) = stage.run(exchange("b", 2)) else { panic!("a client") };
    let made = created(stage.run(create(record(new.client, new.sequence, 1))));
    assert_eq!(made.dropped.iter().map(|dropped| dropped.client).collect::<Vec<_>>(), [other]);
    assert_eq!(stage.view().session(&kept).unwrap(), None);
    // Another principal may not have this owner while it has a session.
    let Command::ExchangeId(mut foreign) = exchange("b", 2) else { panic!("as made") };
    foreign.principal = b"another".to_vec();
    assert_eq!(stage.refused(Command::ExchangeId(foreign)), Refusal::ClientInUse);
}

#[test]
fn one_session_too_many_ends_the_oldest() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let most = u32::try_from(SESSIONS_PER_CLIENT_MAX).unwrap();
    for sequence in 2..most + 2 {
        assert_eq!(created(stage.run(create(record(client, sequence, 1)))).ended, None);
    }
    let last = created(stage.run(create(record(client, most + 2, 1))));
    assert_eq!(last.ended, Some(session_id(client, 2, 1)));
    assert_eq!(stage.view().session(&session_id(client, 2, 1)).unwrap(), None);
    assert!(stage.view().session(&session_id(client, 3, 1)).unwrap().is_some());
}

#[test]
fn bounds_that_no_server_negotiates_are_refused() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let mut unsound = record(client, 2, 1);
    unsound.fore.requests_max = u32::MAX;
    assert_eq!(stage.refused(create(unsound)), Refusal::BadSession);
    let mut foreign = record(client, 2, 1);
    foreign.id[0] = 9;
    assert_eq!(stage.refused(create(foreign)), Refusal::BadSession);
}

/// Spec: RFC 8881 §18.33.
#[test]
fn the_callback_credential_is_kept() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let session = stage.session(client);
    let credential =
        CallbackCredential::Sys { stamp: 1, machine_name: b"m".to_vec(), uid: 2, gid: 3, gids: vec![4] };
    let set = SetCallback { session, program: 9, credential: credential.clone() };
    assert_eq!(stage.run(Command::SetCallback(set)), Outcome::Done);
    let kept = stage.view().session(&session).unwrap().unwrap().record;
    assert_eq!((kept.program, kept.credential), (9, Some(credential)));
}

/// CREATE_SESSION is refused by this count.
#[test]
fn sessions_are_counted_as_they_come_and_go() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let count = |stage: &Stage| stage.view().session_count().unwrap() as usize;
    let mut newest = [0; 16];
    for number in 1..=u32::try_from(SESSIONS_PER_CLIENT_MAX).unwrap() + 2 {
        newest = created(stage.run(create(record(client, number + 1, number)))).record.id;
        assert_eq!(count(&stage), SESSIONS_PER_CLIENT_MAX.min(number as usize));
    }
    stage.run(Command::DestroySession(DestroySession { session: newest }));
    assert_eq!(count(&stage), SESSIONS_PER_CLIENT_MAX - 1);
    stage.run(Command::RemoveClient(RemoveClient { client, only_if_idle: false }));
    assert_eq!(count(&stage), 0);
}
