//! The handshake: golden bytes, and everything that must not open a gate.
//!
//! Spec: docs/protocol/control.md §1.

use NodeKind::{Administrator, Data, Gateway, Metadata};

use super::super::tests::{key, pair, run};
use super::super::{PROGRAM, RAFT_PROGRAM, decode_reply, encoded};
use super::*;

fn n7() -> ClusterKey {
    ClusterKey::data_server(key(7).for_data_server("n7").unwrap())
}

fn administrator() -> ClusterKey {
    ClusterKey::administrator(key(7).for_administrator().unwrap())
}

/// A metadata server's gate.
fn gate() -> ControlGate {
    ControlGate::new(key(7), PROGRAM, Metadata, [2; 32])
}

fn calls(held: &ClusterKey, caller: NodeKind) -> Handshake {
    Handshake::new(held, PROGRAM, (caller, Metadata), [1; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Both ends learn who the other is, and share a secret.
#[test]
fn the_right_key_opens_the_gate() {
    let (handshake, mut gate) = pair(7, 7, (PROGRAM, PROGRAM));
    assert_eq!(gate.peer().unwrap_err(), Refusal::NotAuthenticated);
    let callee = run(handshake, &mut gate).unwrap();
    let caller = gate.peer().unwrap();
    assert_eq!((caller.kind, callee.kind), (Data, Metadata));
    assert_eq!((caller.identity, callee.identity), (Identity::ANY, Identity::ANY));
    assert_eq!(caller.secret, callee.secret);
}

#[test]
fn a_key_for_a_role_opens_the_gate_for_that() {
    for (held, kind, identity) in
        [(n7(), Data, Identity::of_name("n7")), (administrator(), Administrator, Identity::ANY)]
    {
        let mut gate = gate();
        let callee = run(calls(&held, kind), &mut gate).unwrap();
        let caller = gate.peer().unwrap();
        assert_eq!((caller.kind, caller.identity), (kind, identity));
        assert_eq!((callee.kind, callee.identity), (Metadata, Identity::ANY));
        assert_eq!(caller.secret, callee.secret);
    }
    // And the other way round: a metadata server learns which data server is there.
    let mut gate = ControlGate::new(n7(), PROGRAM, Data, [2; 32]);
    let handshake = Handshake::new(&key(7), PROGRAM, (Metadata, Data), [1; 32]);
    assert_eq!(run(handshake, &mut gate).unwrap().identity, Identity::of_name("n7"));
    // Data servers among each other.
    let n8 = ClusterKey::data_server(key(7).for_data_server("n8").unwrap());
    let mut gate = ControlGate::new(n7(), PROGRAM, Data, [2; 32]);
    run(Handshake::new(&n8, PROGRAM, (Data, Data), [1; 32]), &mut gate).unwrap();
    assert_eq!(gate.peer().unwrap().kind, Data);
}

#[test]
fn hello_and_auth_have_their_golden_bytes() {
    let handshake = calls(&n7(), Data);
    let name = hex(blake3::hash(b"n7").as_bytes());
    let hello = encoded(handshake.hello());
    assert_eq!(hex(&hello), format!("0000000500000002{name}{}", "01".repeat(32)));
    assert_eq!(hello.len(), HELLO_BYTES);
    let answer = gate().hello(handshake.hello().clone()).unwrap();
    assert_eq!(hex(&encoded(&answer)), format!("0000000500000001{}{}", "00".repeat(32), "02".repeat(32)));
    let (_, auth) = handshake.on_hello(answer).unwrap();
    let mut input = b"shoal caller\0\0\0\0".to_vec();
    input.extend_from_slice(&[0x20, 0xc0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 1]);
    input.extend_from_slice(blake3::hash(b"n7").as_bytes());
    input.extend_from_slice(&[0; 32]);
    input.extend_from_slice(&[1; 32]);
    input.extend_from_slice(&[2; 32]);
    let own = key(7).for_data_server("n7").unwrap().own;
    assert_eq!(auth.mac, *blake3::keyed_hash(&own, &input).as_bytes());
    assert_eq!(hex(&encoded(&auth)), hex(&auth.mac));
    assert_eq!(encoded(&auth).len(), AUTH_BYTES);
}

/// The caller of one role with a MAC under the key of another, however it says what it is.
fn forged(held: &ClusterKey, claims: (NodeKind, Identity)) -> Result<Peer, Refusal> {
    let mut gate = gate();
    let hello = Hello { version: VERSION, kind: claims.0, identity: claims.1, nonce: [1; 32] };
    let callee = gate.hello(hello.clone())?;
    let transcript = Transcript { program: PROGRAM, caller: &hello, callee: &callee };
    let own = |kind, identity| End { kind, identity };
    let (any, n7) = (Identity::ANY, Identity::of_name("n7"));
    // Every key that it has, or can be made to use.
    let links = [
        (own(Data, n7), own(Metadata, any)),
        (own(Metadata, any), own(Data, n7)),
        (own(Data, any), own(Data, any)),
        (own(Administrator, any), own(Metadata, any)),
    ];
    let keys: Vec<LinkKey> =
        links.into_iter().filter_map(|(caller, callee)| held.link_key(caller, callee)).collect();
    assert!(!keys.is_empty());
    let macs = keys.iter().map(|key| *transcript.mac(key, LABEL_CALLER).as_bytes());
    let mut last = Err(Refusal::BadMac);
    for mac in macs {
        let mut gate = ControlGate::new(key(7), PROGRAM, Metadata, [2; 32]);
        gate.hello(hello.clone())?;
        last = gate.auth(&Auth { mac }).map(|_| gate.peer().unwrap().clone());
        if last.is_ok() {
            return last;
        }
        assert!(gate.is_shut());
    }
    last
}

/// A host with a data server's key is that data server, and nothing that it says makes it more.
#[test]
fn a_key_of_one_role_opens_no_gate_for_another() {
    let (any, own, other) = (Identity::ANY, Identity::of_name("n7"), Identity::of_name("n8"));
    assert!(forged(&n7(), (Data, own)).is_ok(), "what it is");
    assert!(forged(&administrator(), (Administrator, any)).is_ok(), "what it is");
    for (held, claims, refusal) in [
        (n7(), (Administrator, any), Refusal::BadMac),
        (n7(), (Data, other), Refusal::BadMac),
        (n7(), (Data, any), Refusal::BadMac),
        (administrator(), (Data, own), Refusal::BadMac),
        (administrator(), (Data, any), Refusal::BadMac),
        // These have nothing to say to a metadata server's control port.
        (n7(), (Metadata, any), Refusal::WrongPeer),
        (n7(), (Gateway, any), Refusal::WrongPeer),
        // Nor is there an administrator with a name.
        (administrator(), (Administrator, own), Refusal::WrongPeer),
    ] {
        assert_eq!(forged(&held, claims), Err(refusal), "{held:?} as {claims:?}");
    }
    // The Raft program is for metadata servers alone.
    for (held, kind) in [(n7(), Data), (administrator(), Administrator), (key(7), Data)] {
        let mut gate = ControlGate::new(key(7), RAFT_PROGRAM, Metadata, [2; 32]);
        let handshake = Handshake::new(&held, RAFT_PROGRAM, (kind, Metadata), [1; 32]);
        assert_eq!(gate.hello(handshake.hello().clone()), Err(Refusal::WrongPeer));
        assert!(gate.is_shut());
    }
    let mut gate = ControlGate::new(key(7), RAFT_PROGRAM, Metadata, [2; 32]);
    let raft = (Metadata, Metadata);
    let hello = Handshake::new(&n7(), RAFT_PROGRAM, raft, [1; 32]).hello().clone();
    let callee = gate.hello(hello).unwrap();
    let handshake = Handshake::new(&n7(), RAFT_PROGRAM, raft, [1; 32]);
    assert_eq!(handshake.on_hello(callee).unwrap_err(), HandshakeError::NoKey);
    assert_eq!(gate.auth(&Auth { mac: [0; 32] }), Err(Refusal::BadMac));
}

/// Once a caller is in, it calls what its role may, and nothing else.
#[test]
fn a_gate_admits_by_the_table() {
    for (held, kind, may, may_not) in [
        (n7(), Data, Procedure::Heartbeat, Procedure::ExportsSet),
        (administrator(), Administrator, Procedure::ExportsSet, Procedure::Register),
    ] {
        let mut gate = gate();
        assert_eq!(gate.admit(may).unwrap_err(), Refusal::NotAuthenticated);
        run(calls(&held, kind), &mut gate).unwrap();
        assert_eq!(gate.admit(may).unwrap().kind, kind);
        for wrong in [may_not, Procedure::Fence, Procedure::Attach] {
            assert_eq!(gate.admit(wrong).unwrap_err(), Refusal::WrongPeer, "{kind:?} {wrong:?}");
        }
    }
}

/// A data server is not talked into taking another data server for a metadata server.
#[test]
fn a_caller_wants_the_kind_that_it_called() {
    let n8 = ClusterKey::data_server(key(7).for_data_server("n8").unwrap());
    let mut impostor = ControlGate::new(&n8, PROGRAM, Data, [2; 32]);
    let handshake = calls(&n7(), Data);
    let answer = impostor.hello(handshake.hello().clone()).unwrap();
    assert_eq!(handshake.on_hello(answer.clone()).unwrap_err(), HandshakeError::WrongPeer);
    // And as a metadata server it has no key to prove.
    let handshake = calls(&n7(), Data);
    let lie = Hello { kind: Metadata, identity: Identity::ANY, ..answer };
    let (greeted, auth) = handshake.on_hello(lie).unwrap();
    assert_eq!(impostor.auth(&auth), Err(Refusal::BadMac));
    assert_eq!(greeted.on_auth(&Auth { mac: [0; 32] }).unwrap_err(), HandshakeError::BadMac);
}

#[test]
fn a_wrong_key_or_program_shuts_the_gate_for_good() {
    let (handshake, mut gate) = pair(7, 8, (PROGRAM, PROGRAM));
    assert_eq!(run(handshake, &mut gate), Err(Refusal::BadMac));
    assert!(gate.is_shut());
    let (handshake, _) = pair(8, 8, (PROGRAM, PROGRAM));
    assert_eq!(run(handshake, &mut gate), Err(Refusal::NotAuthenticated));
    assert_eq!(gate.peer().unwrap_err(), Refusal::NotAuthenticated);
    let (handshake, mut gate) = pair(7, 7, (PROGRAM, RAFT_PROGRAM));
    assert_eq!(run(handshake, &mut gate), Err(Refusal::WrongPeer));
    assert!(gate.is_shut());
}

/// What was said on one connection proves nothing on the next.
#[test]
fn a_replayed_handshake_is_refused() {
    let (handshake, mut first) = pair(7, 7, (PROGRAM, PROGRAM));
    let hello = handshake.hello().clone();
    let answer = first.hello(hello.clone()).unwrap();
    let (_, auth) = handshake.on_hello(answer).unwrap();
    first.auth(&auth).unwrap();
    let mut second = ControlGate::new(key(7), PROGRAM, Metadata, [3; 32]);
    second.hello(hello).unwrap();
    assert_eq!(second.auth(&auth), Err(Refusal::BadMac));
    assert!(second.is_shut());
}

/// An impostor that sends back what it gets is found out: MACs, nonces, and whole handshakes.
#[test]
fn a_reflected_handshake_is_refused() {
    // The caller's own MAC as the callee's.
    let (handshake, mut gate) = pair(7, 7, (PROGRAM, PROGRAM));
    let hello = gate.hello(handshake.hello().clone()).unwrap();
    let (greeted, auth) = handshake.on_hello(hello).unwrap();
    assert_eq!(greeted.on_auth(&auth), Err(HandshakeError::BadMac));
    // Its own HELLO.
    let link = (Metadata, Metadata);
    let handshake = Handshake::new(&key(7), RAFT_PROGRAM, link, [1; 32]);
    let own = handshake.hello().clone();
    assert_eq!(handshake.on_hello(own).unwrap_err(), HandshakeError::WrongPeer);
    // Its own gate, by way of an attacker who passes everything on: both ends notice.
    let node = |number| Handshake::new(&key(7), RAFT_PROGRAM, link, [1; 32]).of_node(number);
    let gate = |number| ControlGate::new(key(7), RAFT_PROGRAM, Metadata, [2; 32]).of_node(number);
    assert_eq!(gate(5).hello(node(5).hello().clone()), Err(Refusal::WrongPeer));
    let answer = gate(5).hello(node(6).hello().clone()).unwrap();
    assert_eq!(node(5).on_hello(answer).unwrap_err(), HandshakeError::WrongPeer);
    run(node(6), &mut gate(5)).unwrap();
}

#[test]
fn out_of_order_handshakes_are_refused() {
    let (handshake, mut gate) = pair(7, 7, (PROGRAM, PROGRAM));
    assert_eq!(gate.auth(&Auth { mac: [0; 32] }), Err(Refusal::BadMac));
    assert_eq!(gate.hello(handshake.hello().clone()), Err(Refusal::NotAuthenticated));
    let (handshake, mut gate) = pair(7, 7, (PROGRAM, PROGRAM));
    run(handshake, &mut gate).unwrap();
    let (again, mut other) = pair(7, 7, (PROGRAM, PROGRAM));
    assert_eq!(gate.hello(again.hello().clone()), Err(Refusal::NotAuthenticated));
    assert!(gate.is_shut());
    let old = Hello { version: 4, ..again.hello().clone() };
    assert_eq!(other.hello(old), Err(Refusal::BadVersion));
}

/// Anything but the exact size is refused, and the gate stays shut afterwards.
#[test]
fn a_handshake_of_another_length_is_refused() {
    let (handshake, _) = pair(7, 7, (PROGRAM, PROGRAM));
    let hello = encoded(handshake.hello());
    let longer = |bytes: &Bytes, by| -> Bytes { [&bytes[..], &vec![0; by][..]].concat().into() };
    let mut wrong: Vec<Bytes> = (0..HELLO_BYTES).map(|len| hello.slice(..len)).collect();
    wrong.extend([1, 4, 100_000].map(|by| longer(&hello, by)));
    for args in wrong {
        let mut gate = gate();
        assert!(gate.handshake(1, args.clone()).unwrap().is_err(), "{} bytes", args.len());
        assert!(gate.is_shut());
        assert_eq!(gate.hello(handshake.hello().clone()), Err(Refusal::NotAuthenticated));
    }
    for bytes in (0..AUTH_BYTES).chain([AUTH_BYTES + 1, AUTH_BYTES + 4, 100_000]) {
        let mut gate = gate();
        gate.hello(handshake.hello().clone()).unwrap();
        assert!(gate.handshake(2, vec![0; bytes].into()).unwrap().is_err(), "{bytes} bytes");
        assert!(gate.is_shut());
    }
}

#[test]
fn the_gate_speaks_bytes() {
    let (handshake, mut gate) = pair(7, 7, (PROGRAM, PROGRAM));
    let args = encoded(handshake.hello());
    let reply = gate.handshake(1, args).unwrap().unwrap().into_bytes();
    let hello = decode_reply::<Hello>(reply).unwrap().unwrap();
    let (greeted, auth) = handshake.on_hello(hello).unwrap();
    let reply = gate.handshake(2, encoded(&auth)).unwrap().unwrap().into_bytes();
    greeted.on_auth(&decode_reply::<Auth>(reply).unwrap().unwrap()).unwrap();
    assert!(gate.handshake(0, Bytes::new()).unwrap().unwrap().is_empty());
    assert!(gate.handshake(5, Bytes::new()).is_none());
    assert!(gate.handshake(77, Bytes::new()).is_none());
}
