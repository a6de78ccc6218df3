//! Sealed extents: which images may be grouped, when older ones are dead, when a group is removed,
//! and when an image is complete.
//!
//! Spec: docs/protocol/seal.md §2, §3, §6 to §9.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(dead_code, reason = "the fixture serves other tests, too")]

mod acts;
#[path = "../fixture/mod.rs"]
mod fixture;

use fixture::{Fs, root};
use layout::ec::{CodecId, Draft, Group, GroupId, ImageId, ImageSum, Member, Profile};
use layout::{DataServerId, EXTENT_BYTES, Epoch, ExtentId};
use mds_namespace::op::copies::{Adoption, adopt, change_copies};
use mds_namespace::op::extent::{CopyChange, allocate, extent};
use mds_namespace::op::move_to_extents::move_to_extents;
use mds_namespace::op::queue::fence;
use mds_namespace::op::remove::remove;
use mds_namespace::op::seal::{
    SealedAs, groups_from, living, make_group, rehome, take_group, thaw, use_image,
};
use mds_namespace::op::setattr::set_attributes;
use mds_namespace::op::size::{Grown, grow};
use mds_namespace::op::{reap, work};
use mds_namespace::sealed::{self, Place, group, images};
use mds_namespace::{FsError, Kind, ROOT_INO, SetAttributes, WorkItem};

fn id(number: u32) -> DataServerId {
    DataServerId(number)
}

fn image(number: u8) -> ImageId {
    ImageId([number; 16])
}

/// A file of two extents, the first on server 1, the second on server 2, with promises made.
fn given() -> (Fs, [ExtentId; 2]) {
    let (mut fs, extents) = fresh();
    for (extent, home) in extents.into_iter().zip([1, 2]) {
        report_thawed(&mut fs, extent, home, 0).unwrap();
    }
    (fs, extents)
}

/// As [`given`], without promises.
fn fresh() -> (Fs, [ExtentId; 2]) {
    let mut fs = Fs::new();
    let ino = fs.given("file", Kind::Regular, 0o644, 100, 100);
    let change = fs.inode(ino).change;
    fs.run(|txn, _| move_to_extents(txn, ino, change)).unwrap();
    let extents = [0, 1].map(|index| ExtentId { ino, index });
    for (extent, home) in extents.into_iter().zip([1, 2]) {
        fs.run(|txn, _| allocate(txn, extent, id(home), &[id(home + 10)], None)).unwrap();
    }
    let grown = Grown { end_bytes: Some(2 * EXTENT_BYTES), ..Grown::default() };
    fs.run(|txn, now| grow(txn, ino, &grown, now)).unwrap();
    (fs, extents)
}

/// A 2+1 group of these images, each with its extent and server; its parity is image 100 + its
/// number, on server 3.
fn a_group(number: u64, members: &[(u8, ExtentId, u32)]) -> Group {
    let member = |(name, extent, _): &(u8, ExtentId, u32)| {
        Some(Member { image: image(*name), extent: *extent, bytes: 1000, sum: ImageSum([*name; 32]) })
    };
    let mut homes: Vec<_> = members.iter().map(|(.., home)| Some(id(*home))).collect();
    let mut members: Vec<_> = members.iter().map(member).collect();
    members.resize(2, None);
    homes.resize(2, None);
    homes.push(Some(id(3)));
    let parity = vec![image(100 + u8::try_from(number).unwrap())];
    let (profile, codec) = (Profile::TwoPlusOne, CodecId::Leopard16);
    let draft = Draft { group: GroupId(number), profile, codec, members, parity };
    Group::new(draft.shape(&[ImageSum([9; 32])]).unwrap(), homes).unwrap()
}

fn sealed_as(epoch: u64, sequence: u64) -> SealedAs {
    SealedAs { epoch: Epoch(epoch), sequence, content_bytes: 900, root: [1; 32], from: None }
}

fn number(fs: &mut Fs) -> u64 {
    fs.run(|txn, _| take_group(txn)).unwrap().0
}

