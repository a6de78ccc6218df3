//! Locks of many owners: compared to a list, and the number of records that a lock reads.

use std::cell::Cell;

use mds_namespace::store::Visit;
use mds_namespace::{StoreError, Txn, View};
use proptest::prelude::*;

use super::*;
use crate::command::lock::{Conflict, FreeStateid, Lock, Locker, Range, Unlock};
use crate::key;
use crate::limits::RANGES_PER_CLIENT_MAX;
use crate::lock_ranges::HeldRange;
use crate::record::{LockRecord, Ranges, StateKind, Value};

/// A transaction that counts the records that are read.
struct Counted<'a> {
    txn: &'a mut dyn Txn,
    looked: Cell<usize>,
}

impl View for Counted<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.looked.set(self.looked.get() + 1);
        self.txn.read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.looked.set(self.looked.get() + 1);
        self.txn.range(from, to, &mut |key, value| {
            self.looked.set(self.looked.get() + 1);
            visit(key, value)
        })
    }
}

impl Txn for Counted<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.looked.set(self.looked.get() + 1);
        self.txn.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.looked.set(self.looked.get() + 1);
        self.txn.delete(key)
    }

    fn commit(self: Box<Self>, _: Durability) -> Result<(), StoreError> {
        Err(StoreError::Engine("the test does".to_owned()))
    }
}

fn entry(command: Command) -> Entry {
    Entry { now_unix_ns: 1, origin: None, governor: 0, command }
}

struct File {
    stage: Stage,
    client: u64,
    open: Opened,
}

impl File {
    fn new() -> Self {
        let mut stage = Stage::new();
        let client = stage.client("a");
        let open = stage.open(client, "o", BOTH, create_target("f", How::Unchecked));
        Self { stage, client, open }
    }

    fn lock(&self, owner: u32, exclusive: bool, offset_bytes: u64, length_bytes: u64) -> Command {
        let owner = owner.to_be_bytes().to_vec();
        let locker = Locker::New { open: self.open.stateid, owner };
        let range = Range { offset_bytes, length_bytes };
        Command::Lock(Lock { client: self.client, ino: self.open.inode.ino, exclusive, range, locker })
    }

    fn held(&self, owner: u32) -> Vec<HeldRange> {
        let view = self.stage.view();
        let ino = self.open.inode.ino;
        let locks = view.locks_of(ino).unwrap();
        let lock = locks.iter().find(|lock| lock.owner == owner.to_be_bytes());
        lock.map_or_else(Vec::new, |lock| {
            let ranges = view.ranges_of(ino, lock).unwrap();
            assert_eq!(ranges.len(), lock.count());
            ranges
        })
    }
}

/// Applies a command. Returns how many records it read, and its outcome.
pub(super) fn records_read(stage: &Stage, command: Command) -> (usize, Outcome) {
    let mut txn = stage.store.begin().unwrap();
    let mut counted = Counted { txn: &mut *txn, looked: Cell::new(0) };
    let outcome = crate::apply::apply(&mut counted, &entry(command)).unwrap();
    let looked = counted.looked.get();
    txn.commit(Durability::Memory).unwrap();
    (looked, outcome)
}

/// Gives owners the ranges of these lists, as in version 1.
fn fill(file: &File, ranges: impl IntoIterator<Item = Vec<HeldRange>>) {
    let mut txn = file.stage.store.begin().unwrap();
    let ino = file.open.inode.ino;
    for (number, ranges) in (0_u64..).zip(ranges) {
        let other = crate::record::other(StateKind::Lock, 0, (1 << 32) + number);
        let owner = u32::try_from(number).unwrap().to_be_bytes().to_vec();
        txn.put(&key::locker(ino, file.client, &owner), &other).unwrap();
        let (client, open) = (file.client, file.open.stateid.other);
        let lock = LockRecord { other, seqid: 1, client, owner, open, ranges: Ranges::Within(ranges) };
        txn.put(&key::lock(ino, &other), &lock.encode()).unwrap();
    }
    txn.commit(Durability::Memory).unwrap();
}

fn write_at(at: u64) -> HeldRange {
    HeldRange { first: at * 10, last: at * 10 + 4, exclusive: true }
}

fn read_at(at: u64) -> HeldRange {
    let first = (1 << 40) + at * 10;
    HeldRange { first, last: first + 14, exclusive: false }
}

/// Makes the ranges of each owner from their total number.
type Fill<'a> = &'a dyn Fn(u64) -> Vec<Vec<HeldRange>>;

