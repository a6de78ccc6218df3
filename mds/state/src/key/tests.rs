//! The documented bytes of keys, and the location of keys of several shards.

use std::ops::ControlFlow;

use layout::{Backup, DataServerId, Epoch, ExtentId};
use mds_namespace::op::extent::{all_from, extents};
use mds_namespace::op::held::{Held, held};
use mds_namespace::op::work::pending;
use mds_namespace::store::mem::MemStore;
use mds_namespace::store::spread::SpreadView;
use mds_namespace::{Durability, ExtentRecord, MetaStore, View, WorkItem, codec};

use super::*;

#[test]
fn keys_have_the_documented_bytes() {
    let other = *b"abcdefghijkl";
    assert_eq!(client(0x0102), b"state/client/\0\0\0\0\0\0\x01\x02");
    assert_eq!(open(7, &other), b"state/open/\0\0\0\0\0\0\0\x07abcdefghijkl");
    let of = state_of(9, StateKind::Lock, 3, &other);
    assert_eq!(of, b"state/of/\0\0\0\0\0\0\0\x09\x02\0\0\0\0\0\0\0\x03abcdefghijkl");
    assert_eq!(parse_state_of(&of), Some((9, StateKind::Lock, 3, other)));
    assert_eq!(parse_state_of(&of[..of.len() - 1]), None);
    assert_eq!(parse_layout(&layout(5, 6)), Some((5, 6)));
    assert_eq!(draining(7), b"state/draining/\0\0\0\x07");
    assert_eq!((parse_draining(&draining(7)), parse_draining(b"state/draining/")), (Some(7), None));
    assert_eq!(handed(7), b"state/handed/\0\0\0\0\0\0\0\x07");
    assert_eq!((parse_handed(&handed(7)), parse_handed(HANDED)), (Some(7), None));
    assert_eq!(waiting(7), b"state/waiting/\0\0\0\0\0\0\0\x07");
    assert_eq!(waiting_by_age(7), b"state/waitage/\0\0\0\0\0\0\0\x07");
    assert_eq!(waiting_from(b"0123456789abcdef", 7), b"state/waitfrom/0123456789abcdef\0\0\0\0\0\0\0\x07");
    assert_eq!(file_locks(7), b"state/locks/\0\0\0\0\0\0\0\x07");
    assert_eq!(range(7, &other, 3), b"state/range/\0\0\0\0\0\0\0\x07abcdefghijkl\0\0\0\0\0\0\0\x03");
    assert_eq!(parse_range(&range(7, &other, 3)), Some(3));
    let entry = span_of(span(7, true, 64, 1, 0, 9), &other);
    let base_and_point = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09";
    let expected = [&b"state/span/\0\0\0\0\0\0\0\x07\x01\x40\x01"[..], base_and_point, &other].concat();
    assert_eq!((entry.as_slice(), parse_span(&entry)), (expected.as_slice(), Some((9, other))));
    let under = lock_under(7, &other, b"ABCDEFGHIJKL");
    assert_eq!(under, b"state/under/\0\0\0\0\0\0\0\x07abcdefghijklABCDEFGHIJKL");
    assert!(under.starts_with(&locks_under(7, &other)));
    assert_eq!(parse_lock_under(&under), Some(*b"ABCDEFGHIJKL"));
    assert_eq!(removed(b"0123456789abcdef"), b"state/removed/0123456789abcdef");
    let id = *b"\0\0\0\0\0\0\0\x07abcdefgh";
    assert_eq!(session(&id), b"state/session/\0\0\0\0\0\0\0\x07abcdefgh");
    assert!(session(&id).starts_with(&sessions_of(7)));
    assert_eq!(slot(&id, 9), b"state/slot/\0\0\0\0\0\0\0\x07abcdefgh\0\0\0\x09");
    assert_eq!((parse_slot(&slot(&id, 9)), parse_slot(&slots(&id))), (Some((id, 9)), None));
}

#[test]
fn after_is_behind_all_keys_of_the_prefix() {
    assert_eq!(after(b"state/of/\0\xff\xff"), b"state/of/\x01");
    assert!(opens(u64::MAX).as_slice() < after(&opens(u64::MAX)).as_slice());
}

