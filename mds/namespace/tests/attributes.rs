//! Effects of operations on attributes: owners and modes of new objects, times, change counters,
//! links.
//!
//! Spec: POSIX.1-2024; RFC 8881 §5.8.1.4.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use fixture::{Fs, mode, root, user};
use mds_namespace::op::create::{NewObject, create};
use mds_namespace::op::link::link;
use mds_namespace::op::readlink::readlink;
use mds_namespace::op::remove::remove;
use mds_namespace::op::rename::{Place, rename};
use mds_namespace::op::{exclusive, lookup, reap, statfs};
use mds_namespace::{Caller, FsError, Ino, Inode, Kind, ROOT_INO, SetAttributes, SetTime, Timestamp};

const USER: u32 = 100;

fn place(directory: Ino, name: &str) -> Place<'_> {
    Place { directory, name: name.as_bytes() }
}

/// The directory, before and after: mtime and ctime change, and its counter by one.
fn assert_modified(before: &Inode, after: &Inode, now: Timestamp) {
    assert_eq!((after.mtime, after.ctime, after.atime), (now, now, before.atime));
    assert_eq!(after.change, before.change + 1);
}

#[test]
fn new_objects_belong_to_their_maker() {
    let mut fs = Fs::new();
    let me = Caller { uid: USER, gid: 7, gids: vec![8] };
    let before = fs.inode(ROOT_INO);
    let made = fs.make(&me, ROOT_INO, "file", Kind::Regular, &mode(0o6644)).unwrap();
    let now = fs.last();
    let inode = fs.inode(made.inode.ino);
    assert_eq!(inode, made.inode);
    assert_eq!((inode.uid, inode.gid, inode.mode, inode.nlink), (USER, 7, 0o6644, 1));
    assert_eq!((inode.atime, inode.mtime, inode.ctime, inode.size_bytes), (now, now, now, 0));
    assert_modified(&before, &fs.inode(ROOT_INO), now);
    assert_eq!((made.directory.before, made.directory.after), (before.change, before.change + 1));
    let link = fs.make(&me, ROOT_INO, "link", Kind::Symlink, &mode(0o600)).unwrap().inode;
    assert_eq!((link.mode, link.size_bytes), (0o777, 6));
    assert_eq!(readlink(&*fs.view(), link.ino).unwrap(), b"target");
    assert_eq!(readlink(&*fs.view(), inode.ino), Err(FsError::Invalid));
    let directory = fs.make(&me, ROOT_INO, "directory", Kind::Directory, &mode(0o7755)).unwrap().inode;
    assert_eq!((directory.mode, directory.nlink, directory.parent), (0o1755, 2, ROOT_INO));
    assert_eq!(fs.inode(ROOT_INO).nlink, 3);
    // Given attributes are used, within the creator's rights.
    let given = SetAttributes {
        gid: Some(8),
        mtime: Some(SetTime::At(Timestamp { seconds: 9, nanos: 9 })),
        size_bytes: Some(5),
        ..mode(0o600)
    };
    let inode = fs.make(&me, ROOT_INO, "given", Kind::Regular, &given).unwrap().inode;
    assert_eq!((inode.gid, inode.mtime.seconds, inode.size_bytes), (8, 9, 5));
    for refused in
        [SetAttributes { uid: Some(1), ..mode(0o600) }, SetAttributes { gid: Some(1), ..mode(0o600) }]
    {
        let made = fs.make(&me, ROOT_INO, "refused", Kind::Regular, &refused);
        assert_eq!(made.err(), Some(FsError::NotPermitted));
    }
    assert_eq!(statfs::inodes(&*fs.view()).unwrap(), 5);
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    let mut fs = Fs::new();
    let directory = fs.given("directory", Kind::Directory, 0o2777, USER, 7);
    let me = user(USER);
    let sub = fs.make(&me, directory, "sub", Kind::Directory, &mode(0o755)).unwrap().inode;
    assert_eq!((sub.gid, sub.mode), (7, 0o2755));
    // Only a member may set the set-group-id bit of a group.
    let file = fs.make(&me, directory, "file", Kind::Regular, &mode(0o2755)).unwrap().inode;
    assert_eq!((file.gid, file.mode), (7, 0o755));
    let member = Caller { uid: USER, gid: USER, gids: vec![7] };
    let file = fs.make(&member, directory, "member", Kind::Regular, &mode(0o2755)).unwrap().inode;
    assert_eq!((file.gid, file.mode), (7, 0o2755));
}

