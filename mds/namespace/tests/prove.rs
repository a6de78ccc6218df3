//! A new primary shows what it has before another server forgets it: what is asked of whom, and
//! that no change leaves fewer copies than that needs.
//!
//! Spec: docs/protocol/replicate.md §4.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(dead_code, reason = "the fixture serves other tests, too")]

mod fixture;

use std::collections::BTreeSet;

use fixture::extents::{change, copies, id, pending, promised, record, truncate};
use fixture::{Fs, root};
use layout::copies::{Copies, Formers};
use layout::{DataServerId, EXTENT_BYTES, Epoch, ExtentId};
use mds_namespace::op::extent::CopyChange;
use mds_namespace::op::formers::formers;
use mds_namespace::op::hand_over::{hand_over, wait_no_longer};
use mds_namespace::op::held::strike_off;
use mds_namespace::op::queue::fence;
use mds_namespace::op::remove::remove;
use mds_namespace::op::{reap, work};
use mds_namespace::{ExtentRecord, ROOT_INO, WorkItem, invariants};
use proptest::prelude::*;

fn done(fs: &mut Fs, extent: ExtentId) -> ExtentRecord {
    let number = record(fs, extent).pending_work.unwrap();
    fs.run(|txn, _| work::done(txn, &[number])).unwrap();
    invariants::check(&*fs.view()).unwrap();
    record(fs, extent)
}

fn proves(extent: ExtentId, home: u32, epoch: u64, keep_bytes: u64, formers: &[u32]) -> WorkItem {
    let formers = Formers::new(formers.iter().copied().map(id)).unwrap();
    WorkItem::Prove { extent, home: id(home), epoch: Epoch(epoch), keep_bytes, formers }
}

fn fences(extent: ExtentId, home: u32, epoch: u64) -> WorkItem {
    WorkItem::Fence { extent, home: id(home), epoch: Epoch(epoch) }
}

fn drops(extent: ExtentId, home: u32, epoch: u64) -> WorkItem {
    WorkItem::Drop { extent, home: id(home), epoch: Epoch(epoch) }
}

#[test]
fn a_primary_keeps_what_it_has_until_the_next_one_has_shown_that_it_has_it() {
    let (mut fs, extent) = promised(&[2]);
    let after = change(&mut fs, extent, copies(2, &[(3, true)]));
    assert!(after.pending_work.is_some(), "no handle is given out");
    assert_eq!(pending(&fs), [proves(extent, 2, 2, EXTENT_BYTES, &[1]), fences(extent, 1, 2)]);
    assert_eq!(done(&mut fs, extent).pending_work, None);
    assert_eq!(pending(&fs), [fences(extent, 1, 2), drops(extent, 1, 2)]);
    assert_eq!(formers(&*fs.view(), &record(&fs, extent)).unwrap(), None);
}

#[test]
fn a_primary_that_comes_back_is_primary_again_if_the_next_one_has_shown_nothing() {
    let (mut fs, extent) = promised(&[2]);
    let waits = change(&mut fs, extent, copies(2, &[]));
    assert_eq!(
        change(&mut fs, extent, copies(2, &[(1, true)])),
        waits,
        "it would count as one that has nothing"
    );
    assert_eq!(
        change(&mut fs, extent, copies(1, &[(2, true)])),
        waits,
        "so would the one that shows nothing"
    );
    let again = change(&mut fs, extent, copies(1, &[(3, true)]));
    assert_eq!((again.home, again.epoch), (id(1), Epoch(3)));
    let fenced = [fences(extent, 1, 2), proves(extent, 1, 3, EXTENT_BYTES, &[2]), fences(extent, 2, 3)];
    assert_eq!(pending(&fs), fenced);
    done(&mut fs, extent);
    assert_eq!(pending(&fs), [fences(extent, 1, 2), fences(extent, 2, 3), drops(extent, 2, 3)]);
    let other = change(&mut fs, extent, copies(2, &[]));
    assert_eq!(other.home, id(1), "who was former once is not for ever");
}

#[test]
fn all_that_had_everything_keep_it() {
    let (mut fs, extent) = promised(&[2, 3]);
    change(&mut fs, extent, copies(2, &[(3, false), (4, true)]));
    let filled = change(&mut fs, extent, copies(2, &[(3, false), (4, false)]));
    assert_eq!(filled.epoch, Epoch(2), "a primary that has shown nothing fills no replica");
    assert_eq!(change(&mut fs, extent, copies(2, &[(3, true)])).epoch, Epoch(2), "it has everything");
    change(&mut fs, extent, copies(2, &[(5, true)]));
    assert_eq!(pending(&fs).last(), Some(&drops(extent, 4, 3)), "it had not");
    assert!(pending(&fs).contains(&proves(extent, 2, 3, EXTENT_BYTES, &[3, 1])));
    change(&mut fs, extent, copies(3, &[]));
    assert!(pending(&fs).contains(&proves(extent, 3, 4, EXTENT_BYTES, &[2, 1])));
    done(&mut fs, extent);
    let dropped: BTreeSet<u32> = pending(&fs)
        .iter()
        .filter(|item| matches!(item, WorkItem::Drop { .. }))
        .map(|item| item.home().0)
        .collect();
    assert_eq!(dropped, [1, 2, 4, 5].into());
}

