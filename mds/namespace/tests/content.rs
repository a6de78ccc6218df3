//! Content: inline bytes, growth and truncation, extents, epochs and the resulting work.
//!
//! Spec: docs/formats/namespace.md; docs/protocol/control.md.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use fixture::{Fs, mode, root, user};
use layout::ec::Profile;
use layout::{DataServerId, EXTENT_BYTES, Epoch, ExtentId};
use mds_namespace::op::extent::{allocate, extent, extents};
use mds_namespace::op::move_to_extents::move_to_extents;
use mds_namespace::op::queue::fence;
use mds_namespace::op::remove::remove;
use mds_namespace::op::setattr::set_attributes;
use mds_namespace::op::size::{Grown, grow};
use mds_namespace::op::{inline, reap, work};
use mds_namespace::{
    Content, ExtentRecord, FsError, INLINE_BYTES_MAX, Ino, Inode, Kind, ROOT_INO, SetAttributes, Timestamp,
    Truncation, WorkItem,
};

const USER: u32 = 100;
const HOME: DataServerId = DataServerId(3);

fn write(fs: &mut Fs, ino: Ino, offset_bytes: u64, data: &[u8]) -> Result<Inode, FsError> {
    fs.run(|txn, now| inline::write(txn, &user(USER), ino, offset_bytes, data, now))
}

fn read(fs: &Fs, ino: Ino, offset_bytes: u64, len_bytes: usize) -> Result<Vec<u8>, FsError> {
    inline::read(&*fs.view(), &fs.inode(ino), offset_bytes, len_bytes)
}

fn truncate(fs: &mut Fs, ino: Ino, size_bytes: u64) -> Option<Truncation> {
    let size = SetAttributes { size_bytes: Some(size_bytes), ..SetAttributes::default() };
    fs.run(|txn, now| set_attributes(txn, &root(), ino, &size, false, now)).unwrap().truncated
}

/// A file of `size_bytes` in extents, each with a primary.
fn file_in_extents(fs: &mut Fs, size_bytes: u64) -> Ino {
    let ino = fs.given("file", Kind::Regular, 0o644, USER, USER);
    let change = fs.inode(ino).change;
    fs.run(|txn, _| move_to_extents(txn, ino, change)).unwrap();
    for index in 0..u32::try_from(size_bytes.div_ceil(EXTENT_BYTES)).unwrap() {
        fs.run(|txn, _| allocate(txn, ExtentId { ino, index }, HOME, &[], None)).unwrap();
    }
    let grown = Grown { end_bytes: Some(size_bytes), ..Grown::default() };
    fs.run(|txn, now| grow(txn, ino, &grown, now)).unwrap();
    ino
}

fn record(fs: &Fs, ino: Ino, index: u32) -> ExtentRecord {
    extent(&*fs.view(), ExtentId { ino, index }).unwrap().unwrap()
}

fn pending(fs: &Fs) -> Vec<(u64, WorkItem)> {
    work::pending(&*fs.view(), 0, usize::MAX).unwrap()
}

#[test]
fn inline_bytes_are_read_as_written() {
    let mut fs = Fs::new();
    let ino = fs.given("file", Kind::Regular, 0o644, USER, USER);
    assert_eq!(read(&fs, ino, 0, 10).unwrap(), b"");
    let inode = write(&mut fs, ino, 3, b"abc").unwrap();
    assert_eq!((inode.size_bytes, inode.used_bytes, inode.mtime, inode.ctime), (6, 6, fs.last(), fs.last()));
    assert_eq!(read(&fs, ino, 0, 10).unwrap(), b"\0\0\0abc");
    assert_eq!(read(&fs, ino, 4, 1).unwrap(), b"b");
    assert_eq!(read(&fs, ino, 6, 1).unwrap(), b"");
    assert_eq!(read(&fs, ino, u64::MAX, 1).unwrap(), b"");
    let before = fs.inode(ino);
    assert_eq!(write(&mut fs, ino, 100, b"").unwrap(), before);
    truncate(&mut fs, ino, 4);
    truncate(&mut fs, ino, 6);
    assert_eq!(read(&fs, ino, 0, 10).unwrap(), b"\0\0\0a\0\0");
    // Longer than the most that may be stored: a hole.
    truncate(&mut fs, ino, INLINE_BYTES_MAX * 4);
    assert_eq!(read(&fs, ino, INLINE_BYTES_MAX * 4 - 2, 10).unwrap(), b"\0\0");
    assert_eq!(inline::stored(&*fs.view(), ino).unwrap(), b"\0\0\0a");
    let full = vec![1; usize::try_from(INLINE_BYTES_MAX).unwrap()];
    write(&mut fs, ino, 0, &full).unwrap();
    assert_eq!(write(&mut fs, ino, 1, &full), Err(FsError::ContentMoved));
    assert_eq!(write(&mut fs, ino, u64::MAX, b"x"), Err(FsError::ContentMoved));
    let directory = fs.given("directory", Kind::Directory, 0o777, USER, USER);
    assert_eq!(write(&mut fs, directory, 0, b"x"), Err(FsError::IsDirectory));
    assert_eq!(write(&mut fs, 4711, 0, b"x"), Err(FsError::Stale));
}

