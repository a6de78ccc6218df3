//! Permissions, and which error comes first when there are several.
//!
//! Spec: POSIX.1-2024; the order of errors is that of a local Linux file system, on which pjdfstest
//! was written.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use fixture::{Fs, mode, root, user};
use mds_namespace::op::access::{Access, check_open, granted};
use mds_namespace::op::link::link;
use mds_namespace::op::readdir::{PageLimit, readdir};
use mds_namespace::op::remove::{remove, rmdir, unlink};
use mds_namespace::op::rename::{Place, rename};
use mds_namespace::{Caller, FsError, Ino, Kind, ROOT_INO, SetAttributes, SetTime, Timestamp};

const USER: u32 = 100;
const OTHER: u32 = 200;

fn rename_as(fs: &mut Fs, caller: &Caller, from: (Ino, &str), to: (Ino, &str)) -> Result<(), FsError> {
    let from = Place { directory: from.0, name: from.1.as_bytes() };
    let to = Place { directory: to.0, name: to.1.as_bytes() };
    fs.run(|txn, now| rename(txn, caller, from, to, now)).map(drop)
}

fn remove_as(fs: &mut Fs, caller: &Caller, directory: Ino, name: &str) -> Result<(), FsError> {
    fs.run(|txn, now| remove(txn, caller, directory, name.as_bytes(), now)).map(drop)
}

#[test]
fn the_first_class_that_fits_decides() {
    let mut fs = Fs::new();
    let file = fs.given("file", Kind::Regular, 0o074, USER, USER);
    let inode = fs.inode(file);
    let member = Caller { uid: OTHER, gid: OTHER, gids: vec![5, USER] };
    assert_eq!(granted(&inode, &user(USER)), Access(0));
    let everything = Access::READ | Access::MODIFY | Access::EXTEND | Access::EXECUTE;
    assert_eq!(granted(&inode, &member), Access(everything));
    assert_eq!(granted(&inode, &user(OTHER)), Access(Access::READ));
    assert_eq!(granted(&inode, &root()), Access(everything));
    // Not even the superuser executes a file without any execute bit.
    let plain = fs.given("plain", Kind::Regular, 0o600, USER, USER);
    assert_eq!(granted(&fs.inode(plain), &root()).0 & Access::EXECUTE, 0);
    let directory = fs.given("directory", Kind::Directory, 0, USER, USER);
    let everything = Access::READ | Access::LOOKUP | Access::MODIFY | Access::EXTEND | Access::DELETE;
    assert_eq!(granted(&fs.inode(directory), &root()), Access(everything));
}

#[test]
fn open_checks_kind_and_mode() {
    let mut fs = Fs::new();
    let cases = [
        (Kind::Directory, FsError::IsDirectory),
        (Kind::Symlink, FsError::SymlinkInPath),
        (Kind::Fifo, FsError::WrongKind),
        (Kind::Socket, FsError::WrongKind),
        (Kind::Block { major: 1, minor: 2 }, FsError::WrongKind),
    ];
    for (number, (kind, error)) in cases.into_iter().enumerate() {
        let ino = fs.given(&number.to_string(), kind, 0o777, USER, USER);
        assert_eq!(check_open(&fs.inode(ino), &user(USER), true, false), Err(error));
    }
    let file = fs.given("file", Kind::Regular, 0o421, USER, USER);
    let inode = fs.inode(file);
    assert_eq!(check_open(&inode, &user(USER), true, false), Ok(()));
    assert_eq!(check_open(&inode, &user(USER), true, true), Err(FsError::AccessDenied));
    let member = Caller { uid: OTHER, gid: USER, gids: vec![] };
    assert_eq!(check_open(&inode, &member, false, true), Ok(()));
    assert_eq!(check_open(&inode, &member, true, false), Err(FsError::AccessDenied));
    // To execute a file a client opens it for reading.
    assert_eq!(check_open(&inode, &user(OTHER), true, false), Ok(()));
}

