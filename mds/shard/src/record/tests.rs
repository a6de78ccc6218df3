//! Golden bytes of docs/formats/state.md, and bytes that are no value.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check<T: Value + PartialEq + std::fmt::Debug>(value: &T, expected: &str) {
    let bytes = value.encode();
    assert_eq!(hex(&bytes), expected);
    assert_eq!(T::decode(&bytes).as_ref(), Ok(value));
    for end in 0..bytes.len() {
        assert!(T::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(T::decode(&[&bytes[..], &[0]].concat()).is_err());
    let newer = [&[T::VERSION + 1], &bytes[1..]].concat();
    assert!(T::decode(&newer).is_err());
}

#[test]
fn values_have_the_documented_bytes() {
    let other = other(StateKind::Open, 0x0102, 0x0304);
    assert_eq!(hex(&other), "010001020000000000000304");
    check(&Counters::default(), "01010101");
    check(&Tally { opens: 1, locks: 2, layouts: 300 }, "010102ac02");
    check(&OwnerClients { confirmed: Some(5), unconfirmed: None }, "01010500");
    check(&StateidTarget { kind: StateKind::Lock, ino: 300, client: 7 }, "0102ac0207");
    check(&Shares { opens: 4, read: 3, write: 2, deny_read: 1, deny_write: 0 }, "010403020100");
    let open = OpenRecord {
        other,
        seqid: 2,
        client: 7,
        owner: b"me".to_vec(),
        share: Share { access: 3, deny: 1 },
        seen: 0x2010,
    };
    check(&open, "010100010200000000000003040207026d6503019040");
    let lock = LockRecord {
        other,
        seqid: 2,
        client: 7,
        owner: b"me".to_vec(),
        open: other,
        ranges: vec![HeldRange { first: 1, last: 2, exclusive: true }],
    };
    check(&lock, "010100010200000000000003040207026d6501000102000000000000030401010201");
    let layout = LayoutRecord { other, seqid: 9, read: true, read_write: false, recall_seqid: Some(9) };
    check(&layout, "010100010200000000000003040901000109");
    let server = DataServer {
        id: 1,
        uuid: *b"0123456789abcdef",
        addresses: vec!["a".to_owned()],
        control: "b".to_owned(),
        capacity_bytes: 4096,
        zone: "z".to_owned(),
        rack: String::new(),
        host: "h".to_owned(),
    };
    check(&server, "02013031323334353637383961626364656601016101628020017a000168");
    let client = StoredClient {
        record: ClientRecord {
            client: 7,
            owner: b"o".to_vec(),
            verifier: [8; 8],
            principal: b"p".to_vec(),
            confirmed: true,
            sequence: 1,
            implementation: "i".to_owned(),
        },
        reclaim_complete: false,
    };
    check(&client, "0107016f080808080808080801700101016900");
}

#[test]
fn unknown_kinds_are_errors() {
    assert!(StateidTarget::decode(&[1, 9, 0, 0]).is_err());
    assert!(OpenRecord::decode(&[]).is_err());
}
