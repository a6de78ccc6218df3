//! Tests of one slot, and a model of it.

use proptest::prelude::*;

use super::*;

const REPLY: Bytes = Bytes::from_static(b"reply");

fn rejected(status: Nfsstat4) -> SlotVerdict {
    SlotVerdict::Reject(status)
}

/// A retry with the same sequence gets the kept reply, byte for byte, and runs nothing.
/// Origin: pynfs SEQ9a, SEQ9b. Spec: RFC 8881 §2.10.6.1.
#[test]
fn a_retry_replays() {
    let mut slot = Slot::new();
    assert_eq!(slot.admit(1, 7), SlotVerdict::Execute);
    assert!(slot.complete(1, Some(REPLY)));
    assert_eq!(slot.admit(1, 7), SlotVerdict::Replay(REPLY));
    assert_eq!(slot.admit(1, 7), SlotVerdict::Replay(REPLY));
    assert_eq!(slot.admit(2, 9), SlotVerdict::Execute);
}

/// Origin: pynfs SEQ10b. Spec: RFC 8881 §2.10.6.1.3.
#[test]
fn a_retry_of_what_was_not_kept() {
    let mut slot = Slot::new();
    slot.admit(1, 7);
    slot.complete(1, None);
    assert_eq!(slot.admit(1, 7), rejected(Nfsstat4::RetryUncachedRep));
    assert_eq!(slot.admit(2, 7), SlotVerdict::Execute);
}

/// Spec: RFC 8881 §2.10.6.2.
#[test]
fn a_retry_of_a_running_request_gets_delay() {
    let mut slot = Slot::new();
    slot.admit(1, 7);
    assert_eq!(slot.admit(1, 7), rejected(Nfsstat4::Delay));
    assert_eq!(slot.admit(2, 8), rejected(Nfsstat4::SeqMisordered));
    slot.complete(1, Some(REPLY));
    assert_eq!(slot.admit(1, 7), SlotVerdict::Replay(REPLY));
}

/// Origin: pynfs SEQ13. Spec: RFC 8881 §18.46.3.
#[test]
fn what_is_neither_last_nor_next_is_misordered() {
    let mut slot = Slot::new();
    for wrong in [0, 2, u32::MAX] {
        assert_eq!(slot.admit(wrong, 7), rejected(Nfsstat4::SeqMisordered));
    }
    slot.admit(1, 7);
    slot.complete(1, Some(REPLY));
    for wrong in [0, 3, u32::MAX] {
        assert_eq!(slot.admit(wrong, 7), rejected(Nfsstat4::SeqMisordered));
    }
}

/// Spec: RFC 8881 §2.10.6.1.3.1.
#[test]
fn another_request_under_an_old_number() {
    let mut slot = Slot::new();
    slot.admit(1, 7);
    slot.complete(1, Some(REPLY));
    assert_eq!(slot.admit(1, 8), rejected(Nfsstat4::SeqFalseRetry));
    assert_eq!(slot.admit(1, 7), SlotVerdict::Replay(REPLY));
}

/// Spec: docs/protocol/sessions.md §3.
#[test]
fn the_first_request_after_resuming() {
    let fresh = || Slot::resumed(None);
    for sequence in [0, 1, 77, u32::MAX] {
        assert_eq!(fresh().admit(sequence, 7), SlotVerdict::Execute, "nothing is known of this slot");
    }
    let recorded = || Slot::resumed(Some((5, 7)));
    assert_eq!(recorded().admit(5, 7), SlotVerdict::Again);
    assert_eq!(recorded().admit(5, 8), rejected(Nfsstat4::SeqFalseRetry));
    assert_eq!(recorded().admit(4, 7), rejected(Nfsstat4::SeqMisordered));
    for later in [6, 9, 5 + SEQUENCE_AHEAD_MAX] {
        assert_eq!(recorded().admit(later, 7), SlotVerdict::Execute);
    }
    assert_eq!(recorded().admit(6 + SEQUENCE_AHEAD_MAX, 7), rejected(Nfsstat4::SeqMisordered));
    let round = || Slot::resumed(Some((u32::MAX, 7)));
    assert_eq!(round().admit(0, 7), SlotVerdict::Execute);
    assert_eq!(round().admit(u32::MAX - 1, 7), rejected(Nfsstat4::SeqMisordered));
    // A request that is refused leaves the slot as it was; one that is executed makes it a slot
    // like any other.
    let mut slot = recorded();
    assert_eq!(slot.admit(4, 7), rejected(Nfsstat4::SeqMisordered));
    assert!(!slot.complete(5, Some(REPLY)), "nothing of this server runs");
    assert_eq!(slot.admit(5, 7), SlotVerdict::Again);
    assert_eq!(slot.admit(5, 7), rejected(Nfsstat4::Delay));
    assert!(slot.complete(5, Some(REPLY)));
    assert_eq!(slot.admit(5, 7), SlotVerdict::Replay(REPLY));
    assert_eq!(slot.admit(6, 7), SlotVerdict::Execute);
    assert_eq!(slot.admit(7, 7), rejected(Nfsstat4::SeqMisordered), "a slot like any other");
    assert!(slot.complete(6, Some(REPLY)));
    assert_eq!(slot.admit(8, 7), rejected(Nfsstat4::SeqMisordered));
}

