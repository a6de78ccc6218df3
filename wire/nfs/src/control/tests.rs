//! Golden bytes, truncation and the handshake's refusals.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Writer, XdrError};

use super::auth::*;
use super::copies::*;
use super::extent::*;
use super::groups::*;
use super::handles::*;
use super::heartbeat::*;
use super::images::*;
use super::register::*;
use super::replicate::*;
use super::*;

pub(super) fn key(byte: u8) -> ClusterKey {
    ClusterKey::new([byte; 32])
}

pub(super) fn pair(caller_key: u8, callee_key: u8, programs: (u32, u32)) -> (Handshake, ControlGate) {
    let link = (NodeKind::Data, NodeKind::Metadata);
    let handshake = Handshake::new(&key(caller_key), programs.0, link, [1; 32]);
    let gate = ControlGate::new(key(callee_key), programs.1, NodeKind::Metadata, [2; 32]);
    (handshake, gate)
}

pub(super) fn run(handshake: Handshake, gate: &mut ControlGate) -> Result<Peer, Refusal> {
    let hello = gate.hello(handshake.hello().clone())?;
    let (greeted, auth) = handshake.on_hello(hello).unwrap();
    let auth = gate.auth(&auth)?;
    Ok(greeted.on_auth(&auth).unwrap())
}

/// Decodes what was encoded, and refuses every shorter and every longer message.
pub(super) fn check<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: &T, golden_hex: &str) {
    let bytes = encoded(value);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden_hex.replace(' ', ""), "{value:?}");
    assert_eq!(decode_args::<T>(bytes.clone()).as_ref(), Ok(value));
    for len in 0..bytes.len() {
        assert!(decode_args::<T>(bytes.slice(..len)).is_err(), "{value:?} cut to {len}");
    }
    let longer: Bytes = [&bytes[..], &[0; 4]].concat().into();
    assert_eq!(decode_args::<T>(longer), Err(XdrError::Trailing));
}

#[test]
fn extent_messages_have_their_golden_bytes() {
    let extent = ExtentName { ino: 0x0102_0304_0506_0708, index: 9 };
    check(&AtEpoch { extent, epoch: 0xa }, "0102030405060708 00000009 000000000000000a");
    check(
        &Cut { extent, epoch: 0xa, keep_bytes: 0xb, copies: None },
        "0102030405060708 00000009 000000000000000a 0000000b 00000000",
    );
    check(
        &Cut { extent, epoch: 0xa, keep_bytes: 0xb, copies: Some(set(extent)) },
        &format!("0102030405060708 00000009 000000000000000a 0000000b 00000001 {SET_HEX}"),
    );
    check(&KnownEpoch { epoch: 7 }, "0000000000000007");
    check(&SizeOf { extents: vec![extent] }, "00000001 0102030405060708 00000009");
    let size = ExtentSize { end_bytes: 1, held_bytes: 2, epoch: 3, mtime_unix_ns: 4, change: 5 };
    check(
        &Sizes { sizes: vec![size] },
        "00000001 00000001 00000002 0000000000000003 0000000000000004 0000000000000005",
    );
}

const SET_HEX: &str = "0102030405060708 00000009 000000000000000a 00000003 00000002 \
    00000004 0000000000000001 00000000 00000005 000000000000000a 00000001";

fn set(extent: ExtentName) -> CopySet {
    let kept = |server, since, filling| KeptBy { server, since, filling };
    CopySet { extent, epoch: 0xa, home: 3, backups: vec![kept(4, 1, false), kept(5, 0xa, true)] }
}

#[test]
fn copies_have_their_golden_bytes() {
    let extent = ExtentName { ino: 0x0102_0304_0506_0708, index: 9 };
    check(&set(extent), SET_HEX);
    let mut many = set(extent);
    many.backups.push(many.backups[0]);
    assert!(decode_args::<CopySet>(encoded(&many)).is_err(), "three backups");
    let ask = AskCopies { server: 3, extent, word: Word::Filled, backup: 5, since: 0xa };
    check(&ask, "00000003 0102030405060708 00000009 00000002 00000005 000000000000000a");
    for (number, word) in (0u32..).zip([Word::Ask, Word::Lost, Word::Filled, Word::Seal, Word::Who]) {
        assert_eq!(encoded(&word)[..], number.to_be_bytes());
    }
    let listed = Listed { server: 3, control: "h:1".into() };
    check(
        &Directory { version: 7, servers: vec![listed] },
        "0000000000000007 00000001 00000003 00000003 683a3100",
    );
}

