//! Both stores against a plain map: reads within and without transactions, ranges, aborts, crashes,
//! transfer.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use mds_namespace::limits::DISK_CACHE_BYTES_DEFAULT;
use mds_namespace::store::disk::DiskStore;
use mds_namespace::store::mem::MemStore;
use mds_namespace::store::transfer::{self, Pairs};
use mds_namespace::{Durability, MetaStore, StoreError, View};
use proptest::prelude::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn range(view: &dyn View, from: &[u8], to: &[u8], pairs_max: usize) -> Pairs {
    let mut pairs = Pairs::new();
    view.range(from, to, &mut |key, value| {
        if pairs.len() == pairs_max {
            return ControlFlow::Break(());
        }
        pairs.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    pairs
}

fn model_range(map: &Map, from: &[u8], to: &[u8], pairs_max: usize) -> Pairs {
    map.iter()
        .filter(|(key, _)| from <= key.as_slice() && key.as_slice() < to)
        .take(pairs_max)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0_u8..4, 0..4)
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, u8),
    Delete(Vec<u8>),
    Range(Vec<u8>, Vec<u8>, usize),
    Commit,
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Delete),
        3 => (key(), key(), 0_usize..5).prop_map(|(from, to, max)| Step::Range(from, to, max)),
        1 => Just(Step::Commit),
        1 => Just(Step::Abort),
    ]
}