#[test]
fn symlink_targets_have_bounds() {
    let mut fs = Fs::new();
    let attributes = SetAttributes::default();
    for (target, error) in [
        (vec![], FsError::Invalid),
        (b"a\0b".to_vec(), FsError::Invalid),
        (vec![b'x'; 4096], FsError::NameTooLong),
    ] {
        let new = NewObject {
            kind: Kind::Symlink,
            symlink_target: &target,
            attributes: &attributes,
            verifier: None,
        };
        let made = fs.run(|txn, now| create(txn, &root(), ROOT_INO, b"link", &new, now));
        assert_eq!(made.err(), Some(error));
    }
}

#[test]
fn link_and_remove_move_counts_and_times() {
    let mut fs = Fs::new();
    let me = user(USER);
    let file = fs.given("file", Kind::Regular, 0o644, USER, USER);
    let directory = fs.given("directory", Kind::Directory, 0o777, USER, USER);
    let (before, parent) = (fs.inode(file), fs.inode(directory));
    let linked = fs.run(|txn, now| link(txn, &me, file, directory, b"second", now)).unwrap();
    assert_eq!((linked.inode.nlink, linked.inode.ctime), (2, fs.last()));
    assert_eq!((linked.inode.mtime, linked.inode.change), (before.mtime, before.change + 1));
    assert_modified(&parent, &fs.inode(directory), fs.last());
    let parent = fs.inode(directory);
    let removed = fs.run(|txn, now| remove(txn, &me, directory, b"second", now)).unwrap();
    assert_eq!((removed.inode.nlink, removed.last_link, removed.inode.ctime), (1, false, fs.last()));
    assert_modified(&parent, &fs.inode(directory), fs.last());
    // The last name leaves an orphan that can be read until it is reaped, but gets no name again.
    let removed = fs.run(|txn, now| remove(txn, &me, ROOT_INO, b"file", now)).unwrap();
    assert_eq!((removed.inode.nlink, removed.last_link), (0, true));
    assert_eq!(reap::orphans(&*fs.view(), 0, 10).unwrap(), [file]);
    let again = fs.run(|txn, now| link(txn, &me, file, directory, b"again", now));
    assert_eq!(again.err(), Some(FsError::NotFound));
    assert_eq!(fs.inode(file).nlink, 0);
    assert_eq!(fs.run(|txn, _| reap::reap(txn, directory)), Err(FsError::Busy));
    fs.run(|txn, _| reap::reap(txn, file)).unwrap();
    fs.run(|txn, _| reap::reap(txn, file)).unwrap();
    assert_eq!(reap::orphans(&*fs.view(), 0, 10).unwrap(), []);
    // Only regular files can be open, so only they stay.
    for (name, kind) in [("s", Kind::Symlink), ("f", Kind::Fifo), ("directory", Kind::Directory)] {
        if kind != Kind::Directory {
            fs.given(name, kind, 0o644, USER, USER);
        }
        let removed = fs.run(|txn, now| remove(txn, &me, ROOT_INO, name.as_bytes(), now)).unwrap();
        assert!(removed.last_link);
        assert_eq!(fs.run(|txn, _| reap::reap(txn, removed.inode.ino)), Ok(vec![]));
    }
    assert_eq!(fs.inode(ROOT_INO).nlink, 2);
    assert_eq!(statfs::inodes(&*fs.view()).unwrap(), 1);
}

