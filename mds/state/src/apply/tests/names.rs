//! CREATE, LINK, REMOVE, SETATTR, as far as this crate adds to the namespace.

use mds_namespace::{FsError, Kind, SetAttributes, Timestamp};

use super::*;
use crate::command::governor::Bound;
use crate::command::namespace::{Accessed, Create, Link, Rename, SetAttributesOf};

#[test]
fn create_makes_no_regular_file() {
    let mut stage = Stage::new();
    let create = |kind| {
        Command::Create(Create {
            caller: ROOT,
            directory: ROOT_INO,
            name: b"x".to_vec(),
            kind,
            symlink_target: Vec::new(),
            attributes: SetAttributes::default(),
        })
    };
    assert_eq!(stage.refused(create(Kind::Regular)), Refusal::Namespace(FsError::WrongKind));
    let Outcome::Entry(made) = stage.run(create(Kind::Directory)) else { panic!("refused") };
    assert_eq!(made.inode.nlink, 2);
    assert!(made.directory.before < made.directory.after);
}

#[test]
fn linked_file_outlives_one_name() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let opened = stage.create(client, "o", "f");
    let ino = opened.inode.ino;
    stage.close(client, ino, opened.stateid);
    let link = Link { caller: ROOT, ino, directory: ROOT_INO, name: b"g".to_vec() };
    assert!(matches!(stage.run(Command::Link(link)), Outcome::Entry(_)));
    stage.remove("f");
    assert_eq!(stage.view().inode(ino).unwrap().nlink, 1);
    stage.remove("g");
    assert!(stage.view().inode(ino).is_err());
}

/// The size may be set through a write open, whatever the mode (RFC 8881 §18.30.3).
#[test]
fn size_is_set_through_an_open() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    let set = |by_write_open| {
        Command::SetAttributes(SetAttributesOf {
            caller: user(5),
            ino,
            attributes: SetAttributes { size_bytes: Some(9), ..SetAttributes::default() },
            by_write_open,
        })
    };
    assert_eq!(stage.refused(set(false)), Refusal::Namespace(FsError::AccessDenied));
    let Outcome::Attributes(answer) = stage.run(set(true)) else { panic!("refused") };
    assert_eq!((answer.inode.size_bytes, answer.truncated), (9, None));
}

/// A command may change only the inodes that its proposer keeps acts on several shards away from: a
/// name may lead to another inode by the time the command is applied.
#[test]
fn a_command_changes_only_its_bound_inodes() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let session = stage.session(client);
    let mut file = |name: &str| {
        let opened = stage.create(client, name, name);
        stage.close(client, opened.inode.ino, opened.stateid);
        opened.inode.ino
    };
    let (first, second) = (file("f"), file("g"));
    let name = |name: &str| name.as_bytes().to_vec();
    let directory = ROOT_INO;
    let rename = |from: &str, to: &str| -> Command {
        let (from_name, to_name) = (name(from), name(to));
        let (from_directory, to_directory) = (directory, directory);
        Command::Rename(Rename { caller: ROOT, from_directory, from_name, to_directory, to_name })
    };
    let remove = Command::Remove(Remove { caller: ROOT, directory, name: name("f") });
    let link = Command::Link(Link { caller: ROOT, ino: second, directory, name: name("h") });
    let attributes = SetAttributes { size_bytes: Some(0), ..SetAttributes::default() };
    let cut = Target::Create { directory, name: name("f"), how: How::Unchecked, attributes };
    let cut = open_command(client, "o", ROOT, BOTH, cut);
    assert!(matches!(stage.run(rename("g", "f")), Outcome::Renamed(_)), "f is the second file now");
    let origin = Some(Stage::origin(session, 0, 1));
    for command in [remove.clone(), link.clone(), cut, rename("f", "i")] {
        let bound = Bound::to(vec![directory, first], command);
        assert_eq!(stage.refused(bound.clone()), Refusal::NamesMoved, "{bound:?}");
        // The refusal is not recorded, so the next try is no retry.
        assert_eq!(stage.asked(origin.clone(), bound), Outcome::Refused(Refusal::NamesMoved));
        assert_eq!(stage.view().recorded(origin.as_ref().unwrap()).unwrap(), None);
    }
    // Nor may it change a directory that it is not bound to; but it may change what it makes.
    let make = create_target("new", How::Guarded);
    let make = open_command(client, "o", ROOT, BOTH, make);
    assert_eq!(stage.refused(Bound::to(vec![second], make.clone())), Refusal::NamesMoved);
    assert!(matches!(stage.run(Bound::to(vec![directory], make)), Outcome::Opened(_)));
    for command in [link, remove] {
        let done = stage.run(Bound::to(vec![directory, second], command));
        assert!(matches!(done, Outcome::Entry(_)), "{done:?}");
    }
    assert_eq!(stage.view().inode(second).unwrap().nlink, 1);
    stage.check();
}

/// The log keeps commands: a variant never moves, and its fields never change
/// (docs/formats/raft_log.md).
#[test]
fn bound_commands_have_their_golden_bytes() {
    let remove = Remove { caller: ROOT, directory: 3, name: b"f".to_vec() };
    let plain = postcard::to_allocvec(&Command::Remove(remove.clone())).unwrap();
    let bound = Bound::to(vec![3, 0x81], Command::Remove(remove));
    let bytes = postcard::to_allocvec(&bound).unwrap();
    assert_eq!(bytes[..6], [0x37, 2, 3, 0x81, 1, 3], "{bytes:x?}");
    assert_eq!(bytes[6..], plain[1..]);
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), bound);
    assert_eq!(Bound::to(vec![3], Command::TakeGroup), Command::TakeGroup);
}

/// Spec: docs/formats/raft_log.md: the entry of a read, byte for byte.
#[test]
fn a_recorded_read_moves_only_the_access_time() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let before = stage.create(client, "o", "f").inode;
    let seen = Timestamp { seconds: -2, nanos: 300 };
    let command = Command::Accessed(Accessed { ino: 5, seen });
    let bytes = postcard::to_allocvec(&command).unwrap();
    assert_eq!(bytes, [67, 5, 3, 0xac, 0x02]);
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
    let noted = Command::Accessed(Accessed { ino: before.ino, seen: before.atime });
    assert_eq!(stage.run(noted.clone()), Outcome::Done);
    let after = stage.view().inode(before.ino).unwrap();
    assert!(before.atime < after.atime);
    assert_eq!(mds_namespace::Inode { atime: before.atime, ..after.clone() }, before);
    assert_eq!(stage.run(noted), Outcome::Done);
    assert_eq!(stage.view().inode(before.ino).unwrap(), after, "another reader was first");
    stage.check();
}

/// `: > f` on an empty file: a successful O_TRUNC marks both times for update, whatever the size
/// was.
/// Spec: RFC 8881 §18.16.3; POSIX.1-2024 `open`.
#[test]
fn emptying_an_empty_file_moves_its_times() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let before = stage.create(client, "o", "f").inode;
    let attributes = SetAttributes { size_bytes: Some(0), ..SetAttributes::default() };
    let name = b"f".to_vec();
    let how = crate::command::open::How::Unchecked;
    let target = Target::Create { directory: ROOT_INO, name, how, attributes };
    let after = stage.open(client, "o", BOTH, target).inode;
    assert!(before.mtime < after.mtime && before.ctime < after.ctime && before.change < after.change);
    assert_eq!((before.size_bytes, after.size_bytes), (0, 0));
    stage.check();
}
