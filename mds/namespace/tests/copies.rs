//! Who keeps an extent: what a change may do, what it leaves to be done, and that no change loses
//! bytes.
//!
//! Spec: docs/protocol/replicate.md §3, §4.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(dead_code, reason = "the fixture serves other tests, too")]

mod fixture;

use fixture::extents::{copies, given, id, record};
use fixture::{Fs, root};
use layout::copies::Copies;
use layout::{Backup, EXTENT_BYTES, Epoch, ExtentId};
use mds_namespace::op::copies::change_copies;
use mds_namespace::op::extent::{CopyChange, all_from, allocate};
use mds_namespace::op::queue::fence;
use mds_namespace::op::remove::remove;
use mds_namespace::op::setattr::set_attributes;
use mds_namespace::op::{reap, work};
use mds_namespace::{ExtentRecord, FsError, Ino, ROOT_INO, SetAttributes, WorkItem, invariants};
use proptest::prelude::*;

fn change(fs: &mut Fs, extent: ExtentId, epoch: u64, copies: Copies) -> ExtentRecord {
    let change = CopyChange { extent, epoch: Epoch(epoch), copies };
    fs.run(|txn, _| change_copies(txn, &change)).unwrap().unwrap()
}

fn pending(fs: &Fs) -> Vec<WorkItem> {
    work::pending(&*fs.view(), 0, usize::MAX).unwrap().into_iter().map(|(_, item)| item).collect()
}

fn sound(fs: &Fs) {
    invariants::check(&*fs.view()).unwrap();
}

#[test]
fn a_new_extent_is_whole_everywhere() {
    let (mut fs, extent) = given(&[2]);
    let made = record(&fs, extent);
    assert_eq!(made.backups, [Backup { server: id(2), since: Epoch::FIRST, filling: false }]);
    assert_eq!(
        fs.run(|txn, _| allocate(txn, extent, id(7), &[id(8)], None)).unwrap(),
        made,
        "it stays where it is"
    );
    for (home, backups) in [(1, [1, 2]), (3, [2, 2]), (0, [2, 3]), (1, [0, 3])] {
        let other = ExtentId { ino: extent.ino, index: 9 };
        let wrong = fs.run(|txn, _| allocate(txn, other, id(home), &backups.map(id), None));
        assert_eq!(wrong, Err(FsError::Invalid), "{home} {backups:?}");
    }
    assert_eq!(all_from(&*fs.view(), ExtentId { ino: 0, index: 0 }, 9).unwrap(), [made]);
}

#[test]
fn a_replica_takes_the_place_of_the_primary_and_the_old_one_must_forget() {
    let (mut fs, extent) = given(&[2]);
    let after = change(&mut fs, extent, 1, copies(2, &[(3, true)]));
    assert_eq!((after.home, after.epoch), (id(2), Epoch(2)));
    assert_eq!(after.backups, [Backup { server: id(3), since: Epoch(2), filling: true }]);
    assert_eq!(after.pending_work, None, "handles may be given out at once");
    assert_eq!(pending(&fs), [WorkItem::Drop { extent, home: id(1), epoch: Epoch(2) }]);
    sound(&fs);
}

#[test]
fn what_may_lack_bytes_becomes_neither_primary_nor_full() {
    let (mut fs, extent) = given(&[2]);
    let filling = change(&mut fs, extent, 1, copies(1, &[(2, false), (3, true)]));
    for wrong in [
        copies(3, &[(2, false)]),
        copies(4, &[(2, false)]),
        copies(1, &[(2, false), (4, false)]),
        copies(1, &[(2, false), (2, true)]),
        copies(2, &[(1, false)]),
        copies(2, &[(2, true)]),
    ] {
        assert_eq!(change(&mut fs, extent, 2, wrong.clone()), filling, "{wrong:?}");
    }
    let old = change(&mut fs, extent, 1, copies(2, &[]));
    assert_eq!(old, filling, "the epoch is another one");
    let whole = change(&mut fs, extent, 2, copies(1, &[(2, false), (3, false)]));
    assert_eq!(whole.backups[1], Backup { server: id(3), since: Epoch(2), filling: false });
    sound(&fs);
}

