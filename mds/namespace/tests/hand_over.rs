//! A living primary hands an extent over: allowed changes, no other server serves it before the old
//! primary has yielded; and what a data server holds.
//!
//! Spec: docs/protocol/admin.md §2, §4.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(dead_code, reason = "the fixture serves other tests, too")]

mod fixture;

use std::collections::BTreeSet;

use fixture::extents::{change, copies, given, id, pending, record, truncate};
use fixture::{Fs, root};
use layout::copies::Copies;
use layout::{Backup, EXTENT_BYTES, Epoch, ExtentId};
use mds_namespace::op::extent::{CopyChange, allocate};
use mds_namespace::op::hand_over::{hand_over, wait_no_longer};
use mds_namespace::op::held::{Held, held, strike_off};
use mds_namespace::op::queue::fence;
use mds_namespace::op::remove::remove;
use mds_namespace::op::{reap, work};
use mds_namespace::{ExtentRecord, ROOT_INO, WorkItem, invariants};
use proptest::prelude::*;

fn hand(fs: &mut Fs, extent: ExtentId, epoch: u64, copies: Copies) -> ExtentRecord {
    let change = CopyChange { extent, epoch: Epoch(epoch), copies };
    fs.run(|txn, _| hand_over(txn, &change)).unwrap().unwrap()
}

fn done(fs: &mut Fs, extent: ExtentId) -> ExtentRecord {
    let number = record(fs, extent).pending_work.unwrap();
    fs.run(|txn, _| work::done(txn, &[number])).unwrap();
    record(fs, extent)
}

fn yields(extent: ExtentId, epoch: u64, keep_bytes: u64) -> WorkItem {
    WorkItem::Yield { extent, home: id(1), epoch: Epoch(epoch), keep_bytes }
}

#[test]
fn no_handle_is_given_out_before_the_old_primary_has_yielded() {
    let (mut fs, extent) = given(&[2, 3]);
    let after = hand(&mut fs, extent, 1, copies(2, &[(3, false), (4, true)]));
    assert_eq!((after.home, after.epoch), (id(2), Epoch(2)));
    assert!(after.pending_work.is_some());
    assert_eq!(after.backups[1], Backup { server: id(4), since: Epoch(2), filling: true });
    assert_eq!(pending(&fs), [yields(extent, 2, EXTENT_BYTES)]);
    assert_eq!(done(&mut fs, extent).pending_work, None);
    assert_eq!(pending(&fs), []);
}

#[test]
fn an_invalid_change_changes_nothing() {
    let (mut fs, extent) = given(&[2, 3]);
    let filling = change(&mut fs, extent, copies(1, &[(2, false), (3, true)]));
    for wrong in [
        copies(3, &[(2, false)]),
        copies(4, &[(2, false)]),
        copies(2, &[(1, false)]),
        copies(1, &[(2, false)]),
        copies(2, &[(4, false)]),
        copies(2, &[(2, true)]),
    ] {
        assert_eq!(hand(&mut fs, extent, 2, wrong.clone()), filling, "{wrong:?}");
    }
    assert_eq!(hand(&mut fs, extent, 1, copies(2, &[])), filling, "the epoch is another one");
    let fenced = fs.run(|txn, _| fence(txn, extent)).unwrap();
    assert_eq!(hand(&mut fs, extent, 3, copies(2, &[])), fenced, "work is pending");
    assert_eq!(pending(&fs).len(), 1);
}

#[test]
fn other_servers_that_leave_with_the_primary_drop_the_extent() {
    let (mut fs, extent) = given(&[2, 3]);
    hand(&mut fs, extent, 1, copies(2, &[]));
    let gone = WorkItem::Drop { extent, home: id(3), epoch: Epoch(2) };
    assert_eq!(pending(&fs), [yields(extent, 2, EXTENT_BYTES), gone]);
}