/// What came first after a taking-up was a copy that was long on its way: the client has the
/// answer, from elsewhere, and goes on from there. Seed 3035 of the simulator. Spec:
/// docs/protocol/sessions.md §3.
#[test]
fn a_late_copy_does_not_hold_a_slot_back() {
    for (seen, next) in [(None, 6), (Some((5, 7)), 6), (Some((3, 7)), 9), (None, 5 + SEQUENCE_AHEAD_MAX)] {
        let mut slot = Slot::resumed(seen);
        assert!(!matches!(slot.admit(5, 7), SlotVerdict::Reject(_)));
        assert_eq!(slot.admit(next, 8), rejected(Nfsstat4::Delay), "when the copy has run");
        assert!(slot.complete(5, Some(REPLY)));
        assert_eq!(slot.admit(4, 7), rejected(Nfsstat4::SeqMisordered));
        assert_eq!(slot.admit(next, 8), SlotVerdict::Execute);
        assert_eq!(slot.admit(5, 7), rejected(Nfsstat4::SeqMisordered), "another copy");
        assert!(slot.complete(next, Some(REPLY)));
        assert_eq!(slot.admit(next, 8), SlotVerdict::Replay(REPLY));
        assert_eq!(slot.admit(next + 1, 9), SlotVerdict::Execute);
        assert!(slot.complete(next + 1, Some(REPLY)));
        assert_eq!(slot.admit(next + 3, 9), rejected(Nfsstat4::SeqMisordered), "a slot like any other");
    }
}

#[test]
fn the_sequence_goes_round() {
    let mut slot = Slot { sequence: u32::MAX, fingerprint: 0, reply: Reply::Uncached, is_behind: false };
    assert_eq!(slot.admit(0, 7), SlotVerdict::Execute);
    slot.complete(0, Some(REPLY));
    assert_eq!(slot.admit(0, 7), SlotVerdict::Replay(REPLY));
    assert_eq!(slot.admit(1, 7), SlotVerdict::Execute);
}

#[test]
fn a_late_completion_changes_nothing() {
    let mut slot = Slot::new();
    slot.admit(1, 7);
    assert!(slot.complete(1, Some(REPLY)));
    assert!(!slot.complete(1, None));
    slot.admit(2, 7);
    assert!(!slot.complete(1, None));
    assert!(slot.is_running());
}

#[test]
fn a_fingerprint_tells_requests_apart() {
    let long = vec![7u8; 3000];
    let mut other_end = long.clone();
    *other_end.last_mut().unwrap() = 8;
    let all = [
        fingerprint(b"a", 2, b"xy"),
        fingerprint(b"ax", 2, b"y"),
        fingerprint(b"a", 3, b"xy"),
        fingerprint(b"a", 2, b""),
        fingerprint(b"a", 2, &long),
        fingerprint(b"a", 2, &other_end),
        fingerprint(b"a", 2, &long[1..]),
    ];
    let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(fingerprint(b"a", 2, &long), fingerprint(b"a", 2, &long.clone()));
}

/// The rules again, written as a list of what was ever asked.
#[derive(Default)]
struct Model {
    /// Sequence, fingerprint, and what it was answered with: `None` while it runs.
    asked: Vec<(u32, u64, Option<Option<Bytes>>)>,
    start: u32,
}

impl Model {
    fn expect(&mut self, sequence: u32, fingerprint: u64) -> SlotVerdict {
        let last = self.asked.last();
        let last_sequence = last.map_or(self.start, |asked| asked.0);
        let running = last.is_some_and(|asked| asked.2.is_none());
        if sequence == last_sequence.wrapping_add(1) && !running {
            self.asked.push((sequence, fingerprint, None));
            return SlotVerdict::Execute;
        }
        match last {
            Some((last, known, answer)) if *last == sequence => match answer {
                None => rejected(Nfsstat4::Delay),
                Some(_) if *known != fingerprint => rejected(Nfsstat4::SeqFalseRetry),
                Some(None) => rejected(Nfsstat4::RetryUncachedRep),
                Some(Some(reply)) => SlotVerdict::Replay(reply.clone()),
            },
            _ => rejected(Nfsstat4::SeqMisordered),
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Request { ahead: i32, fingerprint: u64 },
    Complete { cached: bool },
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (prop_oneof![6 => Just(1), 4 => Just(0), 1 => -3..5i32, 1 => any::<i32>()], 0..3u64)
            .prop_map(|(ahead, fingerprint)| Act::Request { ahead, fingerprint }),
        2 => any::<bool>().prop_map(|cached| Act::Complete { cached }),
    ]
}

proptest! {
    /// Whatever comes, the slot does as the model, and nothing is executed twice.
    #[test]
    fn a_slot_is_its_model(
        acts in proptest::collection::vec(any_act(), 1..200),
        start in prop_oneof![Just(0u32), Just(u32::MAX - 5)],
    ) {
        let mut slot = Slot { sequence: start, fingerprint: 0, reply: Reply::Never, is_behind: false };
        let mut model = Model { start, ..Model::default() };
        let mut executed = std::collections::BTreeSet::new();
        for act in acts {
            match act {
                Act::Request { ahead, fingerprint } => {
                    let sequence = slot.sequence().wrapping_add(ahead.cast_unsigned());
                    let verdict = slot.admit(sequence, fingerprint);
                    prop_assert_eq!(&verdict, &model.expect(sequence, fingerprint));
                    if verdict == SlotVerdict::Execute {
                        prop_assert!(executed.insert(sequence), "executed twice");
                    }
                }
                Act::Complete { cached } => {
                    let reply = cached.then(|| Bytes::from(slot.sequence().to_be_bytes().to_vec()));
                    let was_running = slot.is_running();
                    prop_assert_eq!(slot.complete(slot.sequence(), reply.clone()), was_running);
                    if was_running && let Some(last) = model.asked.last_mut() {
                        last.2 = Some(reply);
                    }
                }
            }
        }
    }
}