#[test]
fn search_permission_comes_before_existence_and_write_permission_after() {
    let mut fs = Fs::new();
    let closed = fs.given("closed", Kind::Directory, 0o666, USER, USER);
    let fixed = fs.given("fixed", Kind::Directory, 0o555, USER, USER);
    let file = fs.given("file", Kind::Regular, 0o644, USER, USER);
    fs.given_in(closed, "there", Kind::Regular, 0o644, USER, USER);
    fs.given_in(fixed, "there", Kind::Regular, 0o644, USER, USER);
    let me = user(USER);
    for name in ["there", "missing"] {
        assert_eq!(fs.lookup(&me, closed, name), Err(FsError::AccessDenied));
        assert_eq!(remove_as(&mut fs, &me, closed, name), Err(FsError::AccessDenied));
        let made = fs.make(&me, closed, name, Kind::Regular, &mode(0o644));
        assert_eq!(made.err(), Some(FsError::AccessDenied));
        let linked = fs.run(|txn, now| link(txn, &me, file, closed, name.as_bytes(), now));
        assert_eq!(linked.err(), Some(FsError::AccessDenied));
        assert_eq!(rename_as(&mut fs, &me, (closed, name), (ROOT_INO, "x")), Err(FsError::AccessDenied));
        assert_eq!(rename_as(&mut fs, &me, (ROOT_INO, "file"), (closed, name)), Err(FsError::AccessDenied));
    }
    assert_eq!(fs.lookup(&me, fixed, "missing"), Err(FsError::NotFound));
    assert_eq!(remove_as(&mut fs, &me, fixed, "missing"), Err(FsError::NotFound));
    assert_eq!(remove_as(&mut fs, &me, fixed, "there"), Err(FsError::AccessDenied));
    for kind in [Kind::Regular, Kind::Directory, Kind::Symlink, Kind::Fifo] {
        assert_eq!(fs.make(&me, fixed, "there", kind, &mode(0o644)).err(), Some(FsError::Exists));
        assert_eq!(fs.make(&me, fixed, "new", kind, &mode(0o644)).err(), Some(FsError::AccessDenied));
    }
    let linked = fs.run(|txn, now| link(txn, &me, file, fixed, b"there", now));
    assert_eq!(linked.err(), Some(FsError::Exists));
    assert_eq!(rename_as(&mut fs, &me, (fixed, "missing"), (ROOT_INO, "x")), Err(FsError::NotFound));
    assert_eq!(rename_as(&mut fs, &me, (fixed, "there"), (ROOT_INO, "x")), Err(FsError::AccessDenied));
    assert_eq!(rename_as(&mut fs, &me, (ROOT_INO, "file"), (fixed, "x")), Err(FsError::AccessDenied));
}

#[test]
fn a_directory_is_needed_and_names_have_bounds() {
    let mut fs = Fs::new();
    let file = fs.given("file", Kind::Regular, 0o777, USER, USER);
    let me = user(USER);
    let long = "n".repeat(256);
    assert_eq!(fs.lookup(&me, file, "x"), Err(FsError::NotDirectory));
    assert_eq!(fs.make(&me, file, "x", Kind::Fifo, &mode(0o644)).err(), Some(FsError::NotDirectory));
    assert_eq!(remove_as(&mut fs, &me, file, "x"), Err(FsError::NotDirectory));
    assert_eq!(rename_as(&mut fs, &me, (ROOT_INO, "file"), (file, "x")), Err(FsError::NotDirectory));
    assert_eq!(fs.lookup(&me, 4711, "x"), Err(FsError::Stale));
    assert_eq!(fs.lookup(&me, ROOT_INO, &long), Err(FsError::NameTooLong));
    assert_eq!(fs.make(&me, ROOT_INO, &long, Kind::Fifo, &mode(0o644)).err(), Some(FsError::NameTooLong));
    assert_eq!(rename_as(&mut fs, &me, (ROOT_INO, "file"), (ROOT_INO, &long)), Err(FsError::NameTooLong));
    assert_eq!(fs.make(&me, ROOT_INO, "..", Kind::Fifo, &mode(0o644)).err(), Some(FsError::BadName));
    fs.make(&me, ROOT_INO, &long[1..], Kind::Fifo, &mode(0o644)).unwrap();
}

#[test]
fn devices_are_for_the_superuser() {
    let mut fs = Fs::new();
    for kind in [Kind::Block { major: 1, minor: 2 }, Kind::Character { major: 3, minor: 4 }] {
        let refused = fs.make(&user(USER), ROOT_INO, "device", kind, &mode(0o644));
        assert_eq!(refused.err(), Some(FsError::NotPermitted));
        let made = fs.make(&root(), ROOT_INO, "device", kind, &mode(0o644)).unwrap();
        assert_eq!(fs.inode(made.inode.ino).kind, kind);
        remove_as(&mut fs, &root(), ROOT_INO, "device").unwrap();
    }
    for (name, kind) in [("fifo", Kind::Fifo), ("socket", Kind::Socket)] {
        fs.make(&user(USER), ROOT_INO, name, kind, &mode(0o644)).unwrap();
    }
}

