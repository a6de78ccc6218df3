//! Values of the protocol state and entries of the Raft log: postcard behind a version byte.
//!
//! Input: a byte that chooses the kind, then the bytes.

use layout::state::LayoutRecord;
use mds_namespace::store::draft::{Part, Write};
use mds_state::HeldRange;
use mds_state::command::{Outcome, Refusal, StateidValue};
use mds_state::export::Export;
use mds_state::key;
use mds_state::record::{
    ClientCounts, Counters, DataServer, ExportList, Fencing, FileLocks, Governor, Handed, Intent, LockRecord,
    OpenRecord, OwnerClients, Ranges, Recorded, Shares, SlotRecord, StateidTarget, StoredClient,
    StoredSession, Tally, Value, Waiting,
};
use wire_session::server::client_id::ClientRecord;

use super::log_entry::{entry, entry_bytes};
use super::row::{MemoryBound, Shape, Target};
use super::shard_commands;

pub(super) const TARGET: Target = Target {
    name: "shard_records",
    about: "values of the protocol state, log entries, keys of the protocol state",
    run,
    seeds,
    shape: Shape::Bytes,
    bound: MemoryBound::DECODER,
    input_bytes_max: 2048,
};

fn run(input: &[u8]) -> usize {
    let Some((choice, bytes)) = input.split_first() else { return 0 };
    let valid = match choice % 22 {
        0 => check::<Counters>(bytes),
        1 => check::<StoredClient>(bytes),
        2 => check::<OwnerClients>(bytes),
        3 => check::<Tally>(bytes),
        4 => check::<OpenRecord>(bytes),
        5 => check::<Shares>(bytes),
        6 => check::<LockRecord>(bytes),
        7 => check::<LayoutRecord>(bytes),
        8 => check::<DataServer>(bytes),
        9 => check::<StateidTarget>(bytes),
        10 => check_entry(bytes),
        11 => check_key(bytes),
        12 => check::<StoredSession>(bytes),
        14 => check::<Governor>(bytes),
        15 => check::<Intent>(bytes),
        16 => check::<ExportList>(bytes),
        17 => check::<Fencing>(bytes),
        18 => check::<Handed>(bytes),
        19 => check::<FileLocks>(bytes),
        20 => check::<ClientCounts>(bytes),
        21 => check::<Waiting>(bytes),
        _ => check::<SlotRecord>(bytes),
    };
    usize::from(valid)
}

/// What is read is written as bytes that are read as the same. The bytes may differ: postcard takes
/// long forms of short numbers.
fn check<T: Value + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = T::decode(bytes) else { return false };
    assert_eq!(T::decode(&value.encode()).as_ref(), Ok(&value));
    true
}

fn check_entry(bytes: &[u8]) -> bool {
    let Some(read) = entry(bytes) else { return false };
    assert_eq!(entry(&entry_bytes(&read)).as_ref(), Some(&read));
    true
}

fn check_key(bytes: &[u8]) -> bool {
    let of = key::parse_state_of(bytes).inspect(|(client, kind, ino, other)| {
        assert_eq!(key::state_of(*client, *kind, *ino, other), bytes);
    });
    let layout = key::parse_layout(bytes).inspect(|(ino, client)| {
        assert_eq!(key::layout(*ino, *client), bytes);
    });
    of.is_some() || layout.is_some()
}

fn seeds() -> Vec<Vec<u8>> {
    let other = *b"\x01\0\0\0\0\0\0\0\0\0\0\x07";
    let record = ClientRecord {
        client: 1,
        owner: b"owner".to_vec(),
        verifier: [2; 8],
        principal: b"who".to_vec(),
        confirmed: true,
        sequence: 3,
        implementation: "linux".into(),
    };
    let open = OpenRecord {
        other,
        seqid: 1,
        client: 1,
        owner: b"open".to_vec(),
        share: mds_state::command::open::Share { access: 3, deny: 0 },
        seen: 4,
    };
    let ranges = Ranges::Within(vec![HeldRange { first: 0, last: 10, exclusive: true }]);
    let lock = LockRecord { other, seqid: 1, client: 1, owner: b"lock".to_vec(), open: other, ranges };
    let layout = LayoutRecord { other, seqid: 1, read: true, read_write: false, recall_seqid: Some(2) };
    let server = DataServer {
        id: 1,
        uuid: [1; 16],
        addresses: vec!["10.0.0.1.8.1".into()],
        control: "h:1".into(),
        capacity_bytes: 1 << 40,
        zone: "z".into(),
        rack: String::new(),
        host: "h".into(),
        name: "n".into(),
    };
    let target = StateidTarget { kind: mds_state::record::StateKind::Layout, ino: 1, client: 1 };
    let mut seeds = vec![
        Counters::default().encode(),
        StoredClient { record, reclaim_complete: true }.encode(),
        OwnerClients { confirmed: Some(1), unconfirmed: None }.encode(),
        Tally { opens: 1, locks: 2, layouts: 300, ranges: 4 }.encode(),
        open.encode(),
        Shares { opens: 1, read: 1, write: 0, deny_read: 0, deny_write: 0 }.encode(),
        lock.encode(),
        layout.encode(),
        server.encode(),
        target.encode(),
    ];
    for (number, seed) in (0..).zip(&mut seeds) {
        seed.insert(0, number);
    }
    seeds.extend(shard_commands::commands().iter().map(|entry| [&[10][..], &entry_bytes(entry)].concat()));
    let apart = LockRecord { ranges: Ranges::Apart(9), ..lock };
    seeds.push([&[6][..], &apart.encode()].concat());
    seeds.extend(later_seeds(other));
    seeds
}

/// Of records that came later.
fn later_seeds(other: [u8; 12]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let session = StoredSession { record: shard_commands::session_record(), tenure: 3 };
    seeds.push([&[12][..], &session.encode()].concat());
    let outcomes = [
        Outcome::Done,
        Outcome::Refused(Refusal::StaleClient),
        Outcome::Stateid(StateidValue { seqid: 1, other }),
        Outcome::Group(300),
    ];
    let outcomes = (0..).zip(outcomes).map(|(operation, outcome)| Recorded { operation, outcome }).collect();
    seeds.push([&[13][..], &SlotRecord { sequence: 9, request: 300, outcomes }.encode()].concat());
    let open = mds_state::record::StateKind::Open;
    seeds.push([&[11][..], &key::state_of(1, open, 2, &other)].concat());
    seeds.push([&[14][..], &Governor { term: 7 }.encode()].concat());
    let writes = vec![Write { key: b"i1234567".to_vec(), value: Some(vec![1, 2]) }];
    seeds.push([&[15][..], &Intent { parts: vec![Part { shard: 3, writes }] }.encode()].concat());
    let exports = ExportList::default().replaced_by(&[Export::everything()]).expect("ids are left");
    seeds.push([&[16][..], &exports.encode()].concat());
    seeds.push([&[11][..], &key::layout(2, 1)].concat());
    seeds.push([&[17][..], &Fencing::default().and(2, [1, 7]).encode()].concat());
    seeds.push([&[18][..], &Handed { exports: vec![3] }.encode()].concat());
    let sum = FileLocks { lockers: 1, reads: [(3, 1)].into(), writes: [(64, 2)].into() };
    seeds.push([&[19][..], &sum.encode()].concat());
    seeds.push(
        [&[20][..], &ClientCounts { clients: 300, waiting: 2, next: 9, sessions: 5 }.encode()].concat(),
    );
    seeds.push([&[21][..], &Waiting { number: 300, address: [1; 16] }.encode()].concat());
    seeds
}