fn follow(store: &dyn MetaStore, steps: &[Step]) {
    let mut committed = Map::new();
    let mut open = Map::new();
    let mut txn = store.begin().unwrap();
    for step in steps {
        match step {
            Step::Put(key, value) => {
                txn.put(key, &[*value]).unwrap();
                open.insert(key.clone(), vec![*value]);
            }
            Step::Delete(key) => {
                txn.delete(key).unwrap();
                open.remove(key);
                assert_eq!(txn.get(key).unwrap(), None);
            }
            Step::Range(from, to, max) => {
                assert_eq!(range(&*txn, from, to, *max), model_range(&open, from, to, *max));
                let view = store.view().unwrap();
                assert_eq!(range(&*view, from, to, *max), model_range(&committed, from, to, *max));
                assert_eq!(txn.get(from).unwrap().as_ref(), open.get(from));
            }
            Step::Commit => {
                txn.commit(Durability::Memory).unwrap();
                committed = open.clone();
                txn = store.begin().unwrap();
            }
            Step::Abort => {
                drop(txn);
                open = committed.clone();
                txn = store.begin().unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn memory_is_a_map(steps in proptest::collection::vec(step(), 0..60)) {
        follow(&MemStore::new(), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn disk_is_a_map(steps in proptest::collection::vec(step(), 0..60)) {
        let dir = tempfile::tempdir().unwrap();
        follow(&DiskStore::open(&dir.path().join("store"), DISK_CACHE_BYTES_DEFAULT).unwrap(), &steps);
    }
}

fn put(store: &dyn MetaStore, key: &[u8], durability: Durability) {
    let mut txn = store.begin().unwrap();
    txn.put(key, b"value").unwrap();
    txn.commit(durability).unwrap();
}

#[test]
fn a_view_does_not_see_later_commits() {
    let dir = tempfile::tempdir().unwrap();
    let disk = DiskStore::open(&dir.path().join("store"), DISK_CACHE_BYTES_DEFAULT).unwrap();
    for store in [&MemStore::new() as &dyn MetaStore, &disk] {
        let before = store.view().unwrap();
        put(store, b"key", Durability::Memory);
        assert_eq!(before.get(b"key").unwrap(), None);
        assert_eq!(store.view().unwrap().get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    }
}

#[test]
fn a_crash_of_a_store_in_memory_loses_what_was_not_synced() {
    let store = MemStore::new();
    put(&store, b"a", Durability::Memory);
    put(&store, b"b", Durability::Synced);
    put(&store, b"c", Durability::Memory);
    store.crash();
    let keys: Vec<_> = range(&*store.view().unwrap(), b"", b"z", 9).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a".to_vec(), b"b".to_vec()]);
}

#[test]
fn disk_comes_back_as_the_last_checkpoint_left_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("store"), dir.path().join("crashed"));
    let store = DiskStore::open(&path, DISK_CACHE_BYTES_DEFAULT).unwrap();
    put(&store, b"a", Durability::Memory);
    store.checkpoint().unwrap();
    put(&store, b"b", Durability::Memory);
    // A copy of the file of a live process is what a crash would leave.
    std::fs::copy(&path, &crashed).unwrap();
    let store = DiskStore::open(&crashed, DISK_CACHE_BYTES_DEFAULT).unwrap();
    let view = store.view().unwrap();
    assert!(view.get(b"a").unwrap().is_some());
    assert!(view.get(b"b").unwrap().is_none());
    assert!(store.bytes_on_disk() > 0);
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    std::fs::write(&path, [7; 8192]).unwrap();
    assert!(matches!(DiskStore::open(&path, DISK_CACHE_BYTES_DEFAULT), Err(StoreError::Engine(_))));
}

#[test]
fn a_store_moves_in_chunks_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let source = MemStore::new();
    let mut txn = source.begin().unwrap();
    for number in 0_u16..500 {
        txn.put(&number.to_be_bytes(), &[0; 10]).unwrap();
    }
    txn.commit(Durability::Memory).unwrap();
    let whole = range(&*source.view().unwrap(), b"", &[0xff], usize::MAX);
    for (turn, chunk_bytes) in [1, 100, 1 << 20].into_iter().enumerate() {
        let target = DiskStore::open(&dir.path().join(turn.to_string()), DISK_CACHE_BYTES_DEFAULT).unwrap();
        put(&target, b"old", Durability::Synced);
        let view = source.view().unwrap();
        let mut after: Option<Vec<u8>> = None;
        let chunks = std::iter::from_fn(|| {
            let pairs = transfer::export(&*view, after.as_deref(), chunk_bytes).unwrap();
            after = pairs.last().map(|(key, _)| key.clone());
            (!pairs.is_empty()).then_some(Ok(pairs))
        });
        transfer::replace(&target, chunks).unwrap();
        assert_eq!(range(&*target.view().unwrap(), b"", &[0xff], usize::MAX), whole);
    }
}

/// A process that dies while it makes a store leaves none: a file under the store's name is
/// complete from the first moment on.
#[test]
fn a_store_exists_complete_or_not_at_all() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        std::thread::scope(|scope| {
            let seen = scope.spawn(|| {
                loop {
                    if let Ok(seen) = std::fs::read(&path) {
                        return seen;
                    }
                }
            });
            let store = DiskStore::open(&path, DISK_CACHE_BYTES_DEFAULT).unwrap();
            assert!(seen.join().unwrap().starts_with(b"redb"));
            assert!(DiskStore::open(&path, DISK_CACHE_BYTES_DEFAULT).is_err(), "another process has it");
            drop(store);
        });
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}

/// The rest of an incomplete store does not keep the next one from being made, nor does an empty
/// file.
#[test]
fn an_incomplete_store_is_made_again() {
    for (name, left) in [("store.new", vec![0; 10_000]), ("store.new", Vec::new()), ("store", Vec::new())] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), left).unwrap();
        let open = || DiskStore::open(&dir.path().join("store"), DISK_CACHE_BYTES_DEFAULT).unwrap();
        let store = open();
        let mut txn = store.begin().unwrap();
        txn.put(b"k", b"v").unwrap();
        txn.commit(Durability::Synced).unwrap();
        drop(store);
        assert_eq!(open().view().unwrap().get(b"k").unwrap(), Some(b"v".to_vec()));
        assert!(!dir.path().join("store.new").exists());
    }
}
