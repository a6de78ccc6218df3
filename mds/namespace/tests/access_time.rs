//! Access times, as relatime keeps them.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use fixture::{Fs, root};
use mds_namespace::limits::{ACCESS_S_MAX, ACCESS_S_MIN};
use mds_namespace::op::access_time::{self, note};
use mds_namespace::{Inode, Kind, SetAttributes, SetTime, Timestamp};

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 5 }
}

fn is_due(inode: &Inode, now: Timestamp) -> bool {
    access_time::is_due(inode.atime, inode.changed_at(), now)
}

#[test]
fn one_of_many_readers_moves_the_time_and_nothing_else() {
    let mut fs = Fs::new();
    let ino = fs.given("f", Kind::Regular, 0o644, 0, 0);
    let before = fs.inode(ino);
    assert!(is_due(&before, before.mtime), "it was created and not read yet");
    fs.run(|txn, now| note(txn, ino, before.atime, now)).unwrap();
    let read = fs.last();
    assert!(before.atime < read);
    assert_eq!(fs.inode(ino), Inode { atime: read, ..before.clone() });
    // A second reader read the same old time.
    fs.run(|txn, now| note(txn, ino, before.atime, now)).unwrap();
    assert_eq!(fs.inode(ino).atime, read);
    assert!(!is_due(&fs.inode(ino), fs.last()));
}

#[test]
fn a_read_is_due_after_a_change_and_after_a_day() {
    let mut fs = Fs::new();
    let ino = fs.given("f", Kind::Regular, 0o644, 0, 0);
    let inode = |atime, mtime, ctime| Inode { atime, mtime, ctime, ..fs.inode(ino) };
    assert!(is_due(&inode(at(10), at(10), at(9)), at(11)));
    assert!(is_due(&inode(at(10), at(9), at(10)), at(11)));
    assert!(!is_due(&inode(at(10), at(9), at(9)), at(11)));
    assert!(!is_due(&inode(at(10), at(9), at(9)), at(9 + ACCESS_S_MAX)));
    assert!(is_due(&inode(at(10), at(9), at(9)), at(10 + ACCESS_S_MAX)));
    // A time in the future: not with each read.
    let to_come = |atime| inode(atime, at(1 << 40), at(9));
    assert!(is_due(&to_come(at(10)), at(10 + ACCESS_S_MIN)));
    assert!(!is_due(&to_come(at(10)), at(9 + ACCESS_S_MIN)));
}

#[test]
fn a_time_that_is_set_stays_until_the_next_read() {
    let mut fs = Fs::new();
    let ino = fs.given("f", Kind::Regular, 0o644, 0, 0);
    let old = SetAttributes { atime: Some(SetTime::At(at(3))), ..SetAttributes::default() };
    let seen = fs.inode(ino).atime;
    fs.set(&root(), ino, &old).unwrap();
    // An earlier read does not overwrite it.
    fs.run(|txn, now| note(txn, ino, seen, now)).unwrap();
    assert_eq!(fs.inode(ino).atime, at(3));
}
