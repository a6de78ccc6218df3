//! Tests of the session table, under a clock of their own.

use proptest::prelude::*;
use wire_nfs::v4::{
    callback_sec::{AuthSys, CallbackSec},
    ops::create_session::{self, ChannelAttrs, flags},
};

use super::*;
use crate::{
    limits::{RPC_REPLY_HEADER_BYTES, SLOTS_MAX},
    server::channel::negotiate,
};

mod memory;

const CLIENT: u64 = 11;
const LEASE_MS: u64 = 90_000;
const HOME: ConnectionId = ConnectionId(1);
const ROGUE: ConnectionId = ConnectionId(2);
const REPLY: Bytes = Bytes::from_static(b"reply");

fn attrs(bytes: u32, slots: u32) -> ChannelAttrs {
    ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: bytes,
        response_bytes_max: bytes,
        response_cached_bytes_max: bytes,
        operations_max: 8,
        requests_max: slots,
        rdma_ird: Vec::new(),
    }
}

fn create_args(client: u64, sequence: u32) -> create_session::Args {
    create_session::Args {
        clientid: client,
        sequence,
        flags: flags::PERSIST | flags::CONN_BACK_CHAN,
        fore: attrs(4096, 8),
        back: attrs(4096, 4),
        cb_program: 0x4000_0000,
        sec_parms: vec![CallbackSec::Sys(AuthSys::default())],
    }
}

/// Makes a session as the front does when the replicated state has made it.
fn create(
    sessions: &mut Sessions,
    args: &create_session::Args,
    minor_version: u32,
    connection: ConnectionId,
) -> Result<create_session::ResOk, CreateError> {
    let negotiated = negotiate(args).unwrap();
    let record = SessionRecord::new(args, &negotiated, minor_version, 7);
    sessions.put(&record, 1, Past::None, 0)?;
    sessions.bind_creator(record.session(), connection, record.back_wanted);
    Ok(record.created())
}

fn destroy(
    sessions: &mut Sessions,
    session: SessionId,
    connection: ConnectionId,
) -> Result<(), DestroyError> {
    sessions.may_destroy(session, connection)?;
    sessions.end(session);
    Ok(())
}

/// A table with one session, and requests to it.
struct Bench {
    sessions: Sessions,
    session: SessionId,
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(&create_args(CLIENT, 1))
    }

    fn with(args: &create_session::Args) -> Self {
        let mut sessions = Sessions::new(LEASE_MS);
        let made = create(&mut sessions, args, 2, HOME).unwrap();
        Self { sessions, session: made.session, now_ms: 0 }
    }

    fn args(&self, slotid: u32, sequenceid: u32) -> sequence::Args {
        sequence::Args { session: self.session, sequenceid, slotid, highest_slotid: slotid, cache_this: true }
    }

    fn send_over(&mut self, args: &sequence::Args, connection: ConnectionId) -> Verdict {
        let arrival =
            Arrival { connection, record_bytes: 200, op_count: 3, minor_version: 2, fingerprint: 5 };
        self.sessions.sequence(args, &arrival, self.now_ms)
    }

    fn send(&mut self, slot: u32, sequence: u32) -> Verdict {
        self.send_over(&self.args(slot, sequence), HOME)
    }

    fn admit(&mut self, slot: u32, sequence: u32) -> Admitted {
        match self.send(slot, sequence) {
            Verdict::Execute(admitted) => admitted,
            other => panic!("not admitted: {other:?}"),
        }
    }

    fn flags(&mut self) -> u32 {
        let sequence = self.sessions.session(self.session).unwrap().slots[7].sequence() + 1;
        let admitted = self.admit(7, sequence);
        self.sessions.complete(admitted.token, None);
        admitted.result.status_flags
    }
}

fn rejected(status: Nfsstat4) -> Verdict {
    Verdict::Reject(status)
}