#[test]
fn records_have_their_golden_bytes() {
    let extent = ExtentName { ino: 0x0102_0304_0506_0708, index: 9 };
    check(&Attach { extent, epoch: 2 }, "0102030405060708 00000009 0000000000000002");
    check(&Attached { instance: 1, sequence: 2 }, "0000000000000001 0000000000000002");
    check(&Flush { instance: 1 }, "0000000000000001");
    check(&SayAgain { extent, epoch: 2, server: 3 }, "0102030405060708 00000009 0000000000000002 00000003");
    check(
        &ReadData { extent, epoch: 2, offset: 3, length: 4 },
        "0102030405060708 00000009 0000000000000002 00000003 00000004",
    );
    check(
        &HeldData { sequence: 2, data: Bytes::from_static(b"data!") },
        "0000000000000002 00000005 6461746121000000",
    );
    let long = HeldData { sequence: 2, data: vec![0; limits::RECORD_DATA_BYTES_MAX + 1].into() };
    assert!(decode_args::<HeldData>(encoded(&long)).is_err(), "too many bytes");
    let data = Bytes::from_static(b"data!");
    let write = Replicate {
        instance: 1,
        stable: true,
        act: Act::Write,
        extent,
        epoch: 2,
        sequence: 3,
        offset: 4,
        data,
    };
    check(
        &write,
        "0000000000000001 00000001 00000001 0102030405060708 00000009 0000000000000002 0000000000000003 \
         00000004 00000005 6461746121000000",
    );
    let cut = Replicate { stable: false, act: Act::Cut, data: Bytes::new(), ..write.clone() };
    check(
        &cut,
        "0000000000000001 00000000 00000003 0102030405060708 00000009 0000000000000002 0000000000000003 \
         00000004 00000000",
    );
    let data = Bytes::from_static(&[0xdd; 64]);
    let image = Replicate { stable: true, act: Act::Image, offset: 0x0400_0000, data, ..write.clone() };
    check(
        &image,
        &format!(
            "0000000000000001 00000001 00000004 0102030405060708 00000009 0000000000000002 0000000000000003 \
             04000000 00000040 {}",
            "dd".repeat(64)
        ),
    );
    let wrong = [
        Replicate { act: Act::Write, ..cut.clone() },
        Replicate { act: Act::Image, ..cut },
        Replicate { act: Act::Cut, ..image.clone() },
        Replicate { data: Bytes::from_static(&[0xdd; 63]), ..image },
        Replicate { act: Act::Cut, ..write },
    ];
    for wrong in wrong {
        assert_eq!(decode_args::<Replicate>(encoded(&wrong)), Err(XdrError::Invalid { field: "data" }));
    }
}

#[test]
fn images_have_their_golden_bytes() {
    let extent = ExtentName { ino: 0x0102_0304_0506_0708, index: 9 };
    let image = [0xee; 16];
    let shown = ShownImage {
        image,
        standing: Standing::Used,
        extent,
        epoch: 0xa,
        sequence: 0xb,
        content_bytes: 0xc,
        file_bytes: 0xd,
        sum: [0xaa; 32],
        root: [0xbb; 32],
    };
    let (name, sum, root) = ("ee".repeat(16), "aa".repeat(32), "bb".repeat(32));
    check(
        &ShowImages { server: 3, images: vec![shown] },
        &format!(
            "00000003 00000001 {name} 00000003 0102030405060708 00000009 000000000000000a 000000000000000b \
             0000000c 0000000d {sum} {root}"
        ),
    );
    check(&AskAtRest { extent, epoch: 0xa }, "0102030405060708 00000009 000000000000000a");
    check(&AtRest { size_bytes: 0xb, image: [0xdd; 64] }, &format!("000000000000000b {}", "dd".repeat(64)));
    check(&Promise { server: 3, extent }, "00000003 0102030405060708 00000009");
    check(&Thaw { server: 3, extent, sequence: 0xb }, "00000003 0102030405060708 00000009 000000000000000b");
    check(
        &Adopt { extent, epoch: 0xa, sequence: 0xb, keep_bytes: 0xc, image: [0xdd; 64] },
        &format!("0102030405060708 00000009 000000000000000a 000000000000000b 0000000c {}", "dd".repeat(64)),
    );
    let held = HeldImage { image, file_bytes: 0xd };
    check(&HaveImages { server: 3, images: vec![held] }, &format!("00000003 00000001 {name} 0000000d"));
    check(&HadImages { have: vec![true, false] }, "00000002 00000001 00000000");
    let many = HaveImages { server: 3, images: vec![held; limits::IMAGES_MAX + 1] };
    assert!(decode_args::<HaveImages>(encoded(&many)).is_err(), "too many images");
    for (number, standing) in (1u32..).zip([Standing::Unused, Standing::Parity, Standing::Used]) {
        assert_eq!(encoded(&standing)[..], number.to_be_bytes());
        assert_eq!(decode_args::<Standing>(encoded(&standing)), Ok(standing));
    }
    let words = vec![ImageWord::Wait, ImageWord::Use, ImageWord::Keep, ImageWord::Delete];
    check(&ImageWords { words }, "00000004 00000001 00000002 00000003 00000004");
    check(&ReadImage { image, offset: 1, length: 2 }, &format!("{name} 0000000000000001 00000002"));
    let data = Bytes::from_static(b"data!");
    check(&ImageData { data: data.clone() }, "00000005 6461746121000000");
    check(
        &PutImage { image, file_bytes: 1, offset: 2, data },
        &format!("{name} 00000001 00000002 00000005 6461746121000000"),
    );
    check(&EndImage { image, file_bytes: 1, sum: [0xaa; 32] }, &format!("{name} 00000001 {sum}"));
    let many = ShowImages { server: 3, images: vec![shown; limits::IMAGES_MAX + 1] };
    assert!(decode_args::<ShowImages>(encoded(&many)).is_err(), "too many images");
    let long = ImageData { data: vec![0; limits::IMAGE_DATA_BYTES_MAX + 1].into() };
    assert!(decode_args::<ImageData>(encoded(&long)).is_err(), "too many bytes");
    let zero = Bytes::from_static(&[0, 0, 0, 0]);
    assert!(decode_args::<ImageWord>(zero.clone()).is_err() && decode_args::<Standing>(zero).is_err());
}