#[test]
fn a_truncation_waits_for_the_new_primary_to_cut() {
    let (mut fs, extent) = given(&[2, 3]);
    hand(&mut fs, extent, 1, copies(2, &[(3, false)]));
    truncate(&mut fs, extent, 100);
    truncate(&mut fs, extent, 10);
    fs.run(|txn, _| fence(txn, extent)).unwrap();
    assert_eq!(pending(&fs), [yields(extent, 5, 10)]);
    assert!(done(&mut fs, extent).pending_work.is_some(), "not before it is cut");
    let cut = WorkItem::Cut { extent, home: id(2), epoch: Epoch(5), keep_bytes: 10, fences: false };
    assert_eq!(pending(&fs), [cut]);
    assert_eq!(done(&mut fs, extent).pending_work, None);
}

#[test]
fn a_primary_that_dies_before_it_yields_drops_the_extent_later() {
    let (mut fs, extent) = given(&[2, 3]);
    let after = hand(&mut fs, extent, 1, copies(2, &[(3, false)]));
    truncate(&mut fs, extent, 10);
    let number = record(&fs, extent).pending_work.unwrap();
    fs.run(|txn, _| wait_no_longer(txn, &[number, number, 999, after.pending_work.unwrap()])).unwrap();
    let cut = WorkItem::Cut { extent, home: id(2), epoch: Epoch(3), keep_bytes: 10, fences: false };
    let gone = WorkItem::Drop { extent, home: id(1), epoch: Epoch(3) };
    assert_eq!(pending(&fs), [gone, cut]);
    let cut = record(&fs, extent).pending_work.unwrap();
    fs.run(|txn, _| wait_no_longer(txn, &[cut])).unwrap();
    assert_eq!(record(&fs, extent).pending_work, Some(cut), "a cut is not waited for here");
}

#[test]
fn the_new_primary_may_die_as_well() {
    let (mut fs, extent) = given(&[2, 3]);
    hand(&mut fs, extent, 1, copies(2, &[(3, false)]));
    let same = record(&fs, extent);
    assert_eq!(
        change(&mut fs, extent, copies(3, &[(1, true)])),
        same,
        "a server that must drop it does not get it"
    );
    let after = change(&mut fs, extent, copies(3, &[(4, true)]));
    assert_eq!((after.home, after.epoch), (id(3), Epoch(3)));
    let gone = WorkItem::Drop { extent, home: id(2), epoch: Epoch(3) };
    assert_eq!(pending(&fs), [yields(extent, 3, EXTENT_BYTES), gone]);
}

#[test]
fn a_removed_file_is_dropped_by_the_old_primary_too() {
    let (mut fs, extent) = given(&[2, 3]);
    hand(&mut fs, extent, 1, copies(2, &[(3, false)]));
    fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"file", now)).unwrap();
    fs.run(|txn, _| reap::reap(txn, extent.ino)).unwrap();
    let told: BTreeSet<u32> = pending(&fs).iter().map(|item| item.home().0).collect();
    assert!(pending(&fs).iter().all(|item| matches!(item, WorkItem::Drop { .. })));
    assert_eq!(told, [1, 2, 3].into());
}

#[test]
fn what_a_server_holds_is_counted_and_its_work_deleted() {
    let (mut fs, extent) = given(&[2, 3]);
    let of = |fs: &Fs, server| held(&*fs.view(), id(server)).unwrap();
    assert_eq!(of(&fs, 1), Held { homes: 1, backups: 0, images: 0 });
    assert_eq!(of(&fs, 3), Held { homes: 0, backups: 1, images: 0 });
    assert_eq!(of(&fs, 4), Held::default());
    hand(&mut fs, extent, 1, copies(2, &[(3, false)]));
    assert_eq!(of(&fs, 1), Held::default());
    for index in 1..4 {
        let other = ExtentId { index, ..extent };
        fs.run(|txn, _| allocate(txn, other, id(1), &[id(2)], None)).unwrap();
        change(&mut fs, other, copies(1, &[]));
        change(&mut fs, other, copies(1, &[(2, true)]));
    }
    assert_eq!(pending(&fs).len(), 4);
    assert!(!fs.run(|txn, _| strike_off(txn, id(2), 2)).unwrap(), "two of three");
    assert!(fs.run(|txn, _| strike_off(txn, id(2), 2)).unwrap());
    assert_eq!(pending(&fs), [yields(extent, 2, EXTENT_BYTES)]);
    assert!(fs.run(|txn, _| strike_off(txn, id(1), 2)).unwrap());
    assert_eq!(record(&fs, extent).pending_work, None, "a removed server is not waited for");
}