#[test]
fn a_sticky_directory_keeps_others_names() {
    let mut fs = Fs::new();
    let sticky = fs.given("sticky", Kind::Directory, 0o1777, USER, USER);
    for (owner, name) in [(OTHER, "a"), (OTHER, "b"), (OTHER, "c"), (USER, "mine")] {
        fs.given_in(sticky, name, Kind::Regular, 0o644, owner, owner);
    }
    let stranger = user(300);
    fs.given_in(ROOT_INO, "out", Kind::Regular, 0o644, 300, 300);
    assert_eq!(remove_as(&mut fs, &stranger, sticky, "a"), Err(FsError::NotPermitted));
    assert_eq!(rename_as(&mut fs, &stranger, (sticky, "a"), (ROOT_INO, "a")), Err(FsError::NotPermitted));
    assert_eq!(rename_as(&mut fs, &stranger, (ROOT_INO, "out"), (sticky, "a")), Err(FsError::NotPermitted));
    assert_eq!(remove_as(&mut fs, &user(OTHER), sticky, "mine"), Err(FsError::NotPermitted));
    remove_as(&mut fs, &user(OTHER), sticky, "a").unwrap();
    remove_as(&mut fs, &user(USER), sticky, "b").unwrap();
    remove_as(&mut fs, &root(), sticky, "c").unwrap();
    rename_as(&mut fs, &stranger, (ROOT_INO, "out"), (sticky, "new")).unwrap();
}

#[test]
fn a_directory_that_moves_must_be_writable() {
    let mut fs = Fs::new();
    let (a, b) = (
        fs.given("a", Kind::Directory, 0o777, USER, USER),
        fs.given("b", Kind::Directory, 0o777, USER, USER),
    );
    fs.given_in(a, "sub", Kind::Directory, 0o700, OTHER, OTHER);
    assert_eq!(rename_as(&mut fs, &user(USER), (a, "sub"), (b, "sub")), Err(FsError::AccessDenied));
    rename_as(&mut fs, &user(USER), (a, "sub"), (a, "other")).unwrap();
    rename_as(&mut fs, &user(OTHER), (a, "other"), (b, "sub")).unwrap();
}

#[test]
fn listing_needs_read_permission() {
    let mut fs = Fs::new();
    let directory = fs.given("directory", Kind::Directory, 0o311, USER, USER);
    let limit = PageLimit { entries_max: 10, bytes_max: 1000, entry_overhead_bytes: 0 };
    let listed = readdir(&*fs.view(), &user(USER), directory, 0, &limit);
    assert_eq!(listed, Err(FsError::AccessDenied));
    assert!(readdir(&*fs.view(), &root(), directory, 0, &limit).unwrap().end);
}

#[test]
fn directories_are_neither_linked_nor_unlinked() {
    let mut fs = Fs::new();
    let directory = fs.given("directory", Kind::Directory, 0o777, USER, USER);
    fs.given("file", Kind::Regular, 0o777, USER, USER);
    let me = user(USER);
    let linked = fs.run(|txn, now| link(txn, &me, directory, ROOT_INO, b"new", now));
    assert_eq!(linked.err(), Some(FsError::NotPermitted));
    let unlinked = fs.run(|txn, now| unlink(txn, &me, ROOT_INO, b"directory", now));
    assert_eq!(unlinked.err(), Some(FsError::NotPermitted));
    let removed = fs.run(|txn, now| rmdir(txn, &me, ROOT_INO, b"file", now));
    assert_eq!(removed.err(), Some(FsError::NotDirectory));
    fs.run(|txn, now| unlink(txn, &me, ROOT_INO, b"file", now)).unwrap();
    fs.run(|txn, now| rmdir(txn, &me, ROOT_INO, b"directory", now)).unwrap();
}

fn owner(uid: Option<u32>, gid: Option<u32>) -> SetAttributes {
    SetAttributes { uid, gid, ..SetAttributes::default() }
}

#[test]
fn chown_gives_away_only_to_own_groups() {
    let mut fs = Fs::new();
    let file = fs.given("file", Kind::Regular, 0o644, USER, USER);
    let me = Caller { uid: USER, gid: USER, gids: vec![7, 8] };
    for refused in [owner(Some(OTHER), None), owner(None, Some(9)), owner(Some(USER), Some(9))] {
        assert_eq!(fs.set(&me, file, &refused), Err(FsError::NotPermitted));
    }
    assert_eq!(fs.set(&user(OTHER), file, &owner(Some(USER), Some(USER))), Err(FsError::NotPermitted));
    let inode = fs.set(&me, file, &owner(Some(USER), Some(8))).unwrap();
    assert_eq!((inode.uid, inode.gid, inode.ctime), (USER, 8, fs.last()));
    fs.set(&user(USER), file, &owner(None, Some(8))).unwrap();
    let inode = fs.set(&root(), file, &owner(Some(1), Some(2))).unwrap();
    assert_eq!((inode.uid, inode.gid), (1, 2));
}