#[test]
fn writing_takes_set_id_bits_away() {
    let mut fs = Fs::new();
    let ino = fs.given("file", Kind::Regular, 0o644, USER, USER);
    fs.set(&root(), ino, &mode(0o6755)).unwrap();
    fs.run(|txn, now| inline::write(txn, &root(), ino, 0, b"x", now)).unwrap();
    assert_eq!(fs.inode(ino).mode, 0o6755);
    assert_eq!(write(&mut fs, ino, 0, b"x").unwrap().mode, 0o755);
}

#[test]
fn a_truncation_to_the_same_size_moves_times() {
    let mut fs = Fs::new();
    let ino = fs.given("file", Kind::Regular, 0o644, USER, USER);
    let before = fs.inode(ino);
    assert_eq!(truncate(&mut fs, ino, 0), None);
    let after = fs.inode(ino);
    assert_eq!((after.mtime, after.ctime, after.change), (fs.last(), fs.last(), before.change + 1));
}

#[test]
fn content_moves_once_and_only_as_it_was_copied() {
    let mut fs = Fs::new();
    let ino = fs.given("file", Kind::Regular, 0o644, USER, USER);
    let change = write(&mut fs, ino, 0, b"bytes").unwrap().change;
    let id = ExtentId { ino, index: 0 };
    assert_eq!(fs.run(|txn, _| move_to_extents(txn, ino, change)), Err(FsError::NoSuchExtent));
    let code = Some(Profile::FourPlusTwo);
    let made = fs.run(|txn, _| allocate(txn, id, HOME, &[], code)).unwrap();
    assert_eq!(
        made,
        ExtentRecord {
            extent: id,
            home: HOME,
            backups: vec![],
            epoch: Epoch::FIRST,
            pending_work: None,
            code,
            unpromised: true,
        }
    );
    // The extent gets neither a second primary nor another code.
    assert_eq!(fs.run(|txn, _| allocate(txn, id, DataServerId(9), &[], None)).unwrap(), made);
    assert_eq!(fs.run(|txn, _| move_to_extents(txn, ino, change - 1)), Err(FsError::ContentMoved));
    let inode = fs.run(|txn, _| move_to_extents(txn, ino, change)).unwrap();
    assert_eq!((inode.content, inode.change, inode.size_bytes), (Content::Extents, change, 5));
    assert_eq!(fs.run(|txn, _| move_to_extents(txn, ino, change)), Err(FsError::ContentMoved));
    assert_eq!(write(&mut fs, ino, 0, b"x"), Err(FsError::ContentMoved));
    assert_eq!(read(&fs, ino, 0, 1), Err(FsError::ContentMoved));
    let fifo = fs.given("fifo", Kind::Fifo, 0o644, USER, USER);
    let refused = fs.run(|txn, _| allocate(txn, ExtentId { ino: fifo, index: 0 }, HOME, &[], None));
    assert_eq!(refused, Err(FsError::WrongKind));
}

#[test]
fn growth_is_recorded_and_never_shrinks() {
    let mut fs = Fs::new();
    let ino = file_in_extents(&mut fs, 100);
    fs.set(&root(), ino, &mode(0o4755)).unwrap();
    let mtime = Timestamp { seconds: 5, nanos: 6 };
    let grown = Grown { end_bytes: Some(50), mtime: Some(mtime), caller: None };
    let inode = fs.run(|txn, now| grow(txn, ino, &grown, now)).unwrap();
    assert_eq!((inode.size_bytes, inode.mtime, inode.ctime, inode.mode), (100, mtime, fs.last(), 0o4755));
    let caller = user(USER);
    let grown = Grown { end_bytes: Some(200), mtime: None, caller: Some(&caller) };
    let inode = fs.run(|txn, now| grow(txn, ino, &grown, now)).unwrap();
    assert_eq!((inode.size_bytes, inode.used_bytes, inode.mtime, inode.mode), (200, 200, fs.last(), 0o755));
    let grown = Grown { end_bytes: Some(u64::MAX), ..Grown::default() };
    assert_eq!(fs.run(|txn, now| grow(txn, ino, &grown, now)), Err(FsError::TooLarge));
    let inline = fs.given("inline", Kind::Regular, 0o644, USER, USER);
    let grown = Grown::default();
    assert_eq!(fs.run(|txn, now| grow(txn, inline, &grown, now)), Err(FsError::ContentMoved));
}