#[test]
fn a_pending_cut_passes_to_the_new_primary() {
    let (mut fs, extent) = given(&[2]);
    let size = SetAttributes { size_bytes: Some(10), ..SetAttributes::default() };
    fs.run(|txn, now| set_attributes(txn, &root(), extent.ino, &size, false, now)).unwrap();
    let after = change(&mut fs, extent, 2, copies(2, &[]));
    assert!(after.pending_work.is_some(), "no handle before it is cut");
    let epoch = Epoch(3);
    let cut = WorkItem::Cut { extent, home: id(2), epoch, keep_bytes: 10, fences: false };
    assert_eq!(pending(&fs), [cut, WorkItem::Drop { extent, home: id(1), epoch }]);
    sound(&fs);
}

#[test]
fn all_that_keep_a_removed_file_must_forget_it() {
    let (mut fs, extent) = given(&[2]);
    fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"file", now)).unwrap();
    let work = fs.run(|txn, _| reap::reap(txn, extent.ino)).unwrap();
    assert_eq!(work.iter().map(|(_, item)| item.home()).collect::<Vec<_>>(), [id(1), id(2)]);
    assert_eq!(work.into_iter().map(|(_, item)| item).collect::<Vec<_>>(), pending(&fs));
    sound(&fs);
}

#[derive(Clone, Debug)]
enum Act {
    Change { copies: Copies, late: bool },
    Fence,
    Truncate { size: u64 },
    Done,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let backups = prop::collection::vec((1u32..5, any::<bool>()), 0..3);
    let act = prop_oneof![
        6 => (1u32..5, backups, prop::bool::weighted(0.1))
            .prop_map(|(home, backups, late)| Act::Change { copies: copies(home, &backups), late }),
        1 => Just(Act::Fence),
        1 => (0..EXTENT_BYTES).prop_map(|size| Act::Truncate { size }),
        2 => Just(Act::Done),
    ];
    prop::collection::vec(act, 1..30)
}

proptest! {
    /// Whatever is asked: the primary held everything before, no server is full that was not a
    /// member before, epochs rise with every change, a server that left has a drop waiting, and the
    /// store is sound.
    #[test]
    fn no_change_loses_bytes(acts in acts()) {
        let (mut fs, extent) = given(&[2]);
        let ino: Ino = extent.ino;
        for act in acts {
            let before = record(&fs, extent);
            match act {
                Act::Change { copies, late } => {
                    let epoch = before.epoch.0 - u64::from(late);
                    let after = change(&mut fs, extent, epoch, copies);
                    prop_assert_eq!(&record(&fs, extent), &after);
                    let whole = |server| before.backups.iter().any(|one| one.server == server && !one.filling);
                    prop_assert!(after.home == before.home || whole(after.home));
                    for one in after.backups.iter().filter(|one| !one.filling) {
                        prop_assert!(before.backups.iter().any(|old| old.server == one.server));
                    }
                    prop_assert!(after == before || before.epoch < after.epoch);
                    for left in before.servers().filter(|server| after.servers().all(|stays| stays != *server)) {
                        let gone = WorkItem::Drop { extent, home: left, epoch: after.epoch };
                        prop_assert!(pending(&fs).contains(&gone));
                    }
                    if let Some(number) = after.pending_work {
                        let item = mds_namespace::op::extent::item(&*fs.view(), number).unwrap().unwrap();
                        prop_assert_eq!((item.home(), item.epoch()), (after.home, after.epoch));
                    }
                }
                Act::Fence => drop(fs.run(|txn, _| fence(txn, extent)).unwrap()),
                Act::Truncate { size } => {
                    let size = SetAttributes { size_bytes: Some(size), ..SetAttributes::default() };
                    fs.run(|txn, now| set_attributes(txn, &root(), ino, &size, false, now)).unwrap();
                }
                Act::Done => {
                    let items: Vec<u64> =
                        work::pending(&*fs.view(), 0, 2).unwrap().into_iter().map(|(number, _)| number).collect();
                    fs.run(|txn, _| work::done(txn, &items)).unwrap();
                }
            }
            sound(&fs);
        }
    }
}