/// Origin: pynfs SEQ1, SEQ9a, SEQ9f, SEQ12.
#[test]
fn a_request_and_its_retry() {
    let mut bench = Bench::new();
    let admitted = bench.admit(2, 1);
    assert_eq!(
        admitted.result,
        sequence::ResOk {
            session: bench.session,
            sequenceid: 1,
            slotid: 2,
            highest_slotid: 7,
            target_highest_slotid: 7,
            status_flags: 0
        }
    );
    assert!(admitted.cache);
    assert_eq!(bench.send(2, 1), rejected(Nfsstat4::Delay));
    bench.sessions.complete(admitted.token, Some(REPLY));
    assert_eq!(bench.send(2, 1), Verdict::Replay(REPLY));
    assert_eq!(bench.send(2, 3), rejected(Nfsstat4::SeqMisordered));
    bench.admit(2, 2);
}

/// Origin: pynfs SEQ5, SEQ8.
#[test]
fn unknown_sessions_and_slots() {
    let mut bench = Bench::new();
    let unknown = sequence::Args { session: SessionId([9; 16]), ..bench.args(0, 1) };
    assert_eq!(bench.send_over(&unknown, HOME), Verdict::Unknown);
    assert_eq!(bench.send(8, 1), rejected(Nfsstat4::Badslot));
    let high = sequence::Args { highest_slotid: 8, ..bench.args(0, 1) };
    assert_eq!(bench.send_over(&high, HOME), rejected(Nfsstat4::BadHighSlot));
    // No slot has moved.
    bench.admit(0, 1);
}

/// Origin: pynfs SEQ6, SEQ7. The slot stays as it is, so the next request has the same sequence.
#[test]
fn requests_above_the_bounds() {
    let mut bench = Bench::new();
    let fits =
        Arrival { connection: HOME, record_bytes: 4096, op_count: 8, minor_version: 2, fingerprint: 5 };
    let args = bench.args(0, 1);
    let ops = Arrival { op_count: 9, ..fits };
    let minor = Arrival { minor_version: 1, ..fits };
    assert_eq!(bench.sessions.sequence(&args, &minor, 0), rejected(Nfsstat4::MinorVersMismatch));
    assert_eq!(bench.sessions.sequence(&args, &ops, 0), rejected(Nfsstat4::TooManyOps));
    let bytes = Arrival { record_bytes: 4097, ..fits };
    assert_eq!(bench.sessions.sequence(&args, &bytes, 0), rejected(Nfsstat4::ReqTooBig));
    assert!(matches!(bench.sessions.sequence(&args, &fits, 0), Verdict::Execute(_)));
}

/// Origin: pynfs CSESS26, CSESS27. Spec: RFC 8881 §2.10.6.4.
#[test]
fn bounds_of_replies() {
    let mut args = create_args(CLIENT, 1);
    args.fore.response_cached_bytes_max = 600;
    let mut bench = Bench::with(&args);
    let kept = bench.admit(0, 1);
    assert_eq!(kept.reply_bytes_max, 600 - RPC_REPLY_HEADER_BYTES as usize);
    assert_eq!(kept.reply_overflow, Nfsstat4::RepTooBigToCache);
    let uncached = sequence::Args { cache_this: false, ..bench.args(1, 1) };
    let Verdict::Execute(sent) = bench.send_over(&uncached, HOME) else { panic!("admitted") };
    assert_eq!(sent.reply_bytes_max, 4096 - RPC_REPLY_HEADER_BYTES as usize);
    assert_eq!(sent.reply_overflow, Nfsstat4::RepTooBig);

    args.fore.response_cached_bytes_max = 10;
    let mut bench = Bench::with(&args);
    assert_eq!(bench.send(0, 1), rejected(Nfsstat4::RepTooBigToCache));
    let uncached = sequence::Args { cache_this: false, ..bench.args(0, 1) };
    assert!(matches!(bench.send_over(&uncached, HOME), Verdict::Execute(_)));
}

