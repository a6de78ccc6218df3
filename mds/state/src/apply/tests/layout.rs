//! LAYOUTGET, LAYOUTRETURN, LAYOUTCOMMIT, recalls.

use ::layout::Iomode;

use super::*;
use mds_namespace::op::extent;
use mds_namespace::op::settle::{self, Settlement};
use mds_namespace::unsettled;

use crate::command::layout::{LayoutCommit, LayoutGiveBack, LayoutRecall, LayoutReturn, Recall, Returned};
use crate::command::lock::FreeStateid;
use crate::command::open::Close;

struct File {
    client: u64,
    ino: Ino,
    open: StateidValue,
}

fn file(stage: &mut Stage, owner: &str) -> File {
    let client = stage.client(owner);
    let opened = stage.create(client, "o", "f");
    if opened.created {
        stage.spread(opened.inode.ino, 2);
    }
    File { client, ino: opened.inode.ino, open: opened.stateid }
}

impl File {
    fn give_back(&self, iomode: Option<Iomode>, whole: bool, stateid: StateidValue) -> Command {
        let what = Returned::File { ino: self.ino, iomode, whole, stateid };
        Command::LayoutReturn(LayoutReturn { client: self.client, what })
    }

    fn commit(&self, end_bytes: Option<u64>, stateid: StateidValue) -> Command {
        Command::LayoutCommit(LayoutCommit {
            client: self.client,
            ino: self.ino,
            stateid,
            end_bytes,
            mtime: None,
            caller: mds_namespace::Caller::default(),
        })
    }

    fn recall(&self, iomode: Option<Iomode>, except_client: Option<u64>) -> Command {
        Command::LayoutRecall(LayoutRecall { ino: self.ino, iomode, except_client })
    }
}

/// Spec: RFC 8881 §12.5.3.
#[test]
fn layout_stateid_begins_at_one_and_moves() {
    let mut stage = Stage::new();
    let file = file(&mut stage, "a");
    let first = stage.layout_get(file.client, file.ino, false, file.open);
    assert_eq!(first.stateid.seqid, 1);
    assert_eq!(first.extent.extent.index, 0);
    let second = stage.layout_get(file.client, file.ino, true, first.stateid);
    assert_eq!(second.stateid, StateidValue { seqid: 2, ..first.stateid });
    // Concurrent requests send the same stateid; a client that lost it sends its open's again.
    assert_eq!(stage.layout_get(file.client, file.ino, true, first.stateid).stateid.seqid, 3);
    assert_eq!(stage.layout_get(file.client, file.ino, true, file.open).stateid.seqid, 4);
    let ahead = StateidValue { seqid: 9, ..first.stateid };
    assert_eq!(stage.refused(layout_get(file.client, file.ino, true, ahead)), Refusal::BadStateid);
    let unknown = StateidValue { seqid: 1, other: [3; 12] };
    assert_eq!(stage.refused(layout_get(file.client, file.ino, true, unknown)), Refusal::BadStateid);
    let free = FreeStateid { client: file.client, stateid: ahead };
    assert_eq!(stage.refused(Command::FreeStateid(free)), Refusal::LocksHeld);
    stage.check();
}

#[test]
fn writing_needs_a_write_open() {
    let mut stage = Stage::new();
    let file = file(&mut stage, "a");
    let reader = stage.client("b");
    let reading = stage.open(reader, "o", READ, name_target("f"));
    assert_eq!(stage.refused(layout_get(reader, file.ino, true, reading.stateid)), Refusal::OpenMode);
    assert_eq!(stage.layout_get(reader, file.ino, false, reading.stateid).stateid.seqid, 1);
    let inline = stage.open(reader, "o", BOTH, create_target("inline", How::Guarded));
    let moved = layout_get(reader, inline.inode.ino, true, inline.stateid);
    assert_eq!(stage.refused(moved), Refusal::ContentMoved);
}

/// Spec: RFC 8881 §18.44.3.
#[test]
fn return_answers_the_rest_of_the_layout() {
    let mut stage = Stage::new();
    let file = file(&mut stage, "a");
    stage.layout_get(file.client, file.ino, false, file.open);
    let held = stage.layout_get(file.client, file.ino, true, file.open).stateid;
    let Outcome::LayoutReturned(Some(ranged)) = stage.run(file.give_back(None, false, held)) else {
        panic!("gone")
    };
    assert_eq!(ranged.seqid, held.seqid + 1);
    assert_eq!(stage.refused(file.give_back(None, true, held)), Refusal::OldStateid);
    let Outcome::LayoutReturned(Some(left)) =
        stage.run(file.give_back(Some(Iomode::ReadWrite), true, ranged))
    else {
        panic!("gone")
    };
    assert_eq!(stage.run(file.give_back(None, true, left)), Outcome::LayoutReturned(None));
    assert_eq!(stage.refused(file.give_back(None, true, left)), Refusal::BadStateid);
    assert_eq!(stage.view().layout(file.ino, file.client).unwrap(), None);
    stage.layout_get(file.client, file.ino, true, file.open);
    let all = LayoutReturn { client: file.client, what: Returned::All { iomode: None } };
    assert_eq!(stage.run(Command::LayoutReturn(all)), Outcome::LayoutReturned(None));
    assert_eq!(stage.view().layouts_of(file.ino).unwrap(), []);
    assert_eq!(stage.view().work(10).unwrap(), []);
    stage.check();
}

