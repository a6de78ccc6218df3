//! Golden bytes of docs/formats/raft_log.md, and foreign records.

use std::collections::{BTreeMap, BTreeSet};

use mds_state::command::data::WorkDone;
use mds_state::command::open::{How, Open, Share, Target};
use mds_state::{Command, Entry, Origin};
use openraft::impls::BasicNode;

use super::*;
use crate::engine::entry::EncodedEntry;

fn header(record: &Record) -> RecordHeader {
    let payload_len = record.payload.iter().map(Bytes::len).sum::<usize>();
    RecordHeader {
        kind: record.kind,
        role: record.role,
        stream: record.stream,
        sub: record.sub,
        epoch: record.epoch,
        position: record.position,
        payload_len: payload_len.try_into().unwrap(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn command_bytes() {
    let session = *b"0123456789abcdef";
    let origin = Origin { session, slot: 2, sequence: 300, operation: 4, request: 128, tenure: 1 };
    let command = Command::WorkDone(WorkDone { items: vec![1, 128] });
    let entry = Entry { now_unix_ns: 1_700_000_000_000_000_000, origin: Some(origin), governor: 5, command };
    let encoded = EncodedEntry::encode(&entry).unwrap();
    let expected =
        concat!("03", "8080a8b1e39fe7cb17", "01", "30313233343536373839616263646566", "02", "ac02", "04");
    assert_eq!(hex(&encoded.bytes), format!("{expected}800101051302018001"));
    assert_eq!(encoded.decode().as_ref(), Ok(&entry));
    // The previous version's origins were not checked: they must not be checked when its log is
    // replayed.
    let before = [&[2][..], &encoded.bytes[1..31], &encoded.bytes[35..]].concat();
    assert_eq!(hex(&before[..32]), format!("02{}13", &expected[2..]));
    let before = EncodedEntry::from(Bytes::from(before)).decode();
    assert_eq!(before, Ok(Entry { origin: None, governor: 0, ..entry }));

    let open = Open {
        client: 5,
        owner: b"own".to_vec(),
        caller: mds_namespace::Caller { uid: 1000, gid: 100, gids: vec![4] },
        share: Share { access: 3, deny: 0 },
        target: Target::Create {
            directory: 1,
            name: b"f".to_vec(),
            how: How::Exclusive([7; 8]),
            attributes: mds_namespace::SetAttributes { mode: Some(0o644), ..Default::default() },
        },
    };
    let entry = Entry { now_unix_ns: 1, origin: None, governor: 0, command: Command::Open(open) };
    let encoded = EncodedEntry::encode(&entry).unwrap();
    let expected = "030100000405036f776ee807640104030001010166020707070707070707\
                    01a4030000000000";
    assert_eq!(hex(&encoded.bytes), expected.replace(' ', ""));
    assert_eq!(encoded.decode(), Ok(entry));
}

#[test]
fn damaged_commands_are_errors() {
    let entry = Entry {
        now_unix_ns: 9,
        origin: None,
        governor: 0,
        command: Command::WorkDone(WorkDone { items: vec![1, 2] }),
    };
    let bytes = EncodedEntry::encode(&entry).unwrap().bytes;
    for end in 0..bytes.len() {
        assert!(EncodedEntry::from(bytes.slice(..end)).decode().is_err(), "cut at {end}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(EncodedEntry::from(Bytes::from(longer)).decode().is_err());
    let mut newer = bytes.to_vec();
    newer[0] += 1;
    assert!(EncodedEntry::from(Bytes::from(newer)).decode().is_err());
    // A count that exceeds the content.
    let lie = [&bytes[..5], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(EncodedEntry::from(Bytes::from(lie)).decode().is_err());
    let huge = Command::WriteInline(mds_state::command::data::WriteInline {
        ino: 1,
        offset_bytes: 0,
        data: vec![0; mds_state::limits::ENTRY_BYTES_MAX],
        caller: mds_namespace::Caller::default(),
    });
    assert!(
        EncodedEntry::encode(&Entry { now_unix_ns: 0, origin: None, governor: 0, command: huge }).is_err()
    );
}

#[test]
fn records_come_back() {
    let members = Membership::new(
        vec![BTreeSet::from([1, 2])],
        BTreeMap::from([(1, BasicNode::new("a:1")), (2, BasicNode::new("b:2"))]),
    )
    .unwrap();
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Bytes::from_static(b"\x01x").into()),
        EntryPayload::Membership(members),
    ];
    for (role, payload) in (0..).zip(payloads) {
        let before = RaftEntry { log_id: log_id(3, 7), payload };
        let record = entry_record(9, &before);
        assert_eq!((record.kind, record.role, record.epoch, record.position), (1, role, 3, 7));
        assert_eq!((record.stream, record.sub), (9, 0));
        let renewed = renewed_record(9, &before);
        assert_eq!(event(&header(&renewed)), Ok(LogEvent::Renewed(log_id(3, 7))));
        assert_eq!(Record { kind: 1, ..renewed.clone() }.payload, record.payload);
        let again = entry(&header(&renewed), renewed.payload.concat().into()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{before:?}"));
        let bytes = record.payload.concat();
        if role == 2 {
            assert_eq!(hex(&bytes), "01020102020103613a310203623a32");
        }
        let after = entry(&header(&record), bytes.into()).unwrap();
        assert_eq!(format!("{after:?}"), format!("{before:?}"));
    }
    let vote = Vote { leader_id: LeaderId { term: 4, voted_for: 2 }, committed: true };
    for (record, expected) in [
        (vote_record(9, &vote), LogEvent::Vote(vote)),
        (truncate_record(9, None), LogEvent::Truncate(None)),
        (truncate_record(9, Some(9)), LogEvent::Truncate(Some(9))),
        (purge_record(9, &log_id(2, 5)), LogEvent::Purge(log_id(2, 5))),
    ] {
        assert_eq!(event(&header(&record)), Ok(expected));
        assert!(record.payload.is_empty());
        assert_eq!(record.stream, 9);
    }
}

#[test]
fn foreign_records_are_errors() {
    for (kind, role) in [(0, 0), (1, 3), (2, 2), (3, 2), (4, 1), (5, 3), (9, 0)] {
        let record = Record { kind, role, ..Record::default() };
        assert_eq!(event(&header(&record)), Err(UnknownRecord { kind, role }));
    }
    let garbled =
        Record { kind: 1, role: 2, payload: vec![Bytes::from_static(&[0xff])], ..Record::default() };
    assert!(entry(&header(&garbled), garbled.payload.concat().into()).is_none());
    let not_blank = Record { kind: 1, role: 0, ..Record::default() };
    assert!(entry(&header(&not_blank), Bytes::from_static(b"x")).is_none());
}