#[test]
fn a_directory_with_entries_stays() {
    let mut fs = Fs::new();
    let directory = fs.given("directory", Kind::Directory, 0o777, USER, USER);
    fs.given_in(directory, "file", Kind::Regular, 0o644, USER, USER);
    let removed = fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"directory", now));
    assert_eq!(removed.err(), Some(FsError::NotEmpty));
}

#[test]
fn rename_moves_times_links_and_parents() {
    let mut fs = Fs::new();
    let a = fs.given("a", Kind::Directory, 0o777, USER, USER);
    let b = fs.given("b", Kind::Directory, 0o777, USER, USER);
    let sub = fs.given_in(a, "sub", Kind::Directory, 0o777, USER, USER);
    let (before_a, before_b, before) = (fs.inode(a), fs.inode(b), fs.inode(sub));
    let me = user(USER);
    let renamed = fs.run(|txn, now| rename(txn, &me, place(a, "sub"), place(b, "sub"), now)).unwrap();
    assert_modified(&before_a, &fs.inode(a), fs.last());
    assert_modified(&before_b, &fs.inode(b), fs.last());
    assert_eq!((renamed.from.before, renamed.from.after), (before_a.change, before_a.change + 1));
    assert_eq!((renamed.to.before, renamed.to.after), (before_b.change, before_b.change + 1));
    assert_eq!((fs.inode(a).nlink, fs.inode(b).nlink), (2, 3));
    assert_eq!((renamed.moved.ctime, renamed.moved.mtime), (fs.last(), before.mtime));
    assert_eq!(lookup::parent(&*fs.view(), &me, sub).unwrap().ino, b);
    assert_eq!(lookup::parent(&*fs.view(), &me, ROOT_INO), Err(FsError::NotFound));
    // Within one directory there is one change.
    let before = fs.inode(b);
    let renamed = fs.run(|txn, now| rename(txn, &me, place(b, "sub"), place(b, "new"), now)).unwrap();
    assert_eq!(renamed.from, renamed.to);
    assert_modified(&before, &fs.inode(b), fs.last());
}

#[test]
fn rename_replaces_what_is_there() {
    let mut fs = Fs::new();
    let me = user(USER);
    let new = fs.given("new", Kind::Regular, 0o644, USER, USER);
    let old = fs.given("old", Kind::Regular, 0o644, USER, USER);
    let renamed = fs.run(|txn, now| rename(txn, &me, place(ROOT_INO, "new"), place(ROOT_INO, "old"), now));
    let replaced = renamed.unwrap().replaced.unwrap();
    assert_eq!((replaced.ino, replaced.nlink, replaced.ctime), (old, 0, fs.last()));
    assert_eq!(fs.lookup(&me, ROOT_INO, "old").unwrap().ino, new);
    assert_eq!(reap::orphans(&*fs.view(), 0, 10).unwrap(), [old]);
    // Two names of one file: nothing changes.
    fs.run(|txn, now| link(txn, &me, new, ROOT_INO, b"twin", now)).unwrap();
    let before = (fs.inode(new), fs.inode(ROOT_INO));
    let renamed = fs.run(|txn, now| rename(txn, &me, place(ROOT_INO, "twin"), place(ROOT_INO, "old"), now));
    let renamed = renamed.unwrap();
    assert_eq!((renamed.from.before, renamed.replaced), (renamed.from.after, None));
    assert_eq!((fs.inode(new), fs.inode(ROOT_INO)), before);
    // A file does not replace a directory, nor the other way round; an empty directory can be
    // replaced by a directory.
    let empty = fs.given("empty", Kind::Directory, 0o755, USER, USER);
    let full = fs.given("full", Kind::Directory, 0o755, USER, USER);
    fs.given_in(full, "x", Kind::Regular, 0o644, USER, USER);
    for (from, to, error) in [
        ("old", "empty", FsError::IsDirectory),
        ("empty", "old", FsError::NotDirectory),
        ("empty", "full", FsError::NotEmpty),
    ] {
        let renamed = fs.run(|txn, now| rename(txn, &me, place(ROOT_INO, from), place(ROOT_INO, to), now));
        assert_eq!(renamed.err(), Some(error));
    }
    fs.run(|txn, now| rename(txn, &me, place(ROOT_INO, "full"), place(ROOT_INO, "empty"), now)).unwrap();
    assert_eq!(fs.lookup(&me, ROOT_INO, "empty").unwrap().ino, full);
    assert_eq!(mds_namespace::inode_table::inode(&*fs.view(), empty), Err(FsError::Stale));
    assert_eq!(fs.inode(ROOT_INO).nlink, 3);
}

