//! CREATE, LINK, REMOVE, SETATTR, as far as this crate adds to the namespace.

use mds_namespace::{FsError, Kind, SetAttributes};

use super::*;
use crate::command::namespace::{Create, Link, SetAttributesOf};

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

/// The size may be set through a write open, whatever the mode says (RFC 8881 §18.30.3).
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