fn make(fs: &mut Fs, group: &Group, sealed_as: &[SealedAs]) -> Result<(), FsError> {
    fs.run(|txn, _| make_group(txn, group, sealed_as))
}

/// Both extents sealed as images 1 and 2 up to sequence 10 in group 1, and used.
fn sealed() -> (Fs, [ExtentId; 2]) {
    let (mut fs, extents) = given();
    let first = number(&mut fs);
    let made = a_group(first, &[(1, extents[0], 1), (2, extents[1], 2)]);
    make(&mut fs, &made, &[sealed_as(1, 10), sealed_as(1, 10)]).unwrap();
    (fs, extents)
}

fn names(fs: &Fs, extent: ExtentId) -> Vec<ImageId> {
    images(&*fs.view(), extent).unwrap().images.into_iter().map(|image| image.image).collect()
}

fn groups(fs: &Fs) -> Vec<u64> {
    groups_from(&*fs.view(), GroupId(0), 9).unwrap().iter().map(|group| group.shape().group().0).collect()
}

fn report_used(fs: &mut Fs, extent: ExtentId, name: u8, server: u32) -> bool {
    fs.run(|txn, _| use_image(txn, extent, image(name), id(server), 0)).unwrap()
}

/// The groups that have an image.
fn place(fs: &Fs, name: u8) -> Vec<u64> {
    let place = sealed::place(&*fs.view(), image(name)).unwrap();
    place.iter().flat_map(Place::groups).map(|group| group.0).collect()
}

#[test]
fn a_group_is_made_as_a_whole_or_not_at_all() {
    let (mut fs, [one, two]) = given();
    let first = number(&mut fs);
    assert_eq!((first, number(&mut fs)), (1, 2), "numbers are not given out twice");
    let good = a_group(first, &[(1, one, 1), (2, two, 2)]);
    let both = [sealed_as(1, 10), sealed_as(1, 10)];
    let invalid = [
        (a_group(3, &[(1, one, 1), (2, two, 2)]), &both[..]),
        (a_group(1, &[(1, one, 1), (2, two, 1)]), &both),
        (a_group(1, &[(1, one, 1), (2, two, 3)]), &both),
        (a_group(1, &[(1, one, 1), (2, one, 2)]), &both),
        (good.clone(), &both[..1]),
    ];
    for (wrong, how) in invalid {
        assert_eq!(make(&mut fs, &wrong, how), Err(FsError::Invalid), "{wrong:?}");
    }
    let gone = ExtentId { ino: one.ino, index: 7 };
    let moved = [
        (a_group(1, &[(1, one, 1), (2, two, 4)]), both),
        (a_group(1, &[(1, one, 1), (2, gone, 2)]), both),
        (good.clone(), [sealed_as(1, 10), sealed_as(2, 10)]),
        (good.clone(), [sealed_as(1, 10), sealed_as(1, 0)]),
        (good.clone(), [sealed_as(1, 10), SealedAs { from: Some(2), ..sealed_as(1, 10) }]),
    ];
    for (wrong, how) in moved {
        assert_eq!(make(&mut fs, &wrong, &how), Err(FsError::ContentMoved), "{how:?}");
    }
    make(&mut fs, &good, &both).unwrap();
    assert_eq!(group(&*fs.view(), GroupId(1)).unwrap(), Some(good.clone()));
    for name in [1, 2, 101] {
        assert_eq!(place(&fs, name), [1]);
    }
    assert_eq!(living(&*fs.view(), &good).unwrap().len(), 2);
    assert_eq!(make(&mut fs, &good, &both), Err(FsError::Invalid), "once");
    let again = a_group(2, &[(1, one, 1), (3, two, 2)]);
    assert_eq!(make(&mut fs, &again, &[sealed_as(1, 11), sealed_as(1, 11)]), Err(FsError::ContentMoved));
}