/// The end that a client commits changes nothing: the file may have been cut since.
/// Spec: RFC 8881 §18.42.3; docs/protocol/sizes.md §5.
#[test]
fn a_commit_does_not_move_the_end() {
    let mut stage = Stage::new();
    let file = file(&mut stage, "a");
    let reading = stage.layout_get(file.client, file.ino, false, file.open).stateid;
    assert_eq!(stage.refused(file.commit(Some(5), reading)), Refusal::BadStateid);
    let held = stage.layout_get(file.client, file.ino, true, file.open).stateid;
    let before = stage.view().inode(file.ino).unwrap();
    let Outcome::Inode(after) = stage.run(file.commit(Some(1 << 20), held)) else { panic!("refused") };
    assert_eq!(after.size_bytes, before.size_bytes);
    assert!(before.change < after.change && before.mtime < after.mtime);
    stage.check();
}

/// A layout got with an open for reading gives no layout for writing, whatever other users of the
/// client have open, unless one of those opens is for writing. Without any open it gives none.
/// Spec: RFC 8881 §12.5.1.
#[test]
fn a_layout_stateid_gives_only_rights_of_an_open() {
    let mut stage = Stage::new();
    let file = file(&mut stage, "a");
    let reader = stage.client("b");
    let reading = stage.open(reader, "o", READ, name_target("f"));
    let held = stage.layout_get(reader, file.ino, false, reading.stateid).stateid;
    assert_eq!(stage.refused(layout_get(reader, file.ino, true, held)), Refusal::OpenMode);
    let held = stage.layout_get(reader, file.ino, false, held).stateid;
    let writing = stage.open(reader, "p", BOTH, name_target("f"));
    let held = stage.layout_get(reader, file.ino, true, held).stateid;
    for stateid in [writing.stateid, reading.stateid] {
        stage.run(Command::Close(Close { client: reader, ino: file.ino, stateid }));
    }
    assert_eq!(stage.refused(layout_get(reader, file.ino, false, held)), Refusal::BadStateid);
    stage.check();
}

/// Two clients write a file. The last return settles its size if the primaries were measured after
/// everything that may have changed it; a measurement from before another return does not.
#[test]
fn the_last_return_settles_the_size() {
    let mut stage = Stage::new();
    let (one, two) = (file(&mut stage, "a"), file(&mut stage, "b"));
    let ino = one.ino;
    let ones = stage.layout_get(one.client, ino, true, one.open).stateid;
    let twos = stage.layout_get(two.client, ino, true, two.open).stateid;
    let measured = |stage: &Stage, end_bytes| {
        let view = stage.view();
        let epoch =
            extent::extent(view.namespace(), ::layout::ExtentId { ino, index: 0 }).unwrap().unwrap().epoch;
        Settlement {
            ino,
            turns: unsettled::unsettled(view.namespace(), ino).unwrap().unwrap().turns,
            epochs: settle::epochs([(0, epoch)]),
            change: view.inode(ino).unwrap().change,
            end_bytes,
            used_bytes: end_bytes,
            written: Some((0xabcd_ef01, mds_namespace::Timestamp { seconds: 3, nanos: 0 })),
        }
    };
    let give_back = |file: &File, stateid, settlement| {
        let what = Returned::File { ino, iomode: None, whole: true, stateid };
        let what = LayoutReturn { client: file.client, what };
        Command::LayoutGiveBack(LayoutGiveBack { what, settlement: Some(settlement) })
    };
    let early = measured(&stage, 500);
    assert_eq!(stage.refused(Command::SettleSize(early.clone())), Refusal::Busy, "both may write");
    assert_eq!(stage.run(give_back(&one, ones, early.clone())), Outcome::LayoutReturned(None));
    assert_eq!(stage.view().inode(ino).unwrap().size_bytes, 0, "the other client may write");
    assert_eq!(stage.run(give_back(&two, twos, early.clone())), Outcome::LayoutReturned(None));
    assert_eq!(stage.view().inode(ino).unwrap().size_bytes, 0, "it was measured before the first return");
    assert_eq!(stage.refused(Command::SettleSize(early)), Refusal::ContentMoved);
    let late = measured(&stage, 600);
    let Outcome::Inode(inode) = stage.run(Command::SettleSize(late)) else { panic!("refused") };
    assert_eq!((inode.size_bytes, inode.change), (600, 0xabcd_ef01));
    assert_eq!(unsettled::unsettled(stage.view().namespace(), ino).unwrap(), None);
    let again = stage.layout_get(one.client, ino, true, one.open).stateid;
    let last = measured(&stage, 700);
    stage.run(give_back(&one, again, last));
    assert_eq!(stage.view().inode(ino).unwrap().size_bytes, 700);
    stage.check();
}