#[test]
fn groups_have_their_golden_bytes() {
    let image = [0xee; 16];
    check(&AskGroup { image }, &"ee".repeat(16));
    let record = Bytes::from_static(b"group");
    check(&GroupSlot { record: record.clone(), slot: 7 }, "00000005 67726f7570000000 00000007");
    check(
        &EncodeGroup { draft: record.clone(), homes: vec![1, 0], parity: vec![3] },
        "00000005 67726f7570000000 00000002 00000001 00000000 00000001 00000003",
    );
    check(&EncodedGroup { shape: record }, "00000005 67726f7570000000");
    let long = AskGroup { image };
    assert!(decode_args::<EncodedGroup>(encoded(&long)).is_err(), "a length beyond the bound");
}

#[test]
fn register_and_heartbeat_have_their_golden_bytes() {
    let register = Register {
        uuid: [0x11; 16],
        instance: 2,
        addresses: vec!["1.2.3.4.8.1".into()],
        control: "h:1".into(),
        capacity_bytes: 3,
        used_bytes: 4,
        zone: "z".into(),
        rack: String::new(),
        host: "h".into(),
        name: "n1".into(),
        found: JournalEnd { segment: 5, offset: 6 },
        is_loss_accepted: true,
    };
    check(
        &register,
        "11111111111111111111111111111111 0000000000000002 00000001 0000000b 312e322e332e342e382e3100
         00000003 683a3100 0000000000000003 0000000000000004
         00000001 7a000000 00000000 00000001 68000000 00000002 6e310000
         0000000000000005 0000000000000006 00000001"
            .replace('\n', "")
            .as_str(),
    );
    let usage = Usage {
        capacity_bytes: 1,
        bad_blocks: 0xb,
        scrub_percent: 0x2a,
        scrub_ended_unix_ns: 0xc,
        scrub_bad: 0xd,
        ..Usage::default()
    };
    let zeros = "0000000000000000".repeat(9);
    check(
        &Heartbeat {
            server: 5,
            uuid: [0x22; 16],
            usage,
            directory: 6,
            instance: 0xe,
            failure: "EIO".to_owned(),
            durable: JournalEnd { segment: 0xf, offset: 0x10 },
            keys: 7,
        },
        &format!(
            "00000005 22222222222222222222222222222222 0000000000000001 {zeros} 000000000000000b 0000002a \
             000000000000000c 000000000000000d 0000000000000006 000000000000000e 00000003 45494f00 \
             000000000000000f 0000000000000010 0000000000000007"
        ),
    );
    let renewed =
        Renewed { lease_ms: 6000, seal_idle_ms: 7, directory: None, clock_ms: 8, exports: 9, keys: None };
    check(&renewed, "00001770 00000007 00000000 0000000000000008 0000000000000009 00000000");
    let directory = Some(Directory { version: 7, servers: vec![] });
    check(
        &Renewed {
            seal_idle_ms: 0,
            directory,
            keys: Some(HandleKeys { version: 2, keys: vec![] }),
            ..renewed
        },
        "00001770 00000000 00000001 0000000000000007 00000000 0000000000000008 0000000000000009 \
         00000001 0000000000000002 00000000",
    );
    assert_eq!(usage.free_bytes(), 1);
    let none = Register { addresses: vec![], ..register };
    assert_eq!(decode_args::<Register>(encoded(&none)), Err(XdrError::Invalid { field: "addresses" }));
}

