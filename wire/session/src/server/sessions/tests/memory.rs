//! What sessions take of the memory, and which of them leave it.

use super::*;

/// Fills each slot's kept reply of a session.
fn keep_replies(sessions: &mut Sessions, session: SessionId, slots: u32, bytes: usize) {
    for slotid in 0..slots {
        let args =
            sequence::Args { session, sequenceid: 1, slotid, highest_slotid: slotid, cache_this: true };
        let arrival =
            Arrival { connection: HOME, record_bytes: 200, op_count: 3, minor_version: 1, fingerprint: 5 };
        let Verdict::Execute(admitted) = sessions.sequence(&args, &arrival, 0) else { return };
        sessions.complete(admitted.token, Some(Bytes::from(vec![0; bytes])));
    }
}

/// A flood of sessions, with or without replies that are kept, costs its own client its sessions,
/// and no other client slots or replies.
#[test]
fn a_client_beyond_its_share_loses_its_own_sessions() {
    let mut sessions = Sessions::new(LEASE_MS);
    let honest = create(&mut sessions, &create_args(CLIENT, 1), 1, HOME).unwrap();
    keep_replies(&mut sessions, honest.session, 8, 4000);
    let mut newest = None;
    for sequence in 1..=u32::try_from(SESSIONS_PER_CLIENT_MAX).unwrap() {
        let mut args = create_args(12, sequence);
        args.fore = attrs(1 << 20, SLOTS_MAX);
        let made = create(&mut sessions, &args, 1, ROGUE).unwrap();
        assert_eq!(made.fore.requests_max, SLOTS_MAX);
        keep_replies(&mut sessions, made.session, SLOTS_MAX, 8000);
        assert!(sessions.shares.of(12) <= SESSIONS_BYTES_PER_CLIENT_MAX);
        newest = Some(made.session);
    }
    let here = sessions.sessions_of(12).count();
    assert!((2..10).contains(&here), "{here} of its sessions are here");
    assert!(sessions.session(newest.unwrap()).is_some(), "the oldest went");
    assert_eq!(sessions.sessions_of(CLIENT).count(), 1);
    let again = sequence::Args {
        session: honest.session,
        sequenceid: 1,
        slotid: 0,
        highest_slotid: 0,
        cache_this: true,
    };
    let arrival =
        Arrival { connection: HOME, record_bytes: 200, op_count: 3, minor_version: 1, fingerprint: 5 };
    assert!(matches!(sessions.sequence(&again, &arrival, 0), Verdict::Replay(_)), "its reply is here");
    check(&sessions);
}

/// However many clients there are, all sessions together keep within the bound; those that take
/// most give way.
#[test]
fn all_together_keep_within_memory() {
    let mut sessions = Sessions { bytes_max: 4 << 20, ..Sessions::new(LEASE_MS) };
    let honest = create(&mut sessions, &create_args(1, 1), 1, HOME).unwrap();
    let session_bytes = sessions.memory_bytes();
    for client in 2..200 {
        for sequence in 1..=8 {
            let mut args = create_args(client, sequence);
            args.fore = attrs(1 << 20, SLOTS_MAX);
            create(&mut sessions, &args, 1, ROGUE).unwrap();
        }
        assert!(sessions.memory_bytes() <= 4 << 20);
    }
    assert!(4 << 20 < sessions.memory_bytes() + (64 << 10), "it was full");
    assert!(sessions.session(honest.session).is_some());
    assert_eq!(sessions.shares.of(1), session_bytes);
}

/// A request whose session left the memory is judged by what the replicated state knows.
#[test]
fn a_session_that_left_is_resumed() {
    let mut sessions = Sessions::new(LEASE_MS);
    let mut args = create_args(CLIENT, 1);
    args.fore = attrs(1 << 20, SLOTS_MAX);
    let first = create(&mut sessions, &args, 1, HOME).unwrap();
    keep_replies(&mut sessions, first.session, SLOTS_MAX, 8000);
    for sequence in 2..12 {
        args.sequence = sequence;
        let made = create(&mut sessions, &args, 1, HOME).unwrap();
        keep_replies(&mut sessions, made.session, SLOTS_MAX, 8000);
    }
    let again = sequence::Args {
        session: first.session,
        sequenceid: 1,
        slotid: 0,
        highest_slotid: 0,
        cache_this: true,
    };
    let arrival =
        Arrival { connection: HOME, record_bytes: 200, op_count: 3, minor_version: 1, fingerprint: 5 };
    assert_eq!(sessions.sequence(&again, &arrival, 0), Verdict::Unknown);
    args.sequence = 1;
    let record = SessionRecord::new(&args, &negotiate(&args).unwrap(), 1, 7);
    let seen = [SlotSeen { slot: 0, sequence: 1, fingerprint: 5 }];
    sessions.put(&record, 2, Past::Elsewhere(&seen), 0).unwrap();
    let verdict = sessions.sequence(&again, &arrival, 0);
    assert!(
        matches!(verdict, Verdict::Execute(Admitted { again: true, .. })),
        "what is recorded stands: {verdict:?}"
    );
}