#[test]
fn what_is_asked_for_meanwhile_is_done_when_the_primary_has_shown_what_it_has() {
    let (mut fs, extent) = promised(&[2]);
    truncate(&mut fs, extent, 1000);
    change(&mut fs, extent, copies(2, &[]));
    assert!(
        pending(&fs).contains(&proves(extent, 2, 3, 1000, &[1])),
        "the cut that the primary before did not do"
    );
    fs.run(|txn, _| fence(txn, extent)).unwrap();
    truncate(&mut fs, extent, 10);
    let waits = record(&fs, extent);
    let cut = WorkItem::Cut { extent, home: id(2), epoch: waits.epoch, keep_bytes: 10, fences: false };
    assert!(pending(&fs).contains(&proves(extent, 2, waits.epoch.0, 10, &[1])));
    assert!(done(&mut fs, extent).pending_work.is_some());
    assert!(pending(&fs).contains(&cut) && pending(&fs).contains(&drops(extent, 1, waits.epoch.0)));
}

#[test]
fn former_servers_drop_a_file_that_goes() {
    let (mut fs, extent) = promised(&[2]);
    change(&mut fs, extent, copies(2, &[(3, true)]));
    fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"file", now)).unwrap();
    fs.run(|txn, _| reap::reap(txn, extent.ino)).unwrap();
    invariants::check(&*fs.view()).unwrap();
    let is_drop = |item: &&WorkItem| matches!(item, WorkItem::Drop { .. });
    let told: BTreeSet<u32> = pending(&fs).iter().filter(is_drop).map(|item| item.home().0).collect();
    assert_eq!(told, [1, 2, 3].into());
}

#[test]
fn one_that_is_gone_for_good_is_former_no_more() {
    let (mut fs, extent) = promised(&[2, 3]);
    change(&mut fs, extent, copies(2, &[]));
    assert!(fs.run(|txn, _| strike_off(txn, id(1), 9)).unwrap());
    assert_eq!(pending(&fs), [proves(extent, 2, 2, EXTENT_BYTES, &[3]), fences(extent, 3, 2)]);
    assert!(fs.run(|txn, _| strike_off(txn, id(3), 9)).unwrap());
    assert_eq!(
        (pending(&fs), record(&fs, extent).pending_work),
        (vec![], None),
        "there is no server to go back to"
    );
}

#[test]
fn a_primary_that_dies_while_it_hands_over_keeps_what_it_has() {
    let (mut fs, extent) = promised(&[2]);
    let change = CopyChange { extent, epoch: Epoch(1), copies: copies(2, &[]) };
    let yielding = fs.run(|txn, _| hand_over(txn, &change)).unwrap().unwrap();
    fs.run(|txn, _| wait_no_longer(txn, &[yielding.pending_work.unwrap()])).unwrap();
    invariants::check(&*fs.view()).unwrap();
    assert_eq!(pending(&fs), [proves(extent, 2, 3, EXTENT_BYTES, &[1]), fences(extent, 1, 3)]);
}

fn sets() -> impl Strategy<Value = Vec<Option<Copies>>> {
    let backups = prop::collection::vec((1u32..6, any::<bool>()), 0..3);
    let act = prop_oneof![
        6 => (1u32..6, backups).prop_map(|(home, backups)| Some(copies(home, &backups))),
        1 => Just(None),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    /// Whatever is asked, `None` being that the primary has shown what it has: from then until the
    /// next time each server that had everything is primary, a replica that counts as such, or a
    /// former one, is told to drop nothing, and no other one is primary.
    #[test]
    fn no_server_forgets_before_a_primary_has_shown_what_it_has(sets in sets()) {
        let (mut fs, extent) = promised(&[2, 3]);
        let whole = |record: &ExtentRecord| -> BTreeSet<DataServerId> {
            let backups = record.backups.iter().filter(|one| !one.filling).map(|one| one.server);
            backups.chain([record.home]).collect()
        };
        let mut had: BTreeSet<DataServerId> = whole(&record(&fs, extent));
        for set in sets {
            let before = record(&fs, extent);
            match set {
                Some(copies) => { change(&mut fs, extent, copies); }
                None if before.pending_work.is_some() => {
                    done(&mut fs, extent);
                    had = whole(&record(&fs, extent));
                }
                None => {}
            }
            let now = record(&fs, extent);
            match formers(&*fs.view(), &now).unwrap() {
                Some(formers) => {
                    let mut have = whole(&now);
                    have.extend(formers.iter());
                    prop_assert_eq!(&have, &had);
                    let since = |item: &WorkItem| matches!(item, WorkItem::Drop { home, epoch, .. } if had.contains(home) && *epoch == now.epoch);
                    prop_assert!(!pending(&fs).iter().any(since));
                }
                None => {
                    prop_assert!(now.home == before.home || had.contains(&now.home));
                    had = whole(&now);
                }
            }
        }
    }
}