/// A primary may have died between two replicas: images that one of them still needs must stay.
#[test]
fn an_older_image_stays_until_a_newer_one_is_used() {
    let (mut fs, [one, two]) = sealed();
    let second = number(&mut fs);
    let older = a_group(second, &[(3, one, 1)]);
    assert_eq!(make(&mut fs, &older, &[sealed_as(1, 10)]), Err(FsError::ContentMoved), "not newer");
    make(&mut fs, &older, &[sealed_as(1, 20)]).unwrap();
    assert_eq!((names(&fs, one), names(&fs, two)), (vec![image(1), image(3)], vec![image(2)]));
    assert!(!report_used(&mut fs, one, 3, 11), "only its primary may report it");
    assert!(report_used(&mut fs, one, 1, 1) && !report_used(&mut fs, one, 1, 1), "recorded once");
    assert!(report_used(&mut fs, one, 3, 1));
    assert!(!report_used(&mut fs, one, 3, 1), "a repeated report changes nothing");
    assert_eq!(names(&fs, one), [image(3)]);
    assert_eq!(groups(&fs), [1, 2], "another member of the first group lives");
    assert_eq!(place(&fs, 1), [1], "and needs the dead one");
    let third = number(&mut fs);
    make(&mut fs, &a_group(third, &[(4, two, 2)]), &[sealed_as(1, 30)]).unwrap();
    assert!(report_used(&mut fs, two, 4, 2));
    assert_eq!(groups(&fs), [2, 3], "the first group has no living member");
    for name in [1, 2, 101] {
        assert_eq!(place(&fs, name), [0_u64; 0]);
    }
}

#[test]
fn an_extent_has_a_bounded_number_of_images() {
    let (mut fs, [one, _]) = given();
    for name in 1..=4 {
        let next = number(&mut fs);
        make(&mut fs, &a_group(next, &[(name, one, 1)]), &[sealed_as(1, u64::from(name))]).unwrap();
    }
    let next = number(&mut fs);
    let fifth = a_group(next, &[(5, one, 1)]);
    assert_eq!(make(&mut fs, &fifth, &[sealed_as(1, 5)]), Err(FsError::ContentMoved));
    assert!(report_used(&mut fs, one, 3, 1));
    assert_eq!((names(&fs, one), groups(&fs)), (vec![image(3), image(4)], vec![3, 4]));
    make(&mut fs, &fifth, &[sealed_as(1, 5)]).unwrap();
}

/// An epoch rises with every cut and every change of the set: images sealed before may not return.
#[test]
fn an_image_sealed_at_another_epoch_is_refused() {
    let (mut fs, [one, two]) = given();
    let first = number(&mut fs);
    let made = a_group(first, &[(1, one, 1), (2, two, 2)]);
    fs.run(|txn, _| fence(txn, one)).unwrap();
    let both = [sealed_as(1, 10), sealed_as(1, 10)];
    assert_eq!(make(&mut fs, &made, &both), Err(FsError::ContentMoved));
    let copies = layout::copies::Copies { home: id(2), backups: vec![] };
    let change = CopyChange { extent: two, epoch: Epoch(1), copies };
    fs.run(|txn, _| change_copies(txn, &change)).unwrap();
    all_work_done(&mut fs);
    assert_eq!(make(&mut fs, &made, &[sealed_as(2, 10), sealed_as(1, 10)]), Err(FsError::ContentMoved));
    fs.run(|txn, _| fence(txn, one)).unwrap();
    let good = [sealed_as(3, 10), sealed_as(2, 10)];
    assert_eq!(make(&mut fs, &made, &good), Err(FsError::ContentMoved), "work is pending");
    all_work_done(&mut fs);
    let made = a_group(first, &[(1, one, 1), (2, two, 2)]);
    make(&mut fs, &made, &good).unwrap();
}

#[test]
fn a_removed_file_takes_its_groups_along() {
    let (mut fs, [one, two]) = sealed();
    fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"file", now)).unwrap();
    fs.run(|txn, _| reap::reap(txn, one.ino)).unwrap();
    assert_eq!((names(&fs, one), names(&fs, two), groups(&fs)), (vec![], vec![], vec![]));
    assert_eq!(place(&fs, 101), [0_u64; 0]);
}

fn cut_to(fs: &mut Fs, ino: u64, size_bytes: u64) {
    let size = SetAttributes { size_bytes: Some(size_bytes), ..SetAttributes::default() };
    fs.run(|txn, now| set_attributes(txn, &root(), ino, &size, false, now)).unwrap();
}

