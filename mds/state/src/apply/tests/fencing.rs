//! Restricted exports: which extents are fenced, and in how many entries.

use ::layout::{ExtentId, Iomode};
use mds_namespace::op::extent;

use super::*;
use crate::command::admin::{ExportsFenced, FenceExports, FencedExports, SetExports};
use crate::command::layout::{Granting, LayoutReturn, LayoutThrough, Returned};
use crate::export::Export;
use crate::key;
use crate::limits::FENCE_EXTENTS_MAX;
use crate::record::Fencing;

fn at(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::everything() }
}

fn read_only(path: &str) -> Export {
    Export { read_only: true, ..at(path) }
}

fn set(stage: &mut Stage, exports: Vec<Export>) {
    let replaces = stage.view().exports().unwrap().version;
    let outcome = stage.run(Command::ReplaceExports(SetExports { replaces, exports }));
    assert!(matches!(outcome, Outcome::Exports(_)), "{outcome:?}");
}

/// A client's file with extents.
fn file(stage: &mut Stage, name: &str, extents: u32) -> (u64, Opened) {
    let client = stage.client(name);
    let opened = stage.create(client, "o", name);
    stage.spread(opened.inode.ino, extents);
    (client, opened)
}

fn through(client: u64, opened: &Opened, export: u16, version: u64) -> Command {
    let extent = ExtentId { ino: opened.inode.ino, index: 0 };
    let get = LayoutGet { client, extent, iomode: Iomode::Read, stateid: opened.stateid };
    Command::LayoutThrough(LayoutThrough { export, version, what: Granting::Read(get) })
}

fn epochs(stage: &Stage, ino: Ino) -> Vec<u64> {
    let records = extent::extents(stage.view().namespace(), ino, 0, usize::MAX).unwrap();
    records.iter().map(|record| record.epoch.0).collect()
}

fn step(stage: &mut Stage, wanted: &Fencing, from: ExtentId) -> FencedExports {
    let Fencing { all, exports, .. } = wanted.clone();
    match stage.run(Command::FenceExports(FenceExports { all, exports, from })) {
        Outcome::Fenced(step) => step,
        outcome => panic!("{outcome:?}"),
    }
}

/// Fences the rest, and returns how many extents each step has fenced.
fn fence(stage: &mut Stage) -> Vec<u32> {
    let wanted = stage.view().fencing().unwrap();
    let (mut steps, mut next) = (Vec::new(), Some(ExtentId { ino: 0, index: 0 }));
    while let Some(from) = next {
        let step = step(stage, &wanted, from);
        steps.push(step.extents);
        next = step.next;
    }
    let extents = steps.iter().copied().map(u64::from).sum();
    let done = ExportsFenced { version: wanted.version, layouts: 0, extents };
    assert_eq!(stage.run(Command::ExportsFenced(done)), Outcome::Done);
    assert!(!stage.view().fencing().unwrap().is_pending());
    steps
}

#[test]
fn extents_of_a_restricted_export_are_fenced_with_or_without_layouts() {
    let mut stage = Stage::new();
    set(&mut stage, vec![at("/a"), at("/b")]);
    assert!(!stage.view().fencing().unwrap().is_pending());
    let (client, kept) = file(&mut stage, "kept", 3);
    let (other, others) = file(&mut stage, "others", 1);
    let (_, never) = file(&mut stage, "never", 1);
    stage.run(through(client, &kept, 0, 1));
    stage.run(through(other, &others, 1, 1));
    let all = LayoutReturn { client, what: Returned::All { iomode: None } };
    stage.run(Command::LayoutReturn(all));
    set(&mut stage, vec![at("/b"), read_only("/a")]);
    assert_eq!(stage.view().fencing().unwrap().exports, [0]);
    // A client admitted by the previous list is refused.
    assert_eq!(stage.refused(through(client, &kept, 0, 1)), Refusal::Busy);
    assert_eq!(fence(&mut stage), [3]);
    assert_eq!(epochs(&stage, kept.inode.ino), [2, 2, 2]);
    for file in [others.inode.ino, never.inode.ino] {
        assert_eq!(epochs(&stage, file), [1]);
    }
    assert_eq!(stage.view().handed(kept.inode.ino).unwrap(), None);
    // A list that allows more changes nothing; nor does an equal list.
    set(&mut stage, vec![at("/b"), at("/a"), at("/c")]);
    assert!(!stage.view().fencing().unwrap().is_pending());
    assert_eq!(stage.view().fencing().unwrap().version, 2);
    set(&mut stage, vec![at("/a"), at("/c")]);
    assert_eq!(fence(&mut stage), [1], "/b is gone");
    stage.check();
}