/// An extent that seems cut may not be: a client wrote there without reporting it. A cut that is
/// under way is not begun again.
#[test]
fn a_truncation_to_the_same_size_cuts_too_but_once_at_a_time() {
    let mut fs = Fs::new();
    let ino = file_in_extents(&mut fs, 2 * EXTENT_BYTES);
    let numbers = |fs: &Fs| pending(fs).iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert!(truncate(&mut fs, ino, 10).is_some());
    let first = numbers(&fs);
    assert_eq!(truncate(&mut fs, ino, 10), None);
    assert_eq!(numbers(&fs), first);
    let done = first[0];
    fs.run(|txn, _| work::done(txn, &[done])).unwrap();
    let again = truncate(&mut fs, ino, 10).unwrap();
    assert_eq!(
        (again.cut.map(|(_, record, keep)| (record.extent.index, keep)), again.dropped),
        (Some((0, 10)), vec![])
    );
    assert_eq!(numbers(&fs).len(), 2);
    assert!(truncate(&mut fs, ino, 5).is_some(), "less must stay");
}

#[test]
fn a_truncation_cuts_one_extent_in_part_and_the_rest_whole() {
    let mut fs = Fs::new();
    let ino = file_in_extents(&mut fs, 3 * EXTENT_BYTES + 10);
    assert_eq!(truncate(&mut fs, ino, 4 * EXTENT_BYTES), None);
    let truncated = truncate(&mut fs, ino, EXTENT_BYTES + 7).unwrap();
    let (number, cut, keep_bytes) = truncated.cut.unwrap();
    assert_eq!((cut.extent.index, cut.epoch, cut.pending_work, keep_bytes), (1, Epoch(2), Some(number), 7));
    let dropped: Vec<_> = truncated.dropped.iter().map(|(_, record)| record.extent.index).collect();
    assert_eq!(dropped, [2, 3]);
    assert_eq!(record(&fs, ino, 0).epoch, Epoch::FIRST);
    assert_eq!(record(&fs, ino, 1), cut);
    assert_eq!(record(&fs, ino, 3), truncated.dropped[1].1);
    let items = pending(&fs);
    // A drop would refuse the handles of the client that truncates.
    let expected = [(1, 7), (2, 0), (3, 0)].map(|(index, keep_bytes)| {
        let extent = ExtentId { ino, index };
        WorkItem::Cut { extent, home: HOME, epoch: Epoch(2), keep_bytes, fences: false }
    });
    assert_eq!(items[0].0, number);
    assert!(items.iter().map(|(_, item)| item).eq(&expected), "{items:?}");
    assert_eq!(work::pending(&*fs.view(), number, 1).unwrap(), items[1..2]);
    // Reporting work twice has no further effect; the records stay, so that their epochs never
    // return.
    let numbers: Vec<u64> = items.iter().map(|(number, _)| *number).collect();
    fs.run(|txn, _| work::done(txn, &numbers)).unwrap();
    fs.run(|txn, _| work::done(txn, &numbers)).unwrap();
    assert_eq!(pending(&fs), []);
    assert_eq!(record(&fs, ino, 3), ExtentRecord { pending_work: None, ..truncated.dropped[1].1.clone() });
    let again =
        fs.run(|txn, _| allocate(txn, ExtentId { ino, index: 3 }, DataServerId(9), &[], None)).unwrap();
    assert_eq!((again.home, again.epoch), (HOME, Epoch(2)));
    // At a boundary there is nothing to cut.
    let truncated = truncate(&mut fs, ino, EXTENT_BYTES).unwrap();
    assert_eq!((truncated.cut, truncated.dropped.len()), (None, 3));
    assert_eq!(extents(&*fs.view(), ino, 1, 2).unwrap().len(), 2);
}