/// Origin: pynfs SEQ10b.
#[test]
fn replies_that_are_not_kept() {
    let mut bench = Bench::new();
    let admitted = bench.admit(0, 1);
    bench.sessions.complete(admitted.token, None);
    assert_eq!(bench.send(0, 1), rejected(Nfsstat4::RetryUncachedRep));
    let admitted = bench.admit(0, 2);
    bench.sessions.complete(admitted.token, Some(Bytes::from(vec![0; 4096])));
    assert_eq!(bench.send(0, 2), rejected(Nfsstat4::RetryUncachedRep));
}

/// Origin: pynfs SEQ4. Spec: RFC 8881 §2.10.3.1.
#[test]
fn sequence_binds_its_connection() {
    let mut bench = Bench::new();
    let args = bench.args(0, 1);
    assert!(matches!(bench.send_over(&args, ROGUE), Verdict::Execute(_)));
    assert_eq!(bench.sessions.session(bench.session).unwrap().connections(), [HOME, ROGUE]);
    // One that is refused binds nothing.
    let refused = bench.args(0, 77);
    bench.send_over(&refused, ConnectionId(3));
    assert_eq!(bench.sessions.session(bench.session).unwrap().connections().len(), 2);
}

/// Origin: pynfs DSESS9001. Spec: RFC 8881 §18.37.3.
#[test]
fn a_session_is_ended_over_a_connection_of_its_own() {
    let mut bench = Bench::new();
    assert_eq!(destroy(&mut bench.sessions, bench.session, ROGUE), Err(DestroyError::NotBound));
    assert_eq!(DestroyError::NotBound.status(), Nfsstat4::ConnNotBoundToSession);
    let args = bench.args(0, 1);
    bench.send_over(&args, ROGUE);
    assert_eq!(destroy(&mut bench.sessions, bench.session, ROGUE), Ok(()));
    // Whether there is such a session is for the state to say.
    assert_eq!(destroy(&mut bench.sessions, bench.session, ROGUE), Ok(()));
    assert_eq!(bench.send(0, 1), Verdict::Unknown);
    assert!(bench.sessions.is_empty());
    assert_eq!(bench.sessions.memory_bytes(), 0);
}

#[test]
fn a_session_without_connections_is_ended_over_any() {
    let mut bench = Bench::new();
    bench.sessions.connection_closed(HOME);
    assert_eq!(destroy(&mut bench.sessions, bench.session, ROGUE), Ok(()));
}

#[test]
fn a_request_may_outlive_its_session() {
    let mut bench = Bench::new();
    let admitted = bench.admit(0, 1);
    destroy(&mut bench.sessions, bench.session, HOME).unwrap();
    bench.sessions.complete(admitted.token, Some(REPLY));
    assert_eq!(bench.sessions.expired(LEASE_MS + 1), [CLIENT]);
    let mut bench = Bench::new();
    let admitted = bench.admit(0, 1);
    bench.sessions.drop_client(CLIENT);
    bench.sessions.complete(admitted.token, Some(REPLY));
    assert!(bench.sessions.is_empty());
}

/// Origin: pynfs CSESS5, CSESS24.
#[test]
fn create_session_again_is_answered_as_before() {
    let mut bench = Bench::new();
    let admitted = bench.admit(0, 1);
    let args = create_args(CLIENT, 1);
    let again = create(&mut bench.sessions, &args, 2, ROGUE).unwrap();
    assert_eq!((again.session, again.sequence), (bench.session, 1));
    assert_eq!(again.flags, flags::CONN_BACK_CHAN, "a reply cache of ours does not outlive the server");
    assert_eq!(bench.sessions.len(), 1);
    bench.sessions.complete(admitted.token, Some(REPLY));
    assert_eq!(bench.send(0, 1), Verdict::Replay(REPLY), "its slots are as they were");
}