fn all_work_done(fs: &mut Fs) {
    let items: Vec<u64> =
        work::pending(&*fs.view(), 0, 99).unwrap().into_iter().map(|(number, _)| number).collect();
    fs.run(|txn, _| work::done(txn, &items)).unwrap();
}

#[test]
fn a_cut_to_nothing_that_is_done_takes_the_images() {
    let (mut fs, [one, two]) = sealed();
    cut_to(&mut fs, one.ino, 5);
    assert_eq!(names(&fs, two), [image(2)], "a server may still need it");
    all_work_done(&mut fs);
    assert_eq!((names(&fs, one), names(&fs, two)), (vec![image(1)], vec![]), "of the first, 5 bytes stay");
    assert_eq!(groups(&fs), [1]);
    // Images sealed after the cut stay, until the next one.
    let record = extent(&*fs.view(), two).unwrap().unwrap();
    let second = number(&mut fs);
    make(&mut fs, &a_group(second, &[(5, two, 2)]), &[sealed_as(record.epoch.0, 50)]).unwrap();
    fs.run(|txn, _| fence(txn, two)).unwrap();
    all_work_done(&mut fs);
    assert_eq!((names(&fs, one), names(&fs, two)), (vec![image(1)], vec![image(5)]));
    cut_to(&mut fs, one.ino, 0);
    let record = extent(&*fs.view(), two).unwrap().unwrap();
    let third = number(&mut fs);
    let pending = make(&mut fs, &a_group(third, &[(6, two, 2)]), &[sealed_as(record.epoch.0, 60)]);
    assert_eq!(pending, Err(FsError::ContentMoved), "it may be from before the cut");
    all_work_done(&mut fs);
    assert_eq!((names(&fs, one), names(&fs, two), groups(&fs)), (vec![], vec![], vec![]));
}

#[test]
fn an_image_moves_once() {
    let (mut fs, _) = sealed();
    let mut go = |slot, from, to| fs.run(|txn, _| rehome(txn, GroupId(1), slot, id(from), id(to)));
    assert_eq!(go(0, 2, 5), Err(FsError::ContentMoved), "it is elsewhere");
    assert_eq!(go(9, 1, 5), Err(FsError::ContentMoved));
    assert_eq!(go(0, 1, 3), Err(FsError::Invalid), "parity is there");
    assert_eq!(go(0, 1, 0), Err(FsError::Invalid));
    assert_eq!(go(0, 1, 5), Ok(()));
    assert_eq!(go(0, 1, 6), Err(FsError::ContentMoved), "it has moved");
    assert_eq!(go(2, 3, 1), Ok(()));
    let missing = fs.run(|txn, _| rehome(txn, GroupId(7), 0, id(1), id(5)));
    assert_eq!(missing, Err(FsError::ContentMoved));
    let homes = group(&*fs.view(), GroupId(1)).unwrap().unwrap().homes().to_vec();
    assert_eq!(homes, [Some(id(5)), Some(id(2)), Some(id(1))]);
}

/// docs/protocol/seal.md §7: the living members of a dissolved group join another one.
#[test]
fn a_living_member_joins_another_group() {
    let (mut fs, [one, two]) = sealed();
    let second = number(&mut fs);
    make(&mut fs, &a_group(second, &[(3, one, 1)]), &[sealed_as(1, 20)]).unwrap();
    assert!(report_used(&mut fs, one, 3, 1));
    fs.run(|txn, _| rehome(txn, GroupId(1), 1, id(2), id(8))).unwrap();
    let third = number(&mut fs);
    let taken = SealedAs { from: Some(1), ..sealed_as(1, 10) };
    let wrong = [
        (a_group(third, &[(2, two, 2)]), taken),
        (a_group(third, &[(2, two, 8)]), SealedAs { sequence: 11, ..taken }),
        (a_group(third, &[(2, two, 8)]), SealedAs { from: Some(2), ..taken }),
        (a_group(third, &[(1, one, 1)]), taken),
    ];
    for (wrong, how) in wrong {
        assert_eq!(make(&mut fs, &wrong, &[how]), Err(FsError::ContentMoved), "{how:?}");
    }
    make(&mut fs, &a_group(third, &[(2, two, 8)]), &[taken]).unwrap();
    assert_eq!((groups(&fs), names(&fs, two)), (vec![2, 3], vec![image(2)]));
    assert_eq!((place(&fs, 2), place(&fs, 1)), (vec![3], vec![]), "the dead one is needed no more");
}