#[test]
fn later_work_asks_for_what_earlier_work_did_not_do() {
    let mut fs = Fs::new();
    let ino = file_in_extents(&mut fs, 100);
    let id = ExtentId { ino, index: 0 };
    let home = HOME;
    let fenced = fs.run(|txn, _| fence(txn, id)).unwrap();
    let item = WorkItem::Fence { extent: id, home, epoch: Epoch(2) };
    assert_eq!(pending(&fs), [(fenced.pending_work.unwrap(), item)]);
    let old = truncate(&mut fs, ino, 10).unwrap().cut.unwrap().0;
    truncate(&mut fs, ino, 50);
    let cut = |epoch, keep_bytes| WorkItem::Cut { extent: id, home, epoch, keep_bytes, fences: true };
    assert_eq!(pending(&fs)[0].1, cut(Epoch(3), 10));
    // The bytes from 10 on must go, although the next truncation keeps those below 40.
    assert_eq!(truncate(&mut fs, ino, 40).unwrap().cut.unwrap().2, 10);
    assert_eq!(pending(&fs)[0].1, cut(Epoch(4), 10));
    fs.run(|txn, _| fence(txn, id)).unwrap();
    assert_eq!(pending(&fs)[0].1, cut(Epoch(5), 10));
    // A report about replaced work changes nothing.
    fs.run(|txn, _| work::done(txn, &[old])).unwrap();
    assert!(record(&fs, ino, 0).pending_work.is_some());
    let truncated = truncate(&mut fs, ino, 0).unwrap();
    assert_eq!((truncated.cut, truncated.dropped.len()), (None, 1));
    fs.run(|txn, _| fence(txn, id)).unwrap();
    let items = pending(&fs);
    assert_eq!((items.len(), &items[0].1), (1, &cut(Epoch(7), 0)));
    let missing = ExtentId { ino, index: 9 };
    assert_eq!(fs.run(|txn, _| fence(txn, missing)), Err(FsError::NoSuchExtent));
}

/// A cut refuses no handle, so a fence that was queued before or after it must still be done.
#[test]
fn a_fence_outlives_a_cut() {
    for fence_first in [true, false] {
        let mut fs = Fs::new();
        let ino = file_in_extents(&mut fs, 100);
        let id = ExtentId { ino, index: 0 };
        let fence_now = |fs: &mut Fs| fs.run(|txn, _| fence(txn, id)).unwrap();
        if fence_first {
            fence_now(&mut fs);
        }
        truncate(&mut fs, ino, 10).unwrap();
        if !fence_first {
            fence_now(&mut fs);
        }
        let (epoch, queued) = (Epoch(3), pending(&fs));
        let [(number, item)] = &queued[..] else { panic!("one item") };
        assert_eq!(item, &WorkItem::Cut { extent: id, home: HOME, epoch, keep_bytes: 10, fences: true });
        // Done twice, as a report may be repeated.
        fs.run(|txn, _| work::done(txn, &[*number, *number])).unwrap();
        let left = pending(&fs);
        assert_eq!(left, [(number + 1, WorkItem::Fence { extent: id, home: HOME, epoch })]);
        assert_eq!(record(&fs, ino, 0).pending_work, Some(number + 1), "no new handle before the fence");
        fs.run(|txn, _| work::done(txn, &[*number])).unwrap();
        assert_eq!(pending(&fs), left);
        fs.run(|txn, _| work::done(txn, &[number + 1])).unwrap();
        assert_eq!((pending(&fs), record(&fs, ino, 0).pending_work), (vec![], None));
    }
}

#[test]
fn a_reaped_file_leaves_only_work() {
    let mut fs = Fs::new();
    let ino = file_in_extents(&mut fs, EXTENT_BYTES * 2);
    truncate(&mut fs, ino, 5);
    fs.run(|txn, now| remove(txn, &user(USER), ROOT_INO, b"file", now)).unwrap();
    let left = fs.run(|txn, _| reap::reap(txn, ino)).unwrap();
    let drops = |item: &WorkItem| matches!(item, WorkItem::Drop { epoch: Epoch(3), .. });
    assert!(left.len() == 2 && left.iter().all(|(_, item)| drops(item)));
    assert_eq!(pending(&fs), left);
    assert_eq!(extents(&*fs.view(), ino, 0, 10).unwrap(), []);
    let numbers: Vec<u64> = left.iter().map(|(number, _)| *number).collect();
    fs.run(|txn, _| work::done(txn, &numbers)).unwrap();
    assert_eq!(pending(&fs), []);
}