/// Origin: pynfs CSESS2.
#[test]
fn a_client_may_have_many_sessions_but_not_any_number() {
    let mut bench = Bench::new();
    for sequence in 2..=u32::try_from(SESSIONS_PER_CLIENT_MAX).unwrap() {
        let args = create_args(CLIENT, sequence);
        create(&mut bench.sessions, &args, 1, HOME).unwrap();
    }
    let args = create_args(CLIENT, 1000);
    let refused = create(&mut bench.sessions, &args, 1, HOME);
    assert_eq!(refused, Err(CreateError::Full));
    assert_eq!(bench.sessions.sessions_of(CLIENT).count(), SESSIONS_PER_CLIENT_MAX);
    let other = create_args(12, 1);
    assert!(create(&mut bench.sessions, &other, 1, HOME).is_ok());
}

/// The old incarnation's sessions go when the front drops it, and no others. Origin: pynfs EID5f.
#[test]
fn a_restarted_client_loses_its_old_sessions() {
    let mut bench = Bench::new();
    let args = create_args(12, 1);
    let new = create(&mut bench.sessions, &args, 2, HOME).unwrap();
    bench.sessions.drop_client(CLIENT);
    assert_eq!(bench.send(0, 1), Verdict::Unknown);
    bench.session = new.session;
    bench.admit(0, 1);
    assert_eq!(bench.sessions.expired(u64::MAX), [], "12 is busy, 11 is gone");
}

#[test]
fn leases_are_renewed_by_sequence() {
    let mut bench = Bench::new();
    bench.now_ms = 60_000;
    let admitted = bench.admit(0, 1);
    assert_eq!(bench.sessions.expired(LEASE_MS + 60_001), [], "its request is running");
    bench.sessions.complete(admitted.token, Some(REPLY));
    assert_eq!(bench.sessions.expired(LEASE_MS + 60_000), []);
    assert_eq!(bench.sessions.expired(LEASE_MS + 60_001), [CLIENT]);
    bench.now_ms = 150_000;
    assert_eq!(bench.send(0, 1), Verdict::Replay(REPLY));
    assert_eq!(bench.sessions.expired(LEASE_MS + 60_001), []);
    // A request that is refused proves nothing about the client.
    bench.now_ms = 500_000;
    bench.send(0, 9);
    assert_eq!(bench.sessions.expired(LEASE_MS + 150_001), [CLIENT]);
}

/// QUIRK(linux): it binds again until both channels are given.
#[test]
fn binding_gives_both_channels() {
    let mut bench = Bench::new();
    let mut bind = |direction, session| {
        let args = bind_conn_to_session::Args { session, direction, rdma_mode: true };
        bench.sessions.bind(&args, ROGUE, 5).map(|bound| (bound.direction, bound.rdma_mode))
    };
    let session = bench.session;
    assert_eq!(bind(DirectionAsked::ForeOrBoth, session), Ok((DirectionGranted::Both, false)));
    assert_eq!(bind(DirectionAsked::BackOrBoth, session), Ok((DirectionGranted::Both, false)));
    assert_eq!(bind(DirectionAsked::Fore, session), Ok((DirectionGranted::Fore, false)));
    assert_eq!(bind(DirectionAsked::Back, session), Ok((DirectionGranted::Back, false)));
    assert_eq!(bind(DirectionAsked::Fore, SessionId([0; 16])), Err(Nfsstat4::Badsession));
    assert_eq!(bench.sessions.expired(LEASE_MS + 5), []);
}

#[test]
fn a_lost_path_is_told_and_bound_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.flags(), 0);
    bench.sessions.connection_closed(HOME);
    assert!(!bench.sessions.has_path(CLIENT));
    let down = status_flags::CB_PATH_DOWN | status_flags::CB_PATH_DOWN_SESSION;
    assert_eq!(bench.flags(), down);
    // Another session of the client with a path: only this session's is down.
    let args = create_args(CLIENT, 2);
    create(&mut bench.sessions, &args, 2, ROGUE).unwrap();
    assert_eq!(bench.flags(), status_flags::CB_PATH_DOWN_SESSION);
    let bind = bind_conn_to_session::Args {
        session: bench.session,
        direction: DirectionAsked::ForeOrBoth,
        rdma_mode: false,
    };
    bench.sessions.bind(&bind, HOME, 0).unwrap();
    assert_eq!(bench.flags(), 0);
}