/// A lock among a hundred thousand costs about as much as one among a few: of one owner, and of
/// many owners.
#[test]
fn a_lock_reads_only_its_neighbours() {
    let of_many =
        |count: u64| (0..count / 2).flat_map(|at| [vec![write_at(at)], vec![read_at(at)]]).collect();
    let of_one = |count: u64| vec![(0..count).map(write_at).collect::<Vec<_>>()];
    let cases: [(&str, u64, Fill<'_>); 2] = [("many", 100_000, &of_many), ("one", 20_000, &of_one)];
    for (owners, count, ranges) in cases {
        let costs = [100_u64, count].map(|count| {
            let file = File::new();
            fill(&file, ranges(count));
            let (_, converted) = records_read(&file.stage, file.lock(u32::MAX, true, 1 << 50, 1));
            assert!(matches!(converted, Outcome::Stateid(_)), "{converted:?}");
            let middle = count / 4 * 10;
            let (lock, done) = records_read(&file.stage, file.lock(u32::MAX, true, middle + 5, 2));
            assert!(matches!(done, Outcome::Stateid(_)), "{done:?}");
            let (read, done) = records_read(&file.stage, file.lock(0, false, (1 << 40) + middle, 30));
            assert!(matches!(done, Outcome::Stateid(_)), "{done:?}");
            let (denied, done) = records_read(&file.stage, file.lock(u32::MAX, true, middle + 4, 1));
            assert!(matches!(done, Outcome::Refused(Refusal::LockDenied(_))), "{done:?}");
            [lock, read, denied]
        });
        for (few, many) in costs[0].iter().zip(&costs[1]) {
            // The tree of the many has ten levels more, each of two nodes.
            assert!(*many <= few + 60 && *many < 200, "{owners} owners: {few} records, then {many}");
        }
    }
}

#[test]
fn the_ranges_of_a_client_are_bounded_and_counted() {
    let mut file = File::new();
    let (client, ino, max) = (file.client, file.open.inode.ino, RANGES_PER_CLIENT_MAX);
    for at in 0..60 {
        let lock = file.lock(0, true, at * 2, 1);
        file.stage.run(lock);
    }
    let tally = file.stage.view().tally(client).unwrap();
    assert_eq!(tally.ranges, 60);
    let count = |ranges| {
        let mut txn = file.stage.store.begin().unwrap();
        let tally = crate::record::Tally { ranges, ..tally.clone() };
        txn.put(&key::tally(client), &tally.encode()).unwrap();
        txn.commit(Durability::Memory).unwrap();
    };
    count(max);

    let asked = |command| records_read(&file.stage, command).1;
    assert_eq!(asked(file.lock(2, true, 1, 1)), Outcome::Refused(Refusal::TableFull));
    // A lock that makes room is allowed: 50 ranges and the one that they touch become one.
    assert!(matches!(asked(file.lock(0, true, 0, 100)), Outcome::Stateid(_)));
    assert_eq!(file.stage.view().tally(client).unwrap().ranges, max - 50);
    count(10);
    file.stage.close(client, ino, file.open.stateid);
    assert_eq!(file.stage.view().tally(client).unwrap().ranges, 0);
    let left = file.stage.dump().iter().filter(|(key, _)| is_of_locks(key)).count();
    assert_eq!(left, 0, "nothing is left of them");
    file.stage.check();
}

fn is_of_locks(key: &[u8]) -> bool {
    let words =
        ["state/lock/", "state/locker/", "state/locks/", "state/range/", "state/span/", "state/under/"];
    words.iter().any(|word| key.starts_with(word.as_bytes()))
}

/// Writes the records of a file as version 1 did.
fn as_version_1(stage: &Stage, ino: Ino, client: u64) {
    let view = stage.view();
    let records: Vec<LockRecord> = view.locks_of(ino).unwrap();
    let mut txn = stage.store.begin().unwrap();
    for lock in records {
        let ranges = Ranges::Within(view.ranges_of(ino, &lock).unwrap());
        txn.put(&key::lock(ino, &lock.other), &LockRecord { ranges, ..lock }.encode()).unwrap();
    }
    txn.commit(Durability::Memory).unwrap();
    forget_tree(stage, client);
}

/// Removes the keys that version 1 did not have.
fn forget_tree(stage: &Stage, client: u64) {
    let view = stage.view();
    let mut txn = stage.store.begin().unwrap();
    for (key, _) in stage.dump() {
        let was_there = key.starts_with(b"state/lock/") || key.starts_with(b"state/locker/");
        if is_of_locks(&key) && !was_there {
            txn.delete(&key).unwrap();
        }
    }
    let tally = crate::record::Tally { ranges: 0, ..view.tally(client).unwrap() };
    txn.put(&key::tally(client), &tally.encode()).unwrap();
    txn.commit(Durability::Memory).unwrap();
}

#[test]
fn locks_of_version_1_are_read_and_converted() {
    let mut file = File::new();
    let (client, ino) = (file.client, file.open.inode.ino);
    for at in 0..10_u64 {
        let lock = file.lock(u32::try_from(at).unwrap() % 3, at % 2 == 0, at * 10, 5);
        file.stage.run(lock);
    }
    let after = file.stage.dump();
    let range = |offset_bytes| Range { offset_bytes, length_bytes: 5 };
    let asked = |file: &File, offset| {
        file.stage.view().lock_conflict(ino, range(offset), false, client, b"other").unwrap()
    };
    let conflict = asked(&file, 24);
    as_version_1(&file.stage, ino, client);
    assert_eq!(asked(&file, 24), conflict);
    assert_eq!(conflict.map(|conflict| conflict.range), Some(range(20)));
    assert_eq!(asked(&file, 15), None);
    assert_eq!(file.stage.view().lock_holders(ino, range(0), true), Ok(vec![client]));
    assert_eq!(file.held(1).len(), 3);

    // After an owner's first change the store is as without the conversion, but for the sequence.
    let lock = file.lock(0, true, 0, 5);
    file.stage.run(lock.clone());
    let converted = file.stage.dump();
    let without_seqid = |pairs: Pairs| -> Pairs {
        pairs.into_iter().filter(|(key, _)| !key.starts_with(b"state/lock/")).collect()
    };
    assert_eq!(without_seqid(converted), without_seqid(after));
    file.stage.check();

    as_version_1(&file.stage, ino, client);
    file.stage.close(client, ino, file.open.stateid);
    assert!(!file.stage.dump().iter().any(|(key, _)| is_of_locks(key)));
    file.stage.check();
}

const BYTES: u64 = 48;
const OWNERS: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Act {
    Lock { exclusive: bool },
    Unlock,
    Free,
}

fn acts() -> impl Strategy<Value = Vec<(u32, u64, u64, Act)>> {
    let act = prop_oneof![
        4 => any::<bool>().prop_map(|exclusive| Act::Lock { exclusive }),
        2 => Just(Act::Unlock),
        1 => Just(Act::Free),
    ];
    prop::collection::vec((0..OWNERS, 0..BYTES, 1..BYTES, act), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The tree agrees with a naive list of the holder of each byte.
    #[test]
    fn locks_match_a_list(acts in acts(), high in prop_oneof![Just(0), Just(u64::MAX - BYTES), Just((1 << 63) - 20)]) {
        let mut file = File::new();
        let (client, ino) = (file.client, file.open.inode.ino);
        let mut model: Vec<Vec<Option<bool>>> = vec![vec![None; 2 * BYTES as usize]; OWNERS as usize];
        for (owner, offset, length, act) in acts {
            let bytes = offset as usize..(offset + length).min(BYTES) as usize;
            let length = bytes.len() as u64;
            let stateid = file.stage.view().locks_of(ino).unwrap().into_iter()
                .find(|lock| lock.owner == owner.to_be_bytes()).map(|lock| lock.stateid());
            match (act, stateid) {
                (Act::Lock { exclusive }, _) => {
                    let in_the_way = (0..OWNERS as usize).filter(|other| *other != owner as usize).any(|other| {
                        model[other][bytes.clone()].iter().flatten().any(|held| exclusive || *held)
                    });
                    let command = file.lock(owner, exclusive, high + offset, length);
                    match file.stage.run(command) {
                        Outcome::Stateid(_) => {
                            prop_assert!(!in_the_way);
                            model[owner as usize][bytes].fill(Some(exclusive));
                        }
                        Outcome::Refused(Refusal::LockDenied(Conflict { range, exclusive: held, owner: other, .. })) => {
                            prop_assert!(in_the_way);
                            let other = u32::from_be_bytes(other.try_into().unwrap());
                            prop_assert!(other != owner && (exclusive || held));
                            let at = (range.offset_bytes - high) as usize;
                            let held_bytes = &model[other as usize][at..at + range.length_bytes as usize];
                            prop_assert!(held_bytes.iter().all(|byte| *byte == Some(held)));
                            prop_assert!(at < bytes.end && bytes.start < at + range.length_bytes as usize);
                        }
                        outcome => panic!("{outcome:?}"),
                    }
                }
                (Act::Unlock, Some(stateid)) => {
                    let range = Range { offset_bytes: high + offset, length_bytes: length };
                    file.stage.run(Command::Unlock(Unlock { client, ino, stateid, range }));
                    model[owner as usize][bytes].fill(None);
                }
                (Act::Free, Some(stateid)) => {
                    let freed = file.stage.run(Command::FreeStateid(FreeStateid { client, stateid }));
                    let holds = model[owner as usize].iter().any(Option::is_some);
                    prop_assert_eq!(freed == Outcome::Done, !holds);
                }
                (Act::Unlock | Act::Free, None) => {}
            }
            for owner in 0..OWNERS {
                let mut bytes = vec![None; 2 * BYTES as usize];
                for range in file.held(owner) {
                    bytes[(range.first - high) as usize..=(range.last - high) as usize].fill(Some(range.exclusive));
                }
                prop_assert_eq!(&bytes, &model[owner as usize]);
            }
        }
        file.stage.check();
        let locks = file.stage.view().of_client(client, StateKind::Lock, usize::MAX).unwrap();
        prop_assert_eq!(locks.len(), file.stage.view().locks_of(ino).unwrap().len());
        file.stage.close(client, ino, file.open.stateid);
        prop_assert!(!file.stage.dump().iter().any(|(key, _)| is_of_locks(key)));
    }
}
