//! Golden bytes of docs/formats/state.md, and bytes that are not a value.

use layout::ec::Profile;
use layout::{Backup, DataServerId, Epoch, ExtentId};
use mds_namespace::{Content, DirectoryChange, ExtentRecord, Inode, Kind, Timestamp};
use wire_session::server::record::{CallbackCredential, ChannelBounds, SessionRecord};

use super::*;
use crate::command::layout::LayoutAnswer;
use crate::command::lock::{Conflict, Range};
use crate::command::namespace::{EntryAnswer, Renamed};
use crate::command::open::Opened;
use crate::command::{Outcome, Refusal};
use crate::lock_ranges::HeldRange;

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
    check(&Tally { opens: 1, locks: 2, layouts: 300, ranges: 4 }, "020102ac0204");
    let before = Tally { opens: 1, locks: 2, layouts: 300, ranges: 0 };
    assert_eq!(Tally::decode(&[1, 1, 2, 0xac, 2]), Ok(before), "version 1 is read");
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
        name: "n1".to_owned(),
    };
    check(&server, "03013031323334353637383961626364656601016101628020017a000168026e31");
    let unnamed = "02013031323334353637383961626364656601016101628020017a000168";
    let bytes: Vec<u8> = (0..unnamed.len() / 2)
        .map(|at| u8::from_str_radix(&unnamed[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let before = DataServer { name: String::new(), ..server };
    assert_eq!(DataServer::decode(&bytes).unwrap(), before, "version 2 is read");
    assert!(DataServer::decode(&bytes[..9]).is_err());
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
    let keys = HandleKeys::default().added([0x22; 32]).unwrap().using_newest().unwrap();
    let key = "22".repeat(32);
    check(&keys, &format!("010201010101{key}"));
}

#[test]
fn locks_and_waiting_clients_have_the_documented_bytes() {
    let other = other(StateKind::Open, 0x0102, 0x0304);
    let lock = LockRecord {
        other,
        seqid: 2,
        client: 7,
        owner: b"me".to_vec(),
        open: other,
        ranges: Ranges::Apart(300),
    };
    check(&lock, "020100010200000000000003040207026d65010001020000000000000304ac02");
    let ranges = Ranges::Within(vec![HeldRange { first: 1, last: 2, exclusive: true }]);
    let within = LockRecord { ranges, ..lock };
    let bytes = within.encode();
    assert_eq!(hex(&bytes), "010100010200000000000003040207026d6501000102000000000000030401010201");
    assert_eq!(LockRecord::decode(&bytes).as_ref(), Ok(&within), "version 1 is read");
    assert!(LockRecord::decode(&bytes[..bytes.len() - 1]).is_err());
    let sum = FileLocks { lockers: 300, reads: [(0, 1), (64, 2)].into(), writes: [(3, 4)].into() };
    check(&sum, "01ac020200014002010304");
    check(&ClientCounts { clients: 300, waiting: 2, next: 9, sessions: 5 }, "01ac02020905");
    check(&Waiting { number: 300, address: [1; 16] }, &format!("01ac02{}", "01".repeat(16)));
}

#[test]
fn sessions_have_the_documented_bytes() {
    let bounds = |requests_max| ChannelBounds {
        request_bytes_max: 300,
        response_bytes_max: 2,
        response_cached_bytes_max: 3,
        operations_max: 4,
        requests_max,
    };
    let record = SessionRecord {
        id: *b"0123456789abcdef",
        client: 7,
        sequence: 1,
        minor_version: 2,
        fore: bounds(64),
        back: bounds(16),
        back_wanted: true,
        program: 128,
        credential: Some(CallbackCredential::Sys {
            stamp: 1,
            machine_name: b"m".to_vec(),
            uid: 2,
            gid: 3,
            gids: vec![4],
        }),
    };
    let bytes = "01303132333435363738396162636465660701\
                 02ac0202030440ac020203041001800101010101\
                 6d0203010405";
    check(&StoredSession { record, tenure: 5 }, &bytes.replace(' ', ""));
    let stateid = StateidValue { seqid: 1, other: *b"abcdefghijkl" };
    let outcomes = vec![
        Recorded { operation: 2, outcome: Outcome::Stateid(stateid) },
        Recorded { operation: 3, outcome: Outcome::Refused(Refusal::Namespace(FsError::NotFound)) },
        Recorded { operation: 4, outcome: Outcome::Refused(Refusal::NoSuchSession) },
    ];
    let slot = SlotRecord { sequence: 300, request: 128, outcomes };
    check(&slot, "01ac028001030206016162636465666768696a6b6c0300000004001a");
}

/// Recorded outcomes of OPEN, CREATE, RENAME, LAYOUTGET and LOCK: a change of an answer's fields
/// requires a new version.
#[test]
fn outcomes_have_their_bytes() {
    let inode = Inode {
        ino: 300,
        generation: 1,
        kind: Kind::Regular,
        mode: 0o644,
        nlink: 1,
        uid: 2,
        gid: 3,
        size_bytes: 4,
        used_bytes: 5,
        change: 6,
        atime: Timestamp { seconds: -1, nanos: 7 },
        mtime: Timestamp { seconds: 1, nanos: 8 },
        ctime: Timestamp { seconds: 2, nanos: 9 },
        parent: 0,
        content: Content::Extents,
    };
    let stateid = StateidValue { seqid: 1, other: *b"abcdefghijkl" };
    let directory = DirectoryChange { before: 10, after: 11 };
    let opened = Opened { stateid, inode: inode.clone(), directory, created: true, truncated: None };
    let extent = ExtentRecord {
        extent: ExtentId { ino: 300, index: 1 },
        home: DataServerId(2),
        backups: vec![Backup { server: DataServerId(3), since: Epoch(6), filling: true }],
        epoch: Epoch(4),
        pending_work: Some(5),
        code: Some(Profile::FourPlusTwo),
        unpromised: false,
    };
    let conflict = Conflict {
        range: Range { offset_bytes: 1, length_bytes: 2 },
        exclusive: true,
        client: 3,
        owner: b"o".to_vec(),
    };
    let state = "016162636465666768696a6b6c";
    let file = "ac020100a4030102030405060107020804090001";
    let code = "0103342b32";
    for (outcome, bytes) in [
        (Outcome::Opened(Box::new(opened)), format!("05{state}{file}0a0b0100")),
        (Outcome::Entry(Box::new(EntryAnswer { inode: inode.clone(), directory })), format!("07{file}0a0b")),
        (Outcome::Renamed(Renamed { from: directory, to: directory }), "080a0b0a0b".to_owned()),
        (Outcome::Inode(Box::new(inode.clone())), format!("0a{file}")),
        (
            Outcome::Layout(LayoutAnswer { stateid, extent, inode }),
            format!("10{state}ac02010201030601040105{code}{file}"),
        ),
        (Outcome::LayoutReturned(None), "1100".to_owned()),
        (Outcome::Refused(Refusal::LockDenied(conflict)), "000d01020103016f".to_owned()),
    ] {
        let slot = SlotRecord { sequence: 1, request: 2, outcomes: vec![Recorded { operation: 3, outcome }] };
        check(&slot, &format!("0101020103{bytes}"));
    }
}

#[test]
fn unknown_kinds_are_errors() {
    assert!(StateidTarget::decode(&[1, 9, 0, 0]).is_err());
    assert!(OpenRecord::decode(&[]).is_err());
}