#[test]
fn who_never_wanted_callbacks_is_not_nagged() {
    let mut args = create_args(CLIENT, 1);
    args.flags = 0;
    let mut bench = Bench::with(&args);
    assert_eq!(bench.flags(), 0);
    assert_eq!(bench.sessions.begin_callback(CLIENT), None);
}

#[test]
fn flags_stay_until_lowered() {
    let mut bench = Bench::new();
    bench.sessions.raise_flags(CLIENT, status_flags::RECALLABLE_STATE_REVOKED);
    assert_eq!(bench.flags(), status_flags::RECALLABLE_STATE_REVOKED);
    assert_eq!(bench.flags(), status_flags::RECALLABLE_STATE_REVOKED);
    bench.sessions.lower_flags(CLIENT, status_flags::RECALLABLE_STATE_REVOKED);
    assert_eq!(bench.flags(), 0);
    bench.sessions.raise_flags(99, 1);
}

#[test]
fn callbacks_go_over_the_newest_session_with_a_path() {
    let mut bench = Bench::new();
    let args = create_args(CLIENT, 2);
    let newer = create(&mut bench.sessions, &args, 1, ROGUE).unwrap().session;
    let call = bench.sessions.begin_callback(CLIENT).unwrap();
    assert_eq!((call.sequence.session, call.connection, call.minor_version), (newer, ROGUE, 1));
    assert_eq!(
        bench.sessions.finish_callback(call.token, CallbackOutcome::Answered(Nfsstat4::Ok)),
        CallbackVerdict::Answered(Nfsstat4::Ok)
    );
    bench.sessions.connection_closed(ROGUE);
    let call = bench.sessions.begin_callback(CLIENT).unwrap();
    assert_eq!((call.sequence.session, call.connection), (bench.session, HOME));
    destroy(&mut bench.sessions, bench.session, HOME).unwrap();
    assert_eq!(bench.sessions.finish_callback(call.token, CallbackOutcome::Lost), CallbackVerdict::Again);
    assert_eq!(bench.sessions.begin_callback(CLIENT), None);
}

#[derive(Clone, Debug)]
enum Act {
    Create { client: u64, connection: u64, back: bool },
    Destroy { session: usize, connection: u64 },
    Drop { client: u64 },
    Close { connection: u64 },
    Request { session: usize, slot: u32, ahead: u32, connection: u64 },
    Complete { running: usize },
    Callback { client: u64 },
    CallbackEnd { call: usize, outcome: CallbackOutcome },
}

fn any_act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![
        Just(CallbackOutcome::Answered(Nfsstat4::Ok)),
        Just(CallbackOutcome::Lost),
        Just(CallbackOutcome::Sequence(Nfsstat4::Delay)),
        Just(CallbackOutcome::Sequence(Nfsstat4::Badsession)),
    ];
    prop_oneof![
        2 => (0..3u64, 0..4u64, any::<bool>())
            .prop_map(|(client, connection, back)| Act::Create { client, connection, back }),
        1 => (0..8usize, 0..4u64).prop_map(|(session, connection)| Act::Destroy { session, connection }),
        1 => (0..3u64).prop_map(|client| Act::Drop { client }),
        1 => (0..4u64).prop_map(|connection| Act::Close { connection }),
        8 => (0..8usize, 0..4u32, 0..3u32, 0..4u64)
            .prop_map(|(session, slot, ahead, connection)| Act::Request { session, slot, ahead, connection }),
        5 => (0..8usize).prop_map(|running| Act::Complete { running }),
        2 => (0..3u64).prop_map(|client| Act::Callback { client }),
        2 => (0..8usize, outcome).prop_map(|(call, outcome)| Act::CallbackEnd { call, outcome }),
    ]
}

