//! OPEN, OPEN_DOWNGRADE, CLOSE.

use mds_namespace::{FsError, Kind, ROOT_INO, SetAttributes};

use super::*;
use crate::command::data::WriteInline;
use crate::command::namespace::{Create, Rename, SetAttributesOf};
use crate::command::open::OpenDowngrade;

fn downgrade(client: u64, opened: &Opened, share: Share) -> Command {
    Command::OpenDowngrade(OpenDowngrade { client, ino: opened.inode.ino, stateid: opened.stateid, share })
}

/// Spec: RFC 8881 §9.10, §18.16.4.
#[test]
fn opens_of_one_owner_merge() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let first = stage.open(client, "o", READ, create_target("f", How::Guarded));
    assert!(first.created);
    assert_eq!(first.stateid.seqid, 1);
    assert_ne!(first.directory.before, first.directory.after);
    let ino = first.inode.ino;
    let second = stage.open(client, "o", WRITE, handle_target(ino));
    assert!(!second.created);
    assert_eq!(second.stateid, StateidValue { seqid: 2, other: first.stateid.other });
    let other = stage.open(client, "p", READ, name_target("f"));
    assert_ne!(other.stateid.other, first.stateid.other);
    assert_eq!(other.directory.before, other.directory.after);
    let view = stage.view();
    assert_eq!(view.open(client, ino, first.stateid), Err(Refusal::OldStateid));
    assert_eq!(view.open(client, ino, second.stateid).unwrap().share, BOTH);
    let ahead = StateidValue { seqid: 3, ..second.stateid };
    assert_eq!(view.open(client, ino, ahead), Err(Refusal::BadStateid));
    assert_eq!(view.open(client + 1, ino, second.stateid), Err(Refusal::BadStateid));
    assert_eq!(view.shares_of(ino).unwrap().opens, 2);
    stage.check();
    let closed = stage.close(client, ino, second.stateid);
    assert_eq!(closed.seqid, 3);
    assert_eq!(stage.view().open(client, ino, second.stateid), Err(Refusal::BadStateid));
    stage.close(client, ino, other.stateid);
    assert_eq!(stage.view().shares_of(ino).unwrap(), crate::record::Shares::default());
    stage.check();
}

/// Spec: RFC 8881 §9.7.
#[test]
fn share_reservations_conflict_both_ways() {
    let mut stage = Stage::new();
    let (one, two) = (stage.client("a"), stage.client("b"));
    let deny_write = Share { access: 1, deny: 2 };
    let held = stage.open(one, "o", deny_write, create_target("f", How::Unchecked));
    let ino = held.inode.ino;
    let open = |share| open_command(two, "o", ROOT, share, handle_target(ino));
    assert_eq!(stage.refused(open(WRITE)), Refusal::ShareDenied);
    assert_eq!(stage.refused(open(BOTH)), Refusal::ShareDenied);
    assert_eq!(stage.refused(open(Share { access: 2, deny: 1 })), Refusal::ShareDenied);
    let reader = stage.open(two, "o", READ, handle_target(ino));
    // The reader conflicts with an open that denies reading, not with itself.
    let deny_read = open_command(one, "o", ROOT, Share { access: 1, deny: 1 }, handle_target(ino));
    assert_eq!(stage.refused(deny_read.clone()), Refusal::ShareDenied);
    assert!(stage.view().anonymous_io_denied(ino, true).unwrap());
    assert!(!stage.view().anonymous_io_denied(ino, false).unwrap());
    stage.close(two, ino, reader.stateid);
    assert!(matches!(stage.run(deny_read), Outcome::Opened(_)));
    // Truncation through a create is a write.
    let cut = SetAttributes { size_bytes: Some(0), ..SetAttributes::default() };
    let target =
        Target::Create { directory: ROOT_INO, name: b"f".to_vec(), how: How::Unchecked, attributes: cut };
    let cutting = open_command(one, "p", ROOT, Share { access: 1, deny: 0 }, target);
    assert_eq!(stage.refused(cutting), Refusal::ShareDenied);
    stage.check();
}

/// Spec: RFC 8881 §18.16.3.
#[test]
fn exclusive_create_is_replayed_by_its_verifier() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let first = stage.open(client, "o", BOTH, create_target("f", How::Exclusive([7; 8])));
    let again = stage.open(client, "o", BOTH, create_target("f", How::Exclusive([7; 8])));
    assert_eq!(again.inode.ino, first.inode.ino);
    assert_eq!(again.stateid.seqid, 2);
    let other = open_command(client, "o", ROOT, BOTH, create_target("f", How::Exclusive([8; 8])));
    assert_eq!(stage.refused(other), Refusal::Namespace(FsError::Exists));
    let guarded = open_command(client, "o", ROOT, BOTH, create_target("f", How::Guarded));
    assert_eq!(stage.refused(guarded), Refusal::Namespace(FsError::Exists));
    stage.close(client, first.inode.ino, again.stateid);
    let late = open_command(client, "o", ROOT, BOTH, create_target("f", How::Exclusive([7; 8])));
    assert_eq!(stage.refused(late), Refusal::Namespace(FsError::Exists));
}

