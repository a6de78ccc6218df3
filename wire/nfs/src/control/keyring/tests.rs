//! Which rings meet, and which do not; which takes the place of which.

use super::super::auth::{ControlGate, Handshake, NodeKind};
use super::super::tests::{key, run};
use super::super::{PROGRAM, Procedure, Refusal};
use super::*;

const OLD: u8 = 7;
const NEW: u8 = 8;

fn only(byte: u8) -> Ring {
    Ring::one(key(byte))
}

/// What a file holds after each step, in their order.
fn steps() -> [Ring; 3] {
    [
        Ring::two(key(OLD), Accepted::Next(key(NEW))).unwrap(),
        Ring::two(key(NEW), Accepted::Before(key(OLD))).unwrap(),
        only(NEW),
    ]
}

/// Has a caller with one ring call a callee with another.
fn meet(caller: &Ring, callee: &Ring) -> Result<(), Refusal> {
    let link = (NodeKind::Data, NodeKind::Metadata);
    let handshake = Handshake::new(caller.active(), PROGRAM, link, [1; 32]);
    let mut gate = ControlGate::new(callee.clone(), PROGRAM, link.1, [2; 32]);
    let there = run(handshake, &mut gate)?;
    assert_eq!(there.secret, gate.peer().unwrap().secret, "one secret");
    Ok(())
}

#[test]
fn neighbours_that_are_one_step_apart_meet() {
    let [accept, used, dropped] = steps();
    let old = only(OLD);
    let all = [&old, &accept, &used, &dropped];
    for (at, one) in all.iter().enumerate() {
        for (there, other) in all.iter().enumerate() {
            let met = meet(one, other);
            // A callee two steps away has the caller's key only if it takes two.
            let (caller, callee) = (if at < 2 { OLD } else { NEW }, there);
            let fits = if caller == OLD { callee < 3 } else { 0 < callee };
            assert_eq!(met.is_ok(), fits, "{at} calls {there}: {met:?}");
            assert!(fits || 1 < at.abs_diff(there), "{at} and {there} are neighbours");
        }
    }
    assert_eq!(meet(&old, &dropped), Err(Refusal::BadMac));
    assert_eq!(meet(&dropped, &old), Err(Refusal::BadMac));
}

#[test]
fn keys_of_roles_meet_under_either_key() {
    for ring in steps() {
        let own = |name: &str| {
            ring.derived(|key| Some(ClusterKey::data_server(key.for_data_server(name)?))).unwrap()
        };
        let (n7, n8) = (own("n7"), own("n8"));
        for other in steps() {
            let link = (NodeKind::Data, NodeKind::Metadata);
            let mut gate = ControlGate::new(other.clone(), PROGRAM, link.1, [2; 32]);
            let taken = run(Handshake::new(n7.active(), PROGRAM, link, [1; 32]), &mut gate);
            assert_eq!(taken.is_ok(), other.has(ring.active()));
        }
        let link = (NodeKind::Data, NodeKind::Data);
        let mut gate = ControlGate::new(n8, PROGRAM, link.1, [2; 32]);
        run(Handshake::new(n7.active(), PROGRAM, link, [1; 32]), &mut gate).unwrap();
        assert!(n7.derived(|key| key.for_data_server("n8").map(ClusterKey::data_server)).is_none());
    }
}

/// One that came in under the key before is thrown out when that is dropped; one under the new key
/// stays.
#[test]
fn a_gate_shuts_when_its_key_is_dropped() {
    let [accept, used, dropped] = steps();
    let ring = Keyring::from(only(OLD));
    let link = (NodeKind::Data, NodeKind::Metadata);
    let opened = |byte: u8, ring: &Keyring| {
        let mut gate = ControlGate::new(ring, PROGRAM, link.1, [byte; 32]);
        run(Handshake::new(&key(byte), PROGRAM, link, [1; 32]), &mut gate).map(|_| gate)
    };
    let before = opened(OLD, &ring).unwrap();
    assert_eq!(opened(NEW, &ring).unwrap_err(), Refusal::BadMac);
    assert_eq!(ring.replace(accept), Ok(true));
    let after = opened(NEW, &ring).unwrap();
    assert_eq!(ring.active_version(), 0);
    assert_eq!(ring.replace(used), Ok(true));
    assert_eq!(ring.active_version(), 1);
    for gate in [&before, &after] {
        assert!(!gate.is_shut());
        gate.admit(Procedure::Heartbeat).unwrap();
    }
    assert_eq!(ring.replace(dropped.clone()), Ok(true));
    assert_eq!(ring.replace(dropped), Ok(false));
    assert_eq!((ring.version(), ring.active_version()), (3, 1));
    assert!(before.is_shut() && !after.is_shut());
    assert_eq!(before.admit(Procedure::Heartbeat), Err(Refusal::NotAuthenticated));
    after.admit(Procedure::Heartbeat).unwrap();
    assert_eq!(opened(OLD, &ring).unwrap_err(), Refusal::BadMac);
}

#[test]
fn keys_that_make_no_ring_are_refused() {
    let n7 = ClusterKey::data_server(key(OLD).for_data_server("n7").unwrap());
    let n8 = ClusterKey::data_server(key(NEW).for_data_server("n8").unwrap());
    for (one, other) in [(key(OLD), n7.clone()), (n7.clone(), n8)] {
        let refused = Ring::two(one, Accepted::Next(other)).unwrap_err();
        assert!(matches!(refused, RingError::Roles { .. }), "{refused}");
    }
    assert_eq!(Ring::two(key(OLD), Accepted::Before(key(OLD))), Err(RingError::Equal));
    let ring = Keyring::from(key(OLD));
    assert!(matches!(ring.replace(Ring::one(n7)), Err(RingError::Roles { .. })));
    assert_eq!(ring.replace(only(NEW)), Err(RingError::Strange));
    assert_eq!((ring.version(), ring.held().active().clone()), (0, key(OLD)));
}
