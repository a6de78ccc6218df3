//! The handshake that opens every connection between nodes, against a caller that does whatever it
//! likes.
//!
//! A caller that holds the key, one that does not, and raw bytes take turns on one gate. A model of
//! three lines says when it may be open: after exactly HELLO and the right AUTH.
//!
//! Input: steps of one word (what to do, a number, the length in bytes of what follows) and the
//! bytes of that step.

use bytes::Bytes;
use wire_nfs::control::auth::{Auth, Hello, Peer};
use wire_nfs::control::roles::may_meet;
use wire_nfs::control::{
    ClusterKey, ControlGate, Handshake, Identity, NodeKind, PROGRAM, Procedure, decode_args,
};

use super::row::{MemoryBound, Shape, Target};
use crate::seed::encoded;

pub(super) const TARGET: Target = Target {
    name: "control_gate",
    about: "HELLO and AUTH in any order, right and forged, against the gate's promises",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 1024,
};

const CALLEE_NONCE: [u8; 32] = [2; 32];

/// Steps of a caller.
mod step {
    /// The gate gets raw bytes as arguments of a procedure.
    pub(super) const RAW: u8 = 0;
    /// HELLO of a caller that is one of ours; the number chooses its kind.
    pub(super) const HELLO: u8 = 1;
    /// AUTH under the cluster's key.
    pub(super) const AUTH: u8 = 2;
    /// AUTH under another key.
    pub(super) const AUTH_FORGED: u8 = 3;
    /// How many there are.
    pub(super) const COUNT: u8 = 4;
}

/// How far the handshake is, by the model.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Fresh,
    Greeted(Hello),
    Open(NodeKind),
    Shut,
}

fn key(byte: u8) -> ClusterKey {
    ClusterKey::new([byte; 32])
}

fn run(input: &[u8]) -> usize {
    let mut gate = ControlGate::new(key(7), PROGRAM, NodeKind::Metadata, CALLEE_NONCE);
    let mut expected = Expected::Fresh;
    let (mut rest, mut valid) = (input, 0);
    while let Some(([what, number, length, _], behind)) = rest.split_first_chunk::<4>() {
        let (bytes, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        let (procedure, args) = match what % step::COUNT {
            step::RAW => (u32::from(*number), Bytes::copy_from_slice(bytes)),
            step::HELLO => (Procedure::Hello.number(), encoded(&hello(*number))),
            step::AUTH => (Procedure::Auth.number(), encoded(&auth(&expected, 7))),
            _ => (Procedure::Auth.number(), encoded(&auth(&expected, 8))),
        };
        expected = next(expected, procedure, &args);
        valid += usize::from(matches!(gate.handshake(procedure, args), Some(Ok(_))));
        check(&gate, &expected);
    }
    valid
}

fn kind(number: u8) -> NodeKind {
    [NodeKind::Metadata, NodeKind::Data, NodeKind::Gateway, NodeKind::Administrator][usize::from(number % 4)]
}

/// A node of ours that calls.
fn caller(hello: &Hello, key_byte: u8) -> Handshake {
    Handshake::new(&key(key_byte), PROGRAM, (hello.kind, NodeKind::Metadata), hello.nonce)
}

fn hello(number: u8) -> Hello {
    Hello {
        version: wire_nfs::control::VERSION,
        kind: kind(number),
        identity: Identity::ANY,
        nonce: [number; 32],
    }
}

/// What a caller that holds that key sends in AUTH, as far as the handshake is.
fn auth(expected: &Expected, key_byte: u8) -> Auth {
    let caller_hello = match expected {
        Expected::Greeted(caller) => caller.clone(),
        Expected::Fresh | Expected::Open(_) | Expected::Shut => hello(0),
    };
    let callee = Hello { kind: NodeKind::Metadata, nonce: CALLEE_NONCE, ..hello(0) };
    let (_, auth) = caller(&caller_hello, key_byte).on_hello(callee).expect("it speaks our version");
    auth
}

/// The model: what a procedure does to the handshake.
fn next(expected: Expected, procedure: u32, args: &Bytes) -> Expected {
    match Procedure::from_number(procedure) {
        Some(Procedure::Hello) => match (decode_args::<Hello>(args.clone()), &expected) {
            (Err(_), _) => Expected::Shut,
            (Ok(caller), Expected::Fresh) if may_greet(&caller) => Expected::Greeted(caller),
            (Ok(_), _) => Expected::Shut,
        },
        Some(Procedure::Auth) => match (decode_args::<Auth>(args.clone()), &expected) {
            (Err(_), _) => Expected::Shut,
            // No step knows the key of a data server with a name.
            (Ok(sent), Expected::Greeted(caller))
                if caller.identity == Identity::ANY && sent == auth(&expected, 7) =>
            {
                Expected::Open(caller.kind)
            }
            (Ok(_), _) => Expected::Shut,
        },
        _ => expected,
    }
}

fn may_greet(caller: &Hello) -> bool {
    let may_have_name = caller.kind == NodeKind::Data;
    caller.version == wire_nfs::control::VERSION
        && may_meet(PROGRAM, caller.kind, NodeKind::Metadata)
        && (may_have_name || caller.identity == Identity::ANY)
}

fn check(gate: &ControlGate, expected: &Expected) {
    assert_eq!(gate.is_shut(), *expected == Expected::Shut);
    let open = match expected {
        Expected::Open(kind) => Some(*kind),
        Expected::Fresh | Expected::Greeted(_) | Expected::Shut => None,
    };
    let peer: Option<&Peer> = gate.peer().ok();
    assert_eq!(peer.map(|peer| peer.kind), open, "a gate is open after the right handshake and no other");
}

fn seeds() -> Vec<Vec<u8>> {
    let raw = |procedure: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).expect("arguments are short");
        [&[step::RAW, procedure, length, 0], bytes].concat()
    };
    let hello_bytes = encoded(&hello(1));
    let (hello, auth) = ([step::HELLO, 1, 0, 0], [step::AUTH, 0, 0, 0]);
    let forged = [step::AUTH_FORGED, 0, 0, 0];
    vec![
        [hello, auth].concat(),
        [hello, forged, auth].concat(),
        [hello, hello, auth].concat(),
        [hello, auth, hello].concat(),
        [auth, hello, auth].concat(),
        [raw(0, &[]), raw(1, &hello_bytes), auth.to_vec()].concat(),
        [raw(1, &hello_bytes[..8]), raw(1, &hello_bytes), raw(2, &[0; 32]), auth.to_vec()].concat(),
        [raw(5, &[0; 20]), hello.to_vec(), auth.to_vec(), raw(9, &[])].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use wire_nfs::control::decode_reply;

    use super::*;

    #[test]
    fn the_callee_is_proven_to_the_caller_too() {
        let caller_hello = hello(1);
        let mut gate = ControlGate::new(key(7), PROGRAM, NodeKind::Metadata, CALLEE_NONCE);
        let callee = gate.hello(caller_hello.clone()).unwrap();
        let (greeted, auth) = caller(&caller_hello, 7).on_hello(callee).unwrap();
        let reply = gate.handshake(2, encoded(&auth)).unwrap().unwrap().into_bytes();
        let proof = decode_reply::<Auth>(reply).unwrap().unwrap();
        assert_eq!(greeted.on_auth(&proof).unwrap().kind, NodeKind::Metadata);
    }
}