/// A file's creator may open it whatever its mode; every later open is checked.
#[test]
fn access_is_checked_on_existing_files() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let attributes = SetAttributes { mode: Some(0o000), ..SetAttributes::default() };
    let target = Target::Create { directory: ROOT_INO, name: b"f".to_vec(), how: How::Unchecked, attributes };
    let made = open_command(client, "o", user(5), BOTH, target.clone());
    assert!(matches!(stage.run(made.clone()), Outcome::Opened(_)));
    assert_eq!(stage.refused(made), Refusal::Namespace(FsError::AccessDenied));
    let by_name = open_command(client, "o", user(6), READ, name_target("f"));
    assert_eq!(stage.refused(by_name), Refusal::Namespace(FsError::AccessDenied));
    assert!(matches!(stage.run(open_command(client, "r", ROOT, BOTH, target)), Outcome::Opened(_)));
}

#[test]
fn only_regular_files_are_opened() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    for (name, kind, refusal) in [
        ("d", Kind::Directory, FsError::IsDirectory),
        ("l", Kind::Symlink, FsError::SymlinkInPath),
        ("p", Kind::Fifo, FsError::WrongKind),
    ] {
        let symlink_target = if kind == Kind::Symlink { b"x".to_vec() } else { Vec::new() };
        let create = Create {
            caller: ROOT,
            directory: ROOT_INO,
            name: name.as_bytes().to_vec(),
            kind,
            symlink_target,
            attributes: SetAttributes::default(),
        };
        assert!(matches!(stage.run(Command::Create(create)), Outcome::Entry(_)));
        for target in [name_target(name), create_target(name, How::Unchecked)] {
            let refused = stage.refused(open_command(client, "o", ROOT, READ, target));
            assert_eq!(refused, Refusal::Namespace(refusal.clone()));
        }
    }
}

/// An open that is refused late removes the file that it made.
#[test]
fn refused_open_leaves_no_file() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let bad = open_command(client, "o", ROOT, Share { access: 0, deny: 0 }, create_target("f", How::Guarded));
    assert_eq!(stage.refused(bad), Refusal::BadShare);
    let stale = open_command(client + 9, "o", ROOT, BOTH, create_target("f", How::Guarded));
    assert_eq!(stage.refused(stale), Refusal::StaleClient);
    let reclaim = Target::Handle { ino: ROOT_INO, reclaim: true };
    assert_eq!(stage.refused(open_command(client, "o", ROOT, READ, reclaim)), Refusal::NoGrace);
}

/// A reclaim confirms a held open, and nothing else.
/// Spec: RFC 8881 §9.11 (CLAIM_PREVIOUS).
#[test]
fn reclaim_confirms_a_held_open() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let opened = stage.create(client, "o", "f");
    let target = Target::Handle { ino: opened.inode.ino, reclaim: true };
    let again = stage.open(client, "o", BOTH, target.clone());
    assert_eq!(again.stateid, StateidValue { seqid: 2, ..opened.stateid });
    assert_eq!(stage.refused(open_command(client, "p", ROOT, READ, target)), Refusal::NoGrace);
}

/// A reclaim is not checked against the file's mode, so it gives no access that the open lacks.
/// Spec: RFC 8881 §9.11, §8.4.2.1.
#[test]
fn reclaim_widens_nothing() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let attributes = SetAttributes { mode: Some(0o444), ..SetAttributes::default() };
    let target = Target::Create { directory: ROOT_INO, name: b"f".to_vec(), how: How::Guarded, attributes };
    let made = stage.open(client, "maker", BOTH, target);
    let ino = made.inode.ino;
    stage.close(client, ino, made.stateid);
    let open = |share, target| open_command(client, "o", user(5), share, target);
    let reclaim = |share| open(share, Target::Handle { ino, reclaim: true });
    assert!(matches!(stage.run(open(READ, name_target("f"))), Outcome::Opened(_)));
    assert_eq!(stage.refused(open(WRITE, name_target("f"))), Refusal::Namespace(FsError::AccessDenied));
    for share in [WRITE, BOTH, Share { access: 1, deny: 2 }] {
        assert_eq!(stage.refused(reclaim(share)), Refusal::NoGrace, "{share:?}");
    }
    let Outcome::Opened(again) = stage.run(reclaim(READ)) else { panic!("refused") };
    assert_eq!(again.stateid.seqid, 2, "a refused reclaim changes nothing");
    assert_eq!(stage.view().open(client, ino, again.stateid).unwrap().share, READ);
    stage.check();
}