#[test]
fn chown_takes_set_id_bits_away() {
    let mut fs = Fs::new();
    let me = Caller { uid: USER, gid: USER, gids: vec![7] };
    for (caller, before, after) in [
        (&me, 0o6555, 0o0555),
        (&root(), 0o6555, 0o0555),
        (&me, 0o4644, 0o0644),
        // Set-group-id without group execution marks mandatory locking.
        (&me, 0o6644, 0o2644),
    ] {
        let file = fs.given("file", Kind::Regular, 0o644, USER, USER);
        fs.set(&root(), file, &mode(before)).unwrap();
        assert_eq!(fs.set(caller, file, &owner(None, Some(7))).unwrap().mode, after);
        fs.set(&root(), file, &mode(before)).unwrap();
        assert_eq!(fs.set(caller, file, &SetAttributes::default()).unwrap().mode, before);
        remove_as(&mut fs, &root(), ROOT_INO, "file").unwrap();
    }
    let directory = fs.given("directory", Kind::Directory, 0o2755, USER, USER);
    assert_eq!(fs.set(&me, directory, &owner(None, Some(7))).unwrap().mode, 0o2755);
}

#[test]
fn chmod_is_the_owners_and_set_group_id_a_members() {
    let mut fs = Fs::new();
    let file = fs.given("file", Kind::Regular, 0o644, USER, OTHER);
    assert_eq!(fs.set(&user(OTHER), file, &mode(0o600)), Err(FsError::NotPermitted));
    assert_eq!(fs.set(&user(USER), file, &mode(0o6755)).unwrap().mode, 0o4755);
    let member = Caller { uid: USER, gid: USER, gids: vec![OTHER] };
    assert_eq!(fs.set(&member, file, &mode(0o6755)).unwrap().mode, 0o6755);
    assert_eq!(fs.set(&root(), file, &mode(0o2755)).unwrap().mode, 0o2755);
    assert_eq!(fs.set(&root(), file, &mode(0o10000)), Err(FsError::Invalid));
}

#[test]
fn times_are_the_owners_or_now() {
    let mut fs = Fs::new();
    let file = fs.given("file", Kind::Regular, 0o646, USER, USER);
    let at = SetTime::At(Timestamp { seconds: -5, nanos: 5 });
    let times = |atime, mtime| SetAttributes { atime, mtime, ..SetAttributes::default() };
    let (now, given) = (Some(SetTime::Now), Some(at));
    // A caller with write permission sets both to now, and nothing else.
    let writer = user(OTHER);
    for refused in
        [times(given, given), times(now, given), times(given, None), times(now, None), times(None, now)]
    {
        assert_eq!(fs.set(&writer, file, &refused), Err(FsError::NotPermitted));
    }
    let inode = fs.set(&writer, file, &times(now, now)).unwrap();
    assert_eq!((inode.atime, inode.mtime, inode.ctime), (fs.last(), fs.last(), fs.last()));
    let reader = Caller { uid: OTHER, gid: USER, gids: vec![] };
    assert_eq!(fs.set(&reader, file, &times(now, now)), Err(FsError::AccessDenied));
    let before = fs.inode(file).mtime;
    let inode = fs.set(&user(USER), file, &times(given, None)).unwrap();
    assert_eq!((inode.atime.seconds, inode.mtime, inode.ctime), (-5, before, fs.last()));
    let none = SetTime::At(Timestamp { seconds: 0, nanos: 1_000_000_000 });
    assert_eq!(fs.set(&user(USER), file, &times(Some(none), None)), Err(FsError::Invalid));
}

#[test]
fn the_size_is_for_writers_and_files() {
    let mut fs = Fs::new();
    let file = fs.given("file", Kind::Regular, 0o444, USER, USER);
    let size = |size_bytes| SetAttributes { size_bytes: Some(size_bytes), ..SetAttributes::default() };
    assert_eq!(fs.set(&user(USER), file, &size(1)), Err(FsError::AccessDenied));
    let by_open = fs.run(|txn, now| {
        mds_namespace::op::setattr::set_attributes(txn, &user(USER), file, &size(1), true, now)
    });
    assert_eq!(by_open.unwrap().inode.size_bytes, 1);
    let too_large = size(mds_namespace::limits::FILE_BYTES_MAX + 1);
    assert_eq!(fs.set(&root(), file, &too_large), Err(FsError::TooLarge));
    let directory = fs.given("directory", Kind::Directory, 0o777, USER, USER);
    assert_eq!(fs.set(&root(), directory, &size(0)), Err(FsError::IsDirectory));
    let fifo = fs.given("fifo", Kind::Fifo, 0o777, USER, USER);
    assert_eq!(fs.set(&root(), fifo, &size(0)), Err(FsError::Invalid));
    // Truncating clears set-id bits for users other than the superuser; ftruncate comes with a time
    // of now.
    fs.set(&root(), file, &mode(0o6777)).unwrap();
    assert_eq!(fs.set(&root(), file, &size(0)).unwrap().mode, 0o6777);
    let truncate = SetAttributes { mtime: Some(SetTime::Now), ..size(0) };
    assert_eq!(fs.set(&user(OTHER), file, &truncate).unwrap().mode, 0o0777);
}