#[test]
fn rename_makes_no_loops() {
    let mut fs = Fs::new();
    let me = user(USER);
    let a = fs.given("a", Kind::Directory, 0o777, USER, USER);
    let b = fs.given_in(a, "b", Kind::Directory, 0o777, USER, USER);
    let c = fs.given_in(b, "c", Kind::Directory, 0o777, USER, USER);
    fs.given_in(c, "file", Kind::Regular, 0o644, USER, USER);
    for (from, to, error) in [
        (place(ROOT_INO, "a"), place(a, "x"), FsError::Invalid),
        (place(ROOT_INO, "a"), place(c, "x"), FsError::Invalid),
        (place(a, "b"), place(b, "c"), FsError::Invalid),
        (place(c, "file"), place(ROOT_INO, "a"), FsError::NotEmpty),
        (place(b, "c"), place(ROOT_INO, "a"), FsError::NotEmpty),
    ] {
        assert_eq!(fs.run(|txn, now| rename(txn, &me, from, to, now)).err(), Some(error));
    }
    fs.run(|txn, now| rename(txn, &me, place(b, "c"), place(ROOT_INO, "c"), now)).unwrap();
    fs.run(|txn, now| rename(txn, &me, place(ROOT_INO, "a"), place(c, "a"), now)).unwrap();
    assert_eq!((fs.inode(b).nlink, fs.inode(c).nlink), (2, 3));
}

#[test]
fn a_verifier_is_kept_until_forgotten() {
    let mut fs = Fs::new();
    let attributes = mode(0o644);
    let new = NewObject {
        kind: Kind::Regular,
        symlink_target: b"",
        attributes: &attributes,
        verifier: Some([7; 8]),
    };
    let made = fs.run(|txn, now| create(txn, &user(USER), ROOT_INO, b"file", &new, now)).unwrap();
    let ino = made.inode.ino;
    assert_eq!(exclusive::verifier(&*fs.view(), ino).unwrap(), Some([7; 8]));
    fs.run(|txn, _| exclusive::forget(txn, ino)).unwrap();
    assert_eq!(exclusive::verifier(&*fs.view(), ino).unwrap(), None);
    let new = NewObject { verifier: Some([8; 8]), ..new };
    let ino = fs.run(|txn, now| create(txn, &user(USER), ROOT_INO, b"gone", &new, now)).unwrap().inode.ino;
    fs.run(|txn, now| remove(txn, &user(USER), ROOT_INO, b"gone", now)).unwrap();
    fs.run(|txn, _| reap::reap(txn, ino)).unwrap();
    assert_eq!(exclusive::verifier(&*fs.view(), ino).unwrap(), None);
}

#[test]
fn an_unlinked_files_attributes_still_change() {
    let mut fs = Fs::new();
    let file = fs.given("file", Kind::Regular, 0o644, USER, USER);
    fs.run(|txn, now| remove(txn, &user(USER), ROOT_INO, b"file", now)).unwrap();
    let inode = fs.set(&user(USER), file, &mode(0o600)).unwrap();
    assert_eq!((inode.mode, inode.ctime), (0o600, fs.last()));
}