#[derive(Clone, Debug)]
enum Act {
    Hand(Copies),
    Change(Copies),
    Fence,
    Truncate(u64),
    Done,
    Dead,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let set = || {
        let backups = prop::collection::vec((1u32..6, prop::bool::weighted(0.3)), 0..3);
        (1u32..6, backups).prop_map(|(home, backups)| copies(home, &backups))
    };
    let act = prop_oneof![
        4 => set().prop_map(Act::Hand),
        4 => set().prop_map(Act::Change),
        1 => Just(Act::Fence),
        1 => (0..EXTENT_BYTES).prop_map(Act::Truncate),
        3 => Just(Act::Done),
        1 => Just(Act::Dead),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    /// After any sequence of acts: between a living primary's service and the first handle of the
    /// next one there is its own "done" or its death. `serving` is the server that may have handles
    /// in use; the fixture's invariants check `set_attributes` and the like.
    #[test]
    fn only_one_server_serves_an_extent(acts in acts()) {
        let (mut fs, extent) = given(&[2, 3]);
        let mut serving = id(1);
        for act in acts {
            let before = record(&fs, extent);
            let waits = |fs: &Fs| {
                let number = record(fs, extent).pending_work?;
                mds_namespace::op::extent::item(&*fs.view(), number).unwrap()
            };
            match act {
                Act::Hand(copies) => {
                    let after = hand(&mut fs, extent, before.epoch.0, copies);
                    if after != before {
                        prop_assert!(before.backups.iter().any(|one| one.server == after.home && !one.filling));
                        prop_assert_eq!(before.pending_work, None);
                        let of_old = matches!(waits(&fs), Some(WorkItem::Yield { home, .. }) if home == before.home);
                        prop_assert!(of_old);
                    }
                }
                // This act is used only for a dead primary.
                Act::Change(copies) => {
                    let after = change(&mut fs, extent, copies);
                    prop_assert!(after == before || before.epoch < after.epoch);
                    if before.home == serving && after.home != before.home {
                        serving = after.home;
                    }
                }
                Act::Fence => drop(fs.run(|txn, _| fence(txn, extent)).unwrap()),
                Act::Truncate(size) => truncate(&mut fs, extent, size),
                Act::Done => {
                    if let Some(number) = before.pending_work {
                        if let Some(WorkItem::Yield { home, .. }) = waits(&fs) {
                            prop_assert_eq!(home, serving);
                            serving = before.home;
                        }
                        fs.run(|txn, _| work::done(txn, &[number])).unwrap();
                    }
                }
                Act::Dead => {
                    if let (Some(number), Some(WorkItem::Yield { home, epoch, .. })) = (before.pending_work, waits(&fs)) {
                        fs.run(|txn, _| wait_no_longer(txn, &[number])).unwrap();
                        let gone = WorkItem::Drop { extent, home, epoch };
                        prop_assert!(pending(&fs).contains(&gone));
                        serving = before.home;
                    }
                }
            }
            let now = record(&fs, extent);
            // Handles may be given out only for the serving primary.
            prop_assert!(now.pending_work.is_some() || now.home == serving);
            invariants::check(&*fs.view()).unwrap();
        }
    }
}