/// Each entry fences a bounded number; the next leader may begin again, and does not end before all
/// are fenced.
#[test]
fn many_extents_are_fenced_in_several_entries() {
    let mut stage = Stage::new();
    set(&mut stage, vec![at("/a")]);
    let room = u32::try_from(FENCE_EXTENTS_MAX).unwrap();
    let (first, small) = file(&mut stage, "small", 2);
    let (second, large) = file(&mut stage, "large", room);
    for (client, opened) in [(first, &small), (second, &large)] {
        assert!(matches!(stage.run(through(client, opened, 0, 1)), Outcome::Layout(_)));
    }
    set(&mut stage, vec![read_only("/a")]);
    let wanted = stage.view().fencing().unwrap();
    let begin = ExtentId { ino: 0, index: 0 };
    let part = step(&mut stage, &wanted, begin);
    assert_eq!(part.extents, room);
    assert_eq!(part.next, Some(ExtentId { ino: large.inode.ino, index: room - 2 }));
    // The next leader does not know how far the previous one came.
    assert_eq!(stage.view().fencing().unwrap(), wanted);
    assert_eq!(fence(&mut stage), [room, 0], "the small file is fenced and its record removed");
    assert_eq!(epochs(&stage, small.inode.ino), [2, 2]);
    assert!(epochs(&stage, large.inode.ino).iter().all(|epoch| 2 <= *epoch));
}

/// Ending another version than the pending one leaves it pending.
#[test]
fn a_later_restriction_stays_pending() {
    let mut stage = Stage::new();
    set(&mut stage, vec![at("/a"), at("/b")]);
    set(&mut stage, vec![at("/a")]);
    set(&mut stage, vec![read_only("/a")]);
    let wanted = stage.view().fencing().unwrap();
    assert_eq!((wanted.version, wanted.exports.as_slice()), (3, &[0, 1][..]));
    stage.run(Command::ExportsFenced(ExportsFenced { version: 2, layouts: 0, extents: 0 }));
    assert_eq!(stage.view().fencing().unwrap(), wanted);
}

/// After a version that recorded no files, any handle may be in use.
#[test]
fn an_older_cluster_fences_everything_once() {
    let mut stage = Stage::new();
    let exports = vec![at("/a")];
    stage.run(Command::SetExports(SetExports { replaces: 0, exports }));
    let (client, opened) = file(&mut stage, "file", 2);
    stage.layout_get(client, opened.inode.ino, false, opened.stateid);
    set(&mut stage, vec![at("/a"), at("/b")]);
    assert!(!stage.view().fencing().unwrap().is_pending(), "nothing was restricted");
    set(&mut stage, vec![at("/a")]);
    assert!(stage.view().fencing().unwrap().all);
    assert_eq!(fence(&mut stage), [2]);
    assert_eq!(epochs(&stage, opened.inode.ino), [2, 2]);
}

#[test]
fn the_record_of_a_removed_file_is_removed() {
    let mut stage = Stage::new();
    set(&mut stage, vec![at("/a")]);
    let (client, opened) = file(&mut stage, "file", 1);
    stage.run(through(client, &opened, 0, 1));
    assert!(stage.view().handed(opened.inode.ino).unwrap().is_some());
    stage.close(client, opened.inode.ino, opened.stateid);
    stage.remove("file");
    let noted = stage.dump().iter().any(|(key, _)| key.starts_with(key::HANDED));
    assert!(!noted, "it would be kept for ever");
}