fn take_at<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
    let at = at.checked_rem(list.len())?;
    Some(list.swap_remove(at))
}

/// What the table says of itself fits together.
fn check(sessions: &Sessions) {
    let mut counted = 0;
    for (id, session) in &sessions.sessions {
        let client = &sessions.clients[&session.client()];
        assert!(client.sessions.contains(id));
        counted += session.bytes();
        for connection in session.connections().iter().chain(session.backchannel().connections()) {
            assert!(sessions.bound[connection].contains(id), "a closed connection would not be found");
        }
    }
    assert_eq!(counted, sessions.memory_bytes());
    for (id, client) in &sessions.clients {
        assert_eq!(sessions.shares.of(*id), sessions.sessions_of(*id).map(Session::bytes).sum::<u64>());
        let found: Vec<_> = client.sessions.iter().map(|id| &sessions.sessions[id]).collect();
        assert_eq!(client.running, found.iter().map(|session| session.running()).sum::<usize>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any order of everything leaves the table in order, and every request is executed once at
    /// most.
    #[test]
    fn the_table_stays_in_order(acts in proptest::collection::vec(any_act(), 1..120)) {
        let mut sessions = Sessions::new(LEASE_MS);
        let mut ids = Vec::new();
        let mut running = Vec::new();
        let mut calls = Vec::new();
        let mut executed = std::collections::BTreeSet::new();
        for (at, act) in acts.into_iter().enumerate() {
            match act {
                Act::Create { client, connection, back } => {
                    let mut args = create_args(client, u32::try_from(at).unwrap());
                    args.flags = if back { flags::CONN_BACK_CHAN } else { 0 };
                    args.fore.requests_max = 4;
                    let connection = ConnectionId(connection);
                    if let Ok(made) = create(&mut sessions, &args, 1, connection) {
                        ids.push(made.session);
                    }
                }
                Act::Destroy { session, connection } => {
                    if let Some(id) = session.checked_rem(ids.len()).map(|at| ids[at]) {
                        let known = sessions.session(id).is_some();
                        let ended = destroy(&mut sessions, id, ConnectionId(connection));
                        prop_assert!(known || ended.is_ok());
                    }
                }
                Act::Drop { client } => sessions.drop_client(client),
                Act::Close { connection } => sessions.connection_closed(ConnectionId(connection)),
                Act::Request { session, slot, ahead, connection } => {
                    let Some(session) = session.checked_rem(ids.len()).map(|at| ids[at]) else { continue };
                    let last = sessions.session(session).map_or(0, |found| found.slots[slot as usize].sequence());
                    let args = sequence::Args {
                        session, sequenceid: last + ahead, slotid: slot, highest_slotid: slot, cache_this: true,
                    };
                    let connection = ConnectionId(connection);
                    let arrival = Arrival { connection, record_bytes: 200, op_count: 1, minor_version: 2, fingerprint: 1 };
                    match sessions.sequence(&args, &arrival, 0) {
                        Verdict::Execute(admitted) => {
                            prop_assert!(executed.insert((session.0, slot, args.sequenceid)));
                            running.push(admitted.token);
                        }
                        Verdict::Replay(reply) => prop_assert_eq!(&reply[..4], &args.sequenceid.to_be_bytes()[..]),
                        Verdict::Reject(_) | Verdict::Unknown => {}
                    }
                }
                Act::Complete { running: at } => {
                    if let Some(token) = take_at(&mut running, at) {
                        sessions.complete(token, Some(Bytes::from(token.sequence.to_be_bytes().to_vec())));
                    }
                }
                Act::Callback { client } => calls.extend(sessions.begin_callback(client)),
                Act::CallbackEnd { call, outcome } => {
                    if let Some(call) = take_at(&mut calls, call) {
                        sessions.finish_callback(call.token, outcome);
                    }
                }
            }
            check(&sessions);
        }
    }
}
