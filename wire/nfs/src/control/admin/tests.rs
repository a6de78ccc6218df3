//! Golden bytes of what administrators ask.

use super::*;
use crate::control::tests::check;
use crate::control::{decode_args, encoded};

fn holder(server: u32, state: HolderState) -> Holder {
    Holder { server, state }
}

#[test]
fn admin_messages_have_their_golden_bytes() {
    check(&RemoveServer { server: 7 }, "00000007");
    check(&DrainServer { server: 7, drain: true }, "00000007 00000001");
    check(&Ruling { done: false, words: "no".to_owned() }, "00000000 00000002 6e6f0000");
    check(&Verify { path: b"/a/b".to_vec(), from: 9 }, "00000004 2f612f62 00000009");
    let nowhere = Verified { words: "gone".to_owned(), ..Verified::default() };
    check(&nowhere, "00000004 676f6e65 0000000000000000 00000000 00000000 00000000 00000000");
    let image = VerifiedImage {
        image: [0xee; 16],
        sequence: 5,
        group: 6,
        data: 2,
        parity: 1,
        slot: 0,
        holders: vec![
            holder(3, HolderState::Draining),
            holder(0, HolderState::Up),
            holder(5, HolderState::Down),
        ],
    };
    let extent = VerifiedExtent {
        index: 8,
        state: ExtentState::AtRest,
        epoch: 9,
        home: holder(3, HolderState::Up),
        backups: vec![holder(4, HolderState::Filling)],
        image: Some(image),
        survives: Some(1),
        whole: true,
        code: Some(NamedCode { data: 4, parity: 2 }),
    };
    let file = Verified {
        words: String::new(),
        size_bytes: 0x0102,
        inline: false,
        copies: 2,
        extents: vec![extent],
        next: Some(9),
    };
    check(
        &file,
        "00000000 0000000000000102 00000000 00000002 00000001 \
         00000008 00000003 0000000000000009 00000003 00000001 00000001 00000004 00000003 \
         00000001 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee 0000000000000005 0000000000000006 \
         00000002 00000001 00000000 00000003 00000003 00000004 00000000 00000001 00000005 00000002 \
         00000001 00000001 00000001 00000001 00000004 00000002 00000001 00000009",
    );
}

#[test]
fn rebalancing_has_its_golden_bytes() {
    check(&Rebalance { dry_run: true }, "00000001");
    let routes = vec![Route { from: 1, to: 4, images: 2, extents: 3, bytes: 0x0506 }];
    check(
        &Rebalanced { done: true, words: "so".to_owned(), routes: routes.clone() },
        "00000001 00000002 736f0000 00000001 00000001 00000004 0000000000000002 0000000000000003 0000000000000506",
    );
    let many = |count| Rebalanced { routes: vec![routes[0]; count], ..Rebalanced::default() };
    assert!(decode_args::<Rebalanced>(encoded(&many(limits::ROUTES_MAX))).is_ok());
    assert!(decode_args::<Rebalanced>(encoded(&many(limits::ROUTES_MAX + 1))).is_err());
}

#[test]
fn readmitting_has_its_golden_bytes() {
    check(&Readmit { number: 2 }, "0000000000000002");
    check(
        &Readmitted { words: String::new(), shards: 0x40, done: 3 },
        "00000000 0000000000000040 0000000000000003",
    );
    let refused = Readmitted { words: "no".to_owned(), ..Readmitted::default() };
    check(&refused, "00000002 6e6f0000 0000000000000000 0000000000000000");
}

#[test]
fn a_metadata_server_is_not_in_more_shards_than_there_are() {
    let of = |shards, done| Readmitted { shards, done, ..Readmitted::default() };
    for (shards, done) in [(0, 0), (1, 1), (u64::MAX, u64::MAX)] {
        assert_eq!(decode_args(encoded(&of(shards, done))), Ok(of(shards, done)));
    }
    for (shards, done) in [(0, 1), (64, 65), (1, u64::MAX)] {
        let wrong = Err(XdrError::Invalid { field: "done" });
        assert_eq!(decode_args::<Readmitted>(encoded(&of(shards, done))), wrong);
    }
}

#[test]
fn replacing_a_handle_key_has_its_golden_bytes() {
    check(&RotateHandleKey { replaces: None }, "00000000");
    check(&RotateHandleKey { replaces: Some(7) }, "00000001 0000000000000007");
    let rotation = HandleKeyRotation { stage: RotationStage::Leaving, version: 2, key: 1, servers: 3 };
    check(&rotation, "00000003 0000000000000002 00000001 00000003");
    assert!(decode_args::<HandleKeyRotation>(vec![0; 20].into()).is_err(), "no such stage");
}

#[test]
fn what_is_too_long_or_unknown_is_refused() {
    let long = |bytes| Ruling { done: true, words: "x".repeat(bytes) };
    assert!(decode_args::<Ruling>(encoded(&long(limits::WORDS_BYTES_MAX))).is_ok());
    assert!(decode_args::<Ruling>(encoded(&long(limits::WORDS_BYTES_MAX + 1))).is_err());
    let long = |bytes| Readmitted { words: "x".repeat(bytes), ..Readmitted::default() };
    assert!(decode_args::<Readmitted>(encoded(&long(limits::WORDS_BYTES_MAX))).is_ok());
    assert!(decode_args::<Readmitted>(encoded(&long(limits::WORDS_BYTES_MAX + 1))).is_err());
    let path = |bytes| Verify { path: vec![b'/'; bytes], from: 0 };
    assert!(decode_args::<Verify>(encoded(&path(limits::PATH_BYTES_MAX))).is_ok());
    assert!(decode_args::<Verify>(encoded(&path(limits::PATH_BYTES_MAX + 1))).is_err());
    assert_eq!((ExtentState::from_u32(4), HolderState::from_u32(0)), (None, None));
    let not_text = bytes::Bytes::from_static(b"\0\0\0\x01\0\0\0\x01\xff\0\0\0");
    assert_eq!(decode_args::<Ruling>(not_text), Err(XdrError::Invalid { field: "words" }));
}