/// Spec: RFC 8881 §18.18.3.
#[test]
fn downgrade_goes_to_an_opened_mode() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let mut opened = stage.open(client, "o", READ, create_target("f", How::Unchecked));
    opened.stateid = stage.open(client, "o", BOTH, name_target("f")).stateid;
    assert_eq!(stage.refused(downgrade(client, &opened, WRITE)), Refusal::BadShare);
    assert_eq!(stage.refused(downgrade(client, &opened, Share { access: 1, deny: 1 })), Refusal::BadShare);
    assert_eq!(stage.refused(downgrade(client, &opened, Share::default())), Refusal::BadShare);
    let Outcome::Stateid(stateid) = stage.run(downgrade(client, &opened, READ)) else { panic!("refused") };
    assert_eq!(stateid.seqid, opened.stateid.seqid + 1);
    assert_eq!(stage.refused(downgrade(client, &opened, READ)), Refusal::OldStateid);
    let view = stage.view();
    let ino = opened.inode.ino;
    assert_eq!(view.io_right(client, ino, stateid, true), Err(Refusal::OpenMode));
    assert_eq!(view.io_right(client, ino, stateid, false).unwrap().share, READ);
    opened.stateid = stateid;
    assert_eq!(stage.refused(downgrade(client, &opened, BOTH)), Refusal::BadShare);
    stage.check();
}

/// Spec: RFC 8881 §18.16.3: UNCHECKED with a size of zero.
#[test]
fn unchecked_create_cuts_an_existing_file() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let opened = stage.create(client, "o", "f");
    let ino = opened.inode.ino;
    let write = WriteInline { ino, offset_bytes: 0, data: vec![1; 100], caller: ROOT };
    assert!(matches!(stage.run(Command::WriteInline(write)), Outcome::Inode(_)));
    let attributes = |size_bytes| SetAttributes { size_bytes, mode: Some(0), ..SetAttributes::default() };
    let target = |size| Target::Create {
        directory: ROOT_INO,
        name: b"f".to_vec(),
        how: How::Unchecked,
        attributes: attributes(size),
    };
    assert_eq!(stage.open(client, "o", BOTH, target(None)).inode.size_bytes, 100);
    assert_eq!(stage.open(client, "o", BOTH, target(Some(7))).inode.size_bytes, 100);
    let cut = stage.open(client, "o", BOTH, target(Some(0)));
    assert_eq!((cut.inode.size_bytes, cut.inode.mode, cut.truncated), (0, 0o644, None));
    stage.spread(ino, 2);
    let grow = SetAttributesOf {
        caller: ROOT,
        ino,
        attributes: SetAttributes { size_bytes: Some(1 << 27), ..SetAttributes::default() },
        by_write_open: true,
    };
    assert!(matches!(stage.run(Command::SetAttributes(grow)), Outcome::Attributes(_)));
    let cut = stage.open(client, "o", BOTH, target(Some(0)));
    let truncation = cut.truncated.unwrap();
    assert_eq!((truncation.cut, truncation.dropped.len()), (None, 2));
    assert_eq!(stage.view().work(10).unwrap().len(), 2);
}

/// A file without a name lives until its last CLOSE.
#[test]
fn removed_file_lives_until_closed() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let (one, two) = (stage.create(client, "o", "f"), stage.open(client, "p", READ, name_target("f")));
    let ino = one.inode.ino;
    stage.spread(ino, 1);
    stage.layout_get(client, ino, true, one.stateid);
    stage.remove("f");
    assert_eq!(stage.view().inode(ino).unwrap().nlink, 0);
    assert!(stage.view().io_right(client, ino, one.stateid, true).is_ok());
    stage.close(client, ino, one.stateid);
    assert!(stage.view().inode(ino).is_ok());
    assert_eq!(stage.view().work(10).unwrap(), []);
    stage.close(client, ino, two.stateid);
    assert_eq!(stage.view().inode(ino), Err(Refusal::Namespace(FsError::Stale)));
    assert!(matches!(stage.view().work(10).unwrap()[..], [(_, mds_namespace::WorkItem::Drop { .. })]));
    assert_eq!(stage.view().layouts_of(ino).unwrap(), []);
    stage.check();
}

/// Renaming over an open file keeps it until its CLOSE; a closed file is removed at once.
#[test]
fn file_renamed_over_lives_until_closed() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let (open, closed) = (stage.create(client, "o", "open"), stage.create(client, "o", "closed"));
    stage.close(client, closed.inode.ino, closed.stateid);
    for (at, target) in ["open", "closed"].into_iter().enumerate() {
        let source = format!("source{at}");
        let made = stage.create(client, "o", &source);
        stage.close(client, made.inode.ino, made.stateid);
        let rename = Rename {
            caller: ROOT,
            from_directory: ROOT_INO,
            from_name: source.into_bytes(),
            to_directory: ROOT_INO,
            to_name: target.as_bytes().to_vec(),
        };
        assert!(matches!(stage.run(Command::Rename(rename)), Outcome::Renamed(_)));
    }
    assert!(stage.view().inode(open.inode.ino).is_ok());
    assert!(stage.view().inode(closed.inode.ino).is_err());
    stage.close(client, open.inode.ino, open.stateid);
    assert!(stage.view().inode(open.inode.ino).is_err());
}