/// An image from a group that has other living members stays in it, whatever happens to the newer
/// group.
#[test]
fn a_member_of_two_groups_returns_to_the_older_one() {
    let (mut fs, [one, two]) = sealed();
    let second = number(&mut fs);
    let taken = SealedAs { from: Some(1), ..sealed_as(1, 10) };
    make(&mut fs, &a_group(second, &[(1, one, 1)]), &[taken]).unwrap();
    assert_eq!((groups(&fs), place(&fs, 1)), (vec![1, 2], vec![2, 1]));
    let third = number(&mut fs);
    let again = SealedAs { from: Some(2), ..taken };
    assert_eq!(
        make(&mut fs, &a_group(third, &[(1, one, 1)]), &[again]),
        Err(FsError::ContentMoved),
        "a third"
    );
    make(&mut fs, &a_group(third, &[(3, one, 1)]), &[sealed_as(1, 20)]).unwrap();
    assert!(report_used(&mut fs, one, 3, 1));
    assert_eq!((groups(&fs), place(&fs, 1), place(&fs, 102)), (vec![1, 3], vec![1], vec![]));
    let fourth = number(&mut fs);
    make(&mut fs, &a_group(fourth, &[(2, two, 2)]), &[taken]).unwrap();
    assert_eq!((groups(&fs), place(&fs, 1), place(&fs, 2)), (vec![3, 4], vec![], vec![4]));
}

fn is_at_rest(fs: &Fs, extent: ExtentId) -> bool {
    images(&*fs.view(), extent).unwrap().at_rest().is_some()
}

fn report_thawed(fs: &mut Fs, extent: ExtentId, server: u32, sequence: u64) -> Result<(), FsError> {
    fs.run(|txn, _| thaw(txn, extent, id(server), sequence))
}

/// docs/protocol/seal.md §8: an image is complete only while no other report or change exists, in
/// any order of reports.
#[test]
fn an_extent_is_at_rest_until_a_write_or_a_cut() {
    let (mut fs, [one, two]) = sealed();
    assert!(!is_at_rest(&fs, one), "its use is not reported yet");
    assert!(report_used(&mut fs, one, 1, 1) && is_at_rest(&fs, one));
    assert_eq!(report_thawed(&mut fs, one, 2, 11), Err(FsError::ContentMoved), "not its primary");
    report_thawed(&mut fs, one, 1, 10).unwrap();
    assert!(is_at_rest(&fs, one), "the image contains that act");
    report_thawed(&mut fs, one, 1, 11).unwrap();
    assert!(!is_at_rest(&fs, one));
    assert!(!report_used(&mut fs, one, 1, 1) && !is_at_rest(&fs, one), "an old report changes nothing");
    let next = number(&mut fs);
    make(&mut fs, &a_group(next, &[(3, one, 1)]), &[sealed_as(1, 20)]).unwrap();
    assert!(!is_at_rest(&fs, one));
    assert!(report_used(&mut fs, one, 3, 1) && is_at_rest(&fs, one));
    // An act came above it before its use was reported.
    let above =
        |fs: &mut Fs, sequence| fs.run(|txn, _| use_image(txn, two, image(2), id(2), sequence)).unwrap();
    assert!(above(&mut fs, 12) && !is_at_rest(&fs, two));
    assert!(!above(&mut fs, 0) && !is_at_rest(&fs, two));
    cut_to(&mut fs, one.ino, 5);
    all_work_done(&mut fs);
    assert!(!is_at_rest(&fs, one), "the image has more than the extent");
    let epoch = extent(&*fs.view(), one).unwrap().unwrap().epoch.0;
    let next = number(&mut fs);
    make(&mut fs, &a_group(next, &[(4, one, 1)]), &[sealed_as(epoch, 30)]).unwrap();
    assert!(report_used(&mut fs, one, 4, 1) && is_at_rest(&fs, one));
    fs.run(|txn, _| fence(txn, one)).unwrap();
    assert!(is_at_rest(&fs, one), "a fence takes no bytes");
}