const STORES: u16 = 3;

/// Two files in each of three shards, of two extents each, all with pending work; the home is
/// server 7.
fn stores() -> (Vec<MemStore>, Vec<ExtentId>) {
    let mut ids = Vec::new();
    let stores = (0..u64::from(STORES)).map(|shard| {
        let store = MemStore::new();
        let mut txn = store.begin().unwrap();
        for (low, index) in [(5, 0), (5, 1), (6, 0), (6, 1)] {
            let extent = ExtentId { ino: shard << 48 | low, index };
            let number = shard << 48 | (low * 2 + u64::from(index));
            let backup = Backup { server: DataServerId(8), since: Epoch::FIRST, filling: false };
            let home = DataServerId(7);
            let record = ExtentRecord {
                extent,
                home,
                backups: vec![backup],
                epoch: Epoch::FIRST,
                pending_work: Some(number),
                code: None,
                unpromised: false,
            };
            txn.put(&keys::extent(extent), &codec::encode_extent(&record)).unwrap();
            let item = WorkItem::Fence { extent, home, epoch: Epoch::FIRST };
            txn.put(&keys::work(number), &codec::encode_work(&item)).unwrap();
            txn.put(&layout(extent.ino, 1), b"layout").unwrap();
            ids.push(extent);
        }
        // In the order of keys, shard 0's key follows the extents.
        txn.put(&keys::SUPERBLOCK, b"first").unwrap();
        txn.commit(Durability::Memory).unwrap();
        store
    });
    (stores.collect(), ids)
}

fn spread(stores: &[MemStore]) -> SpreadView<'_> {
    SpreadView::new(STORES, Box::new(|number| stores[usize::from(number)].view()), belongs)
}

#[test]
fn a_scan_sees_every_extent_of_every_shard() {
    let (stores, ids) = stores();
    let view = spread(&stores);
    for page in [1, 3, 4, 100] {
        let (mut seen, mut from) = (Vec::new(), ExtentId { ino: 0, index: 0 });
        loop {
            let records = all_from(&view, from, page).unwrap();
            seen.extend(records.iter().map(|record| record.extent));
            let Some(last) = records.last() else { break };
            from = ExtentId { ino: last.extent.ino, index: last.extent.index + 1 };
        }
        assert_eq!(seen, ids, "in pages of {page}");
    }
    for (server, homes, backups) in [(7, 12, 0), (8, 0, 12), (9, 0, 0)] {
        let expected = Held { homes, backups, images: 0 };
        assert_eq!(held(&view, DataServerId(server)).unwrap(), expected, "server {server}");
    }
    assert_eq!(pending(&view, 0, 100).unwrap().len(), ids.len());
    let mut layouts = 0;
    view.range(&layout(0, 0), &after(b"state/layout/"), &mut |_, _| {
        layouts += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(layouts, 6);
}

#[test]
fn a_scan_of_one_file_opens_its_shard_alone() {
    let (stores, _) = stores();
    let take = |number: u16| match number {
        1 => stores[1].view(),
        other => panic!("shard {other} has nothing of the file"),
    };
    let view = SpreadView::new(STORES, Box::new(take), belongs);
    assert_eq!(extents(&view, 1 << 48 | 5, 0, 100).unwrap().len(), 2);
}

#[test]
fn keys_belong_where_their_prefixes_do() {
    let (stores, _) = stores();
    for (number, store) in (0..).zip(&stores) {
        let view = store.view().unwrap();
        let mut seen = 0;
        view.range(b"", &[0xff], &mut |key, _| {
            for end in 0..=key.len() {
                let at = belongs(&key[..end]);
                // All shards have the superblock here, and only that of shard 0 counts.
                let fits = at == Belongs::ToAny || at == Belongs::To(number) || key[0] == keys::TAG_SUPER;
                assert!(fits, "{:?} of shard {number}: {at:?}", &key[..end]);
            }
            seen += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, 11);
    }
}