#[test]
fn replies_carry_their_status() {
    let refusals = [
        Refusal::NotAuthenticated,
        Refusal::BadMac,
        Refusal::BadVersion,
        Refusal::WrongPeer,
        Refusal::NotLeader { leader: "10.0.0.1:9".into() },
        Refusal::RegisterAgain,
        Refusal::Io,
        Refusal::Busy,
        Refusal::Invalid,
        Refusal::NotHome,
        Refusal::Stale,
        Refusal::AttachAgain,
        Refusal::NoSpace,
        Refusal::NoImage,
    ];
    for (number, refusal) in (1u32..).zip(refusals) {
        let mut w = Writer::new();
        put_reply::<KnownEpoch>(&mut w, &Err(refusal.clone()));
        assert_eq!(w.to_bytes()[..4], number.to_be_bytes());
        assert_eq!(decode_reply::<KnownEpoch>(w.into_bytes()), Ok(Err(refusal)));
    }
    let mut w = Writer::new();
    put_reply(&mut w, &Ok(KnownEpoch { epoch: 1 }));
    assert_eq!(decode_reply(w.into_bytes()), Ok(Ok(KnownEpoch { epoch: 1 })));
    assert!(decode_reply::<KnownEpoch>(Bytes::from_static(&[0, 0, 0, 99])).is_err());
    assert!(decode_reply::<KnownEpoch>(Bytes::new()).is_err());
}

#[test]
fn what_handles_are_judged_by() {
    let holders = vec![HolderName { ino: 7, tag: 0xdead_beef, writes: true }];
    check(&AskHeld { holders }, "00000001 0000000000000007 deadbeef 00000001");
    check(&Held { held: vec![true, false] }, "00000002 00000001 00000000");
    let networks = vec!["10.0.0.0/8".to_owned()];
    let exports = vec![AdmittedBy { export: 3, networks }, AdmittedBy { export: 4, networks: vec![] }];
    check(
        &Admitted { version: 9, exports },
        "0000000000000009 00000002 00000003 00000001 0000000a 31302e302e302e302f380000 \
         00000004 00000000",
    );
}

#[test]
fn a_sealed_key_opens_only_under_its_own_secret() {
    let (handshake, mut gate) = pair(7, 7, (PROGRAM, PROGRAM));
    let callee = run(handshake, &mut gate).unwrap();
    let sealed = SealedKey::seal(&gate.peer().unwrap().secret, [3; 16], &[9; 32]);
    assert_eq!(sealed.open(&callee.secret), Ok([9; 32]));
    let keys = HandleKeys { version: 1, keys: vec![NumberedKey { number: 5, key: sealed }] };
    let (directory, exports) = (Directory::default(), 4);
    let registered = Registered {
        server: 1,
        lease_ms: 2,
        keys,
        clock_ms: 6,
        exports,
        seal_idle_ms: 3,
        directory,
        behind: None,
    };
    let bytes = encoded(&registered);
    assert!(!bytes.windows(32).any(|window| window == [9; 32]), "the key must not be readable");
    for at in 24..24 + 64 {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        let registered = decode_args::<Registered>(changed.into()).unwrap();
        assert_eq!(registered.keys.keys[0].key.open(&callee.secret), Err(SealBroken));
    }
    let (other, mut other_gate) = pair(8, 8, (PROGRAM, PROGRAM));
    let stranger = run(other, &mut other_gate).unwrap();
    let registered = decode_args::<Registered>(bytes).unwrap();
    assert_eq!(registered.keys.keys[0].key.open(&stranger.secret), Err(SealBroken));
}

#[test]
fn procedures_have_their_numbers() {
    for number in 0..42 {
        assert_eq!(Procedure::from_number(number).unwrap().number(), number);
    }
    assert_eq!(Procedure::from_number(42), None);
}

#[test]
fn clock_has_its_golden_bytes() {
    check(&AskClock { server: 3, wall_unix_ns: 0x0102_0304_0506_0708 }, "00000003 0102030405060708");
    check(&ClockTold { unix_ns: 9 }, "0000000000000009");
}