/// Spec: RFC 8881 §12.5.5.2, §20.3.
#[test]
fn recall_moves_by_one_and_stops_grants() {
    let mut stage = Stage::new();
    let writer = file(&mut stage, "a");
    let reader = file(&mut stage, "b");
    let held = stage.layout_get(writer.client, writer.ino, true, writer.open).stateid;
    stage.layout_get(reader.client, reader.ino, false, reader.open);
    let Outcome::Recalls(recalls) = stage.run(writer.recall(Some(Iomode::ReadWrite), None)) else {
        panic!("refused")
    };
    let stateid = StateidValue { seqid: held.seqid + 1, ..held };
    let expected = Recall { client: writer.client, stateid, iomode: Some(Iomode::ReadWrite) };
    assert_eq!(recalls, std::slice::from_ref(&expected));
    assert_eq!(stage.run(writer.recall(Some(Iomode::ReadWrite), None)), Outcome::Recalls(vec![expected]));
    assert_eq!(stage.refused(layout_get(writer.client, writer.ino, true, held)), Refusal::Recalled);
    let Outcome::Recalls(others) = stage.run(writer.recall(None, Some(writer.client))) else {
        panic!("refused")
    };
    assert_eq!(others.iter().map(|recall| recall.client).collect::<Vec<_>>(), [reader.client]);
    assert_eq!(stage.run(writer.give_back(None, true, stateid)), Outcome::LayoutReturned(None));
    assert_eq!(stage.layout_get(writer.client, writer.ino, true, writer.open).stateid.seqid, 1);
    stage.check();
}

/// Revoking a layout fences the extents that could be written through it.
#[test]
fn revoked_layout_raises_epochs() {
    let mut stage = Stage::new();
    let file = file(&mut stage, "a");
    let before = stage.layout_get(file.client, file.ino, true, file.open).extent;
    let what = Returned::Revoked { ino: file.ino };
    let revoke = Command::LayoutReturn(LayoutReturn { client: file.client, what });
    assert_eq!(stage.run(revoke.clone()), Outcome::LayoutReturned(None));
    assert_eq!(stage.run(revoke), Outcome::LayoutReturned(None));
    let work = stage.view().work(10).unwrap();
    assert_eq!(work.len(), 2);
    assert!(work.iter().all(|(_, item)| before.epoch < item.epoch()));
    stage.check();
}

/// A recalled layout that is not returned is revoked; a layout that its client got since, or kept a
/// part of, is not.
/// Spec: RFC 8881 §12.5.5.2.
#[test]
fn only_a_recalled_layout_is_revoked() {
    let mut stage = Stage::new();
    let file = file(&mut stage, "a");
    let take_back = |stateid: StateidValue| {
        let what = Returned::Recalled { ino: file.ino, other: stateid.other };
        Command::LayoutReturn(LayoutReturn { client: file.client, what })
    };
    let recall = file.recall(Some(Iomode::ReadWrite), None);
    let first = stage.layout_get(file.client, file.ino, true, file.open).stateid;
    assert_eq!(stage.refused(take_back(first)), Refusal::BadStateid, "it was not recalled");
    stage.run(recall.clone());
    stage.run(file.give_back(None, true, first));
    stage.layout_get(file.client, file.ino, false, file.open);
    let second = stage.layout_get(file.client, file.ino, true, file.open).stateid;
    assert_eq!(stage.refused(take_back(first)), Refusal::BadStateid, "it was returned");
    stage.run(recall.clone());
    assert_eq!(stage.refused(take_back(first)), Refusal::BadStateid, "another one is recalled");
    stage.run(file.give_back(Some(Iomode::ReadWrite), true, second));
    assert_eq!(stage.refused(take_back(second)), Refusal::BadStateid, "the rest may be kept");
    let whole = stage.layout_get(file.client, file.ino, true, file.open).stateid;
    stage.run(recall);
    stage.run(file.give_back(Some(Iomode::Read), true, whole));
    assert_eq!(stage.view().work(10).unwrap(), []);
    assert_eq!(stage.run(take_back(whole)), Outcome::LayoutReturned(None), "the recalled part is still held");
    assert_eq!(stage.refused(take_back(whole)), Refusal::BadStateid);
    assert_eq!(stage.view().layout(file.ino, file.client).unwrap(), None);
    assert_eq!(stage.view().work(10).unwrap().len(), 2, "writable extents are fenced");
    stage.check();
}

/// The log keeps commands: a variant never moves, and its fields never change
/// (docs/formats/raft_log.md).
#[test]
fn revoking_has_its_golden_bytes() {
    let what = Returned::Recalled { ino: 0x81, other: [0xaa; 12] };
    let command = Command::LayoutReturn(LayoutReturn { client: 4, what });
    let bytes = postcard::to_allocvec(&command).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, format!("1704038101{}", "aa".repeat(12)));
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
}