fn adopt_extent(fs: &mut Fs, extent: ExtentId, epoch: u64, home: u32) -> Option<(u64, u32)> {
    let asked = Adoption { extent, epoch: Epoch(epoch), home: id(home) };
    let record = fs.run(|txn, _| adopt(txn, &asked)).unwrap()?;
    Some((record.epoch.0, record.home.0))
}

fn pending(fs: &Fs) -> Vec<WorkItem> {
    work::pending(&*fs.view(), 0, 99).unwrap().into_iter().map(|(_, item)| item).collect()
}

/// docs/protocol/seal.md §9.
#[test]
fn an_extent_at_rest_gets_a_primary_that_has_nothing_of_it() {
    let (mut fs, [one, _]) = sealed();
    assert_eq!(adopt_extent(&mut fs, one, 1, 5), Some((1, 1)), "not at rest");
    report_used(&mut fs, one, 1, 1);
    assert_eq!(adopt_extent(&mut fs, one, 2, 5), Some((1, 1)), "another epoch");
    assert_eq!(adopt_extent(&mut fs, one, 1, 1), Some((1, 1)), "it is its primary");
    assert_eq!(adopt_extent(&mut fs, ExtentId { ino: one.ino, index: 9 }, 1, 5), None);
    assert_eq!(adopt_extent(&mut fs, one, 1, 5), Some((2, 5)));
    let work = |epoch: u64, home, keep_bytes| {
        let (epoch, home) = (Epoch(epoch), id(home));
        WorkItem::Adopt { extent: one, home, epoch, keep_bytes }
    };
    let gone = |epoch, home| WorkItem::Drop { extent: one, home: id(home), epoch: Epoch(epoch) };
    assert_eq!(pending(&fs), [work(2, 5, EXTENT_BYTES), gone(2, 1), gone(2, 11)]);
    let record = extent(&*fs.view(), one).unwrap().unwrap();
    assert_eq!((record.backups.len(), record.pending_work.is_some()), (0, true));
    // No replica can be filled from it yet.
    let copies = layout::copies::Copies { home: id(5), backups: vec![(id(6), true)] };
    let change = CopyChange { extent: one, epoch: Epoch(2), copies };
    assert_eq!(fs.run(|txn, _| change_copies(txn, &change)).unwrap(), Some(record));
    // The new primary dies as well, and meanwhile the file is cut and fenced.
    cut_to(&mut fs, one.ino, 7);
    fs.run(|txn, _| fence(txn, one)).unwrap();
    assert!(pending(&fs).contains(&work(4, 5, 7)));
    assert_eq!(adopt_extent(&mut fs, one, 4, 6), Some((5, 6)), "the work contains the cut");
    assert!(pending(&fs).contains(&work(5, 6, 7)) && pending(&fs).contains(&gone(5, 5)));
    all_work_done(&mut fs);
    assert_eq!(names(&fs, one), [image(1)]);
    assert_eq!(adopt_extent(&mut fs, one, 5, 7), Some((5, 6)), "it was cut");
    cut_to(&mut fs, one.ino, 0);
    all_work_done(&mut fs);
    assert_eq!(names(&fs, one), []);
}

