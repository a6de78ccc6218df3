//! The nine cases of EXCHANGE_ID, and the slot of CREATE_SESSION.

use super::*;

const OLD: [u8; 8] = [1; 8];
const NEW: [u8; 8] = [2; 8];

fn record(client: u64, confirmed: bool) -> ClientRecord {
    ClientRecord {
        client,
        owner: b"owner".to_vec(),
        verifier: OLD,
        principal: b"alice".to_vec(),
        confirmed,
        sequence: u32::from(confirmed),
        implementation: "old".to_owned(),
    }
}

fn ask(verifier: [u8; 8], principal: &'static [u8], update: bool) -> Exchange<'static> {
    Exchange {
        owner: b"owner",
        verifier,
        principal,
        update,
        implementation: "new",
        holds_state: false,
        fresh_client: 99,
    }
}

fn created(decision: ExchangeDecision) -> (Option<u64>, Option<u64>, Option<u64>) {
    let ExchangeDecision::Create { record, removes, evicts, replaces } = decision else {
        panic!("not created: {decision:?}")
    };
    assert_eq!((record.client, record.confirmed, record.sequence_next()), (99, false, 1));
    assert_eq!(record.owner, b"owner");
    assert_eq!(record.implementation, "new");
    (removes, evicts, replaces)
}

/// Origin: pynfs EID1. Spec: RFC 8881 §18.35.5 case 1.
#[test]
fn case_1_new_owner() {
    assert_eq!(created(decide_exchange(None, None, &ask(NEW, b"alice", false))), (None, None, None));
}

/// Origin: pynfs EID5h. Spec: case 2.
#[test]
fn case_2_known_client() {
    let decision = decide_exchange(Some(&record(5, true)), None, &ask(OLD, b"alice", false));
    assert_eq!(decision, ExchangeDecision::Known { client: 5, sequence: 2 });
    // An unconfirmed record of a restart that never was finished stays.
    let both = decide_exchange(Some(&record(5, true)), Some(&record(6, false)), &ask(OLD, b"alice", false));
    assert_eq!(both, ExchangeDecision::Known { client: 5, sequence: 2 });
}

/// Origin: pynfs EID5e, EID5g. Spec: case 3.
#[test]
fn case_3_collision() {
    for verifier in [OLD, NEW] {
        let asked = ask(verifier, b"bob", false);
        assert_eq!(
            created(decide_exchange(Some(&record(5, true)), None, &asked)),
            (None, Some(5), None),
            "an owner without state is taken over"
        );
        let busy = Exchange { holds_state: true, ..asked };
        let refused = decide_exchange(Some(&record(5, true)), None, &busy);
        assert_eq!(refused, ExchangeDecision::Refuse(ExchangeError::InUse));
    }
}

/// Origin: pynfs EID5a to EID5d. Spec: case 4.
#[test]
fn case_4_unconfirmed_is_replaced() {
    for verifier in [OLD, NEW] {
        for principal in [b"alice".as_slice(), b"bob"] {
            let asked = ask(verifier, principal, false);
            assert_eq!(
                created(decide_exchange(None, Some(&record(5, false)), &asked)),
                (Some(5), None, None)
            );
        }
    }
}

/// Origin: pynfs EID5f. Spec: case 5.
#[test]
fn case_5_client_restart() {
    let asked = ask(NEW, b"alice", false);
    assert_eq!(created(decide_exchange(Some(&record(5, true)), None, &asked)), (None, None, Some(5)));
    let twice = decide_exchange(Some(&record(5, true)), Some(&record(6, false)), &asked);
    assert_eq!(created(twice), (Some(6), None, Some(5)));
    let busy = Exchange { holds_state: true, ..asked };
    assert_eq!(created(decide_exchange(Some(&record(5, true)), None, &busy)), (None, None, Some(5)));
}

/// Origin: pynfs EID6h. Spec: case 6.
#[test]
fn case_6_update() {
    let decision = decide_exchange(Some(&record(5, true)), None, &ask(OLD, b"alice", true));
    let expected = ClientRecord { implementation: "new".to_owned(), ..record(5, true) };
    assert_eq!(decision, ExchangeDecision::Update { record: expected });
}

/// Origin: pynfs EID6, EID6a to EID6d. Spec: case 7.
#[test]
fn case_7_update_of_nothing() {
    for unconfirmed in [None, Some(record(5, false))] {
        let decision = decide_exchange(None, unconfirmed.as_ref(), &ask(OLD, b"alice", true));
        assert_eq!(decision, ExchangeDecision::Refuse(ExchangeError::NoRecord));
    }
    assert_eq!(ExchangeError::NoRecord.status(), Nfsstat4::Noent);
}

/// Origin: pynfs EID6f. Spec: case 8.
#[test]
fn case_8_update_of_another_incarnation() {
    let decision = decide_exchange(Some(&record(5, true)), None, &ask(NEW, b"alice", true));
    assert_eq!(decision, ExchangeDecision::Refuse(ExchangeError::OtherVerifier));
    assert_eq!(ExchangeError::OtherVerifier.status(), Nfsstat4::NotSame);
}

/// Origin: pynfs EID6e, EID6g. Spec: case 9.
#[test]
fn case_9_update_by_another_principal() {
    for verifier in [OLD, NEW] {
        let decision = decide_exchange(Some(&record(5, true)), None, &ask(verifier, b"bob", true));
        assert_eq!(decision, ExchangeDecision::Refuse(ExchangeError::OtherPrincipal));
    }
    assert_eq!(ExchangeError::OtherPrincipal.status(), Nfsstat4::Perm);
}

/// Origin: pynfs CSESS1, CSESS5, CSESS7, CSESS8. Spec: RFC 8881 §18.36.4.
#[test]
fn sessions_are_made_in_sequence() {
    let ConfirmDecision::Confirm { record: one } = decide_confirm(&record(5, false), 1, b"alice") else {
        panic!("the first is carried out")
    };
    assert!(one.confirmed);
    assert_eq!(decide_confirm(&one, 1, b"alice"), ConfirmDecision::Replay);
    for wrong in [0, 3, u32::MAX] {
        assert_eq!(decide_confirm(&one, wrong, b"alice"), ConfirmDecision::Refuse(ConfirmError::Misordered));
    }
    assert!(matches!(decide_confirm(&one, 2, b"alice"), ConfirmDecision::Confirm { .. }));
}

/// Origin: pynfs CSESS4: there is nothing to replay before the first session.
#[test]
fn the_contrived_replay_is_misordered() {
    let refused = decide_confirm(&record(5, false), 0, b"alice");
    assert_eq!(refused, ConfirmDecision::Refuse(ConfirmError::Misordered));
}

/// Origin: pynfs CSESS6, CSESS9, CSESS10.
#[test]
fn only_the_confirmation_is_bound_to_the_principal() {
    let refused = ConfirmDecision::Refuse(ConfirmError::InUse);
    assert_eq!(decide_confirm(&record(5, false), 1, b"bob"), refused);
    assert_eq!(decide_confirm(&record(5, false), 1, b"bob"), refused);
    assert!(matches!(decide_confirm(&record(5, true), 2, b"bob"), ConfirmDecision::Confirm { .. }));
}

#[test]
fn the_sequence_goes_round() {
    let last = ClientRecord { sequence: u32::MAX, ..record(5, true) };
    let ConfirmDecision::Confirm { record: round } = decide_confirm(&last, 0, b"alice") else {
        panic!("0 follows the largest")
    };
    assert_eq!(decide_confirm(&round, 0, b"alice"), ConfirmDecision::Replay);
    assert_eq!(round.sequence_next(), 1);
}