/// docs/protocol/seal.md §12.
#[test]
fn an_extent_of_which_nothing_was_promised_begins_empty_elsewhere() {
    let (mut fs, [one, two]) = fresh();
    let (keep_bytes, fences) = (0, true);
    let cut = |epoch, home| {
        let (home, epoch) = (id(home), Epoch(epoch));
        WorkItem::Cut { extent: one, home, epoch, keep_bytes, fences }
    };
    let gone = |epoch, home| WorkItem::Drop { extent: one, home: id(home), epoch: Epoch(epoch) };
    assert_eq!(adopt_extent(&mut fs, one, 2, 5), Some((1, 1)), "another epoch");
    assert_eq!(adopt_extent(&mut fs, one, 1, 1), Some((1, 1)), "it is its primary");
    // Work for a lost primary is deleted.
    fs.run(|txn, _| fence(txn, one)).unwrap();
    assert_eq!(adopt_extent(&mut fs, one, 2, 5), Some((3, 5)));
    assert_eq!(pending(&fs), [cut(3, 5), gone(3, 1), gone(3, 11)]);
    let record = extent(&*fs.view(), one).unwrap().unwrap();
    assert!(record.unpromised && record.backups.is_empty());
    // The new primary dies before it has done it.
    assert_eq!(adopt_extent(&mut fs, one, 3, 6), Some((4, 6)));
    assert_eq!(pending(&fs), [gone(3, 1), gone(3, 11), cut(4, 6), gone(4, 5)]);
    all_work_done(&mut fs);
    assert_eq!(
        report_thawed(&mut fs, one, 5, 0),
        Err(FsError::ContentMoved),
        "a former primary makes no promise"
    );
    report_thawed(&mut fs, one, 6, 0).unwrap();
    assert_eq!(adopt_extent(&mut fs, one, 4, 7), Some((4, 6)), "it may hold the only copy");
    cut_to(&mut fs, one.ino, 0);
    all_work_done(&mut fs);
    let epoch = extent(&*fs.view(), one).unwrap().unwrap().epoch.0;
    assert_eq!(adopt_extent(&mut fs, one, epoch, 7), Some((epoch, 6)), "for good");
    // An image that is not in use yet is not needed any more.
    let first = number(&mut fs);
    let epoch = extent_epoch(&fs, two);
    make(&mut fs, &a_group(first, &[(2, two, 2)]), &[sealed_as(epoch, 10)]).unwrap();
    assert_eq!(adopt_extent(&mut fs, two, epoch, 9), Some((epoch + 1, 9)));
    assert_eq!((names(&fs, two), groups(&fs)), (vec![], vec![]));
}

/// While another cut or fence is pending, how far the old primary carried it out is unknown.
#[test]
fn an_extent_with_work_is_not_given_away() {
    let (mut fs, [one, two]) = sealed();
    report_used(&mut fs, one, 1, 1);
    fs.run(|txn, _| fence(txn, one)).unwrap();
    assert_eq!(adopt_extent(&mut fs, one, 2, 5), Some((2, 1)));
    all_work_done(&mut fs);
    assert_eq!(adopt_extent(&mut fs, one, 2, 5), Some((3, 5)));
    cut_to(&mut fs, one.ino, 0);
    all_work_done(&mut fs);
    assert_eq!(
        (names(&fs, one), names(&fs, two)),
        (vec![], vec![]),
        "cut to nothing before the image was made"
    );
}

/// In a group of copies one image has two places.
#[test]
fn copies_are_one_image_at_two_places() {
    let (mut fs, [one, _]) = given();
    let first = number(&mut fs);
    let member = Member { image: image(1), extent: one, bytes: 1000, sum: ImageSum([1; 32]) };
    let draft = Draft {
        group: GroupId(first),
        profile: Profile::TwoCopies,
        codec: CodecId::Copies,
        members: vec![Some(member)],
        parity: vec![image(1)],
    };
    let made = Group::new(draft.shape(&[member.sum]).unwrap(), vec![Some(id(1)), Some(id(2))]).unwrap();
    make(&mut fs, &made, &[sealed_as(1, 10)]).unwrap();
    fs.run(|txn, _| rehome(txn, GroupId(1), 1, id(2), id(4))).unwrap();
    fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"file", now)).unwrap();
    fs.run(|txn, _| reap::reap(txn, one.ino)).unwrap();
    assert_eq!((groups(&fs), place(&fs, 1)), (vec![], vec![]));
}

fn extent_epoch(fs: &Fs, of: ExtentId) -> u64 {
    extent(&*fs.view(), of).unwrap().unwrap().epoch.0
}
