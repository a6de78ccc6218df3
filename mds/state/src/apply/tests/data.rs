//! Content, extents, data servers.

use ::layout::ec::Profile;
use ::layout::{DataServerId, ExtentId};
use mds_namespace::{FsError, INLINE_BYTES_MAX, SetAttributes, WorkItem};

use super::*;
use crate::command::data::{
    Fence, Measured, Placing, RegisterNamed, UnderCode, WorkDone, WriteInline, Written, WrittenAt,
};
use crate::command::layout::LayoutPlace;
use crate::command::namespace::SetAttributesOf;

#[test]
fn inline_content_moves_once() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    let write = |offset_bytes| {
        Command::WriteInline(WriteInline { ino, offset_bytes, data: b"abc".to_vec(), caller: ROOT })
    };
    let Outcome::Inode(inode) = stage.run(write(5)) else { panic!("refused") };
    assert_eq!(inode.size_bytes, 8);
    assert_eq!(stage.refused(write(INLINE_BYTES_MAX)), Refusal::ContentMoved);
    let written = Command::Written(Written { ino, end_bytes: 100, caller: None });
    assert_eq!(stage.refused(written.clone()), Refusal::ContentMoved);
    stage.spread(ino, 1);
    assert_eq!(stage.refused(write(0)), Refusal::ContentMoved);
    let Outcome::Inode(after) = stage.run(written) else { panic!("refused") };
    assert_eq!(after.size_bytes, 100);
    assert!(inode.change < after.change);
}

/// Spec: docs/protocol/control.md: no handle is given out while the home does not know the new
/// epoch.
#[test]
fn extent_with_work_is_busy_until_it_is_done() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let opened = stage.create(client, "o", "f");
    let ino = opened.inode.ino;
    stage.spread(ino, 2);
    let extent = ExtentId { ino, index: 0 };
    let Outcome::Extent(fenced) = stage.run(Command::Fence(Fence { extent })) else { panic!("refused") };
    let number = fenced.pending_work.unwrap();
    let get = layout_get(client, ino, true, opened.stateid);
    let allocate = Command::Allocate(Allocate { extent, home: DataServerId(1), backups: vec![] });
    assert_eq!(stage.refused(get.clone()), Refusal::Busy);
    assert_eq!(stage.refused(allocate.clone()), Refusal::Busy);
    assert_eq!(stage.run(Command::WorkDone(WorkDone { items: vec![number] })), Outcome::Done);
    assert_eq!(stage.run(Command::WorkDone(WorkDone { items: vec![number, 99] })), Outcome::Done);
    assert!(matches!(stage.run(get), Outcome::Layout(_)));
    let Outcome::Extent(record) = stage.run(allocate) else { panic!("refused") };
    assert_eq!((record.epoch, record.pending_work), (fenced.epoch, None));
    assert_eq!(stage.view().work(10).unwrap(), []);
    let missing = Fence { extent: ExtentId { ino, index: 9 } };
    assert_eq!(stage.refused(Command::Fence(missing)), Refusal::NoSuchExtent);
}

#[test]
fn truncation_queues_its_work() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, 3);
    let size = |size_bytes| {
        Command::SetAttributes(SetAttributesOf {
            caller: ROOT,
            ino,
            attributes: SetAttributes { size_bytes: Some(size_bytes), ..SetAttributes::default() },
            by_write_open: false,
        })
    };
    stage.run(size(3 * ::layout::EXTENT_BYTES));
    let Outcome::Attributes(answer) = stage.run(size(::layout::EXTENT_BYTES + 5)) else { panic!("refused") };
    let truncation = answer.truncated.unwrap();
    let (cut, record, keep_bytes) = truncation.cut.unwrap();
    assert_eq!((record.extent.index, keep_bytes), (1, 5));
    assert_eq!(truncation.dropped.len(), 1);
    let work: Vec<u64> = stage.view().work(10).unwrap().into_iter().map(|(number, _)| number).collect();
    assert_eq!(work, [cut, truncation.dropped[0].0]);
    stage.run(Command::WorkDone(WorkDone { items: work }));
    assert_eq!(stage.view().work(10).unwrap(), []);
}

/// A recall that ran out of time fences just before the truncation it was for; cuts refuse no
/// handle.
#[test]
fn truncation_leaves_the_fence_before_it_to_be_done() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, 1);
    let set_size = |stage: &mut Stage, size_bytes| {
        stage.run(Command::SetAttributes(SetAttributesOf {
            caller: ROOT,
            ino,
            attributes: SetAttributes { size_bytes: Some(size_bytes), ..SetAttributes::default() },
            by_write_open: false,
        }))
    };
    set_size(&mut stage, 100);
    let extent = ExtentId { ino, index: 0 };
    stage.run(Command::Fence(Fence { extent }));
    set_size(&mut stage, 5);
    let mut kinds = Vec::new();
    while let [(number, item)] = &stage.view().work(10).unwrap()[..] {
        kinds.push(match item {
            WorkItem::Cut { keep_bytes: 5, .. } => "cut",
            WorkItem::Fence { .. } => "fence",
            other => panic!("{other:?}"),
        });
        stage.run(Command::WorkDone(WorkDone { items: vec![*number] }));
        stage.check();
    }
    assert_eq!(kinds, ["cut", "fence"]);
}

/// A file that was cut is not as long again as it was because a server asked before the cut how
/// long it is.
#[test]
fn what_was_measured_before_a_cut_does_not_count() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, 1);
    let extent = ExtentId { ino, index: 0 };
    let record = mds_namespace::op::extent::extent(stage.view().namespace(), extent).unwrap();
    let epoch = record.expect("it was spread").epoch;
    let measured = |end_bytes| Command::Measured(Measured { extent, epoch, end_bytes });
    let Outcome::Inode(inode) = stage.run(measured(5000)) else { panic!("refused") };
    assert_eq!(inode.size_bytes, 5000);
    let Outcome::Inode(inode) = stage.run(measured(4000)) else { panic!("refused") };
    assert_eq!(inode.size_bytes, 5000, "it does not get shorter");
    let beyond = stage.refused(measured(extent.end_byte() + 1));
    assert_eq!(beyond, Refusal::Namespace(FsError::Invalid), "the extent is no longer than this");
    stage.run(Command::SetAttributes(SetAttributesOf {
        caller: ROOT,
        ino,
        attributes: SetAttributes { size_bytes: Some(100), ..SetAttributes::default() },
        by_write_open: false,
    }));
    assert_eq!(stage.refused(measured(5000)), Refusal::ContentMoved);
    assert_eq!(stage.view().inode(ino).unwrap().size_bytes, 100);
    let missing = Measured { extent: ExtentId { ino, index: 9 }, epoch, end_bytes: 1 };
    assert_eq!(stage.refused(Command::Measured(missing)), Refusal::ContentMoved);
    stage.check();
}

/// A WRITE whose bytes a cut may have taken off again is not carried out: they are written once
/// more.
#[test]
fn what_was_written_before_a_cut_is_written_again() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, 2);
    let epochs = |stage: &Stage| {
        let records = mds_namespace::op::extent::extents(stage.view().namespace(), ino, 0, 2).unwrap();
        records.iter().map(|record| (record.extent.index, record.epoch)).collect::<Vec<_>>()
    };
    let end_bytes = ExtentId { ino, index: 0 }.end_byte() + 10;
    let written = |extents| Command::WrittenAt(WrittenAt { ino, end_bytes, caller: user(5), extents });
    let before = epochs(&stage);
    let cut = SetAttributesOf {
        caller: ROOT,
        ino,
        attributes: SetAttributes { size_bytes: Some(0), ..SetAttributes::default() },
        by_write_open: false,
    };
    stage.run(Command::SetAttributes(cut));
    assert_eq!(stage.refused(written(before.clone())), Refusal::ContentMoved);
    assert_eq!(
        stage.refused(written(vec![(9, before[0].1)])),
        Refusal::ContentMoved,
        "there is no such extent"
    );
    assert_eq!(stage.view().inode(ino).unwrap().size_bytes, 0);
    let now = epochs(&stage);
    assert_ne!(now, before, "also where the file was as short as that already");
    assert_eq!(stage.refused(written(vec![now[0], before[1]])), Refusal::ContentMoved);
    let Outcome::Inode(inode) = stage.run(written(now)) else { panic!("refused") };
    assert_eq!(inode.size_bytes, end_bytes);
    stage.check();
}

/// The log keeps commands (docs/formats/raft_log.md).
#[test]
fn written_at_has_its_golden_bytes() {
    let extents = vec![(2, ::layout::Epoch(3))];
    let caller = Caller { uid: 4, gid: 5, gids: vec![] };
    let command = Command::WrittenAt(WrittenAt { ino: 0x81, end_bytes: 0x82, caller, extents });
    let bytes = postcard::to_allocvec(&command).unwrap();
    assert_eq!(bytes, [0x39, 0x81, 1, 0x82, 1, 4, 5, 0, 1, 2, 3]);
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
}

/// The log keeps commands (docs/formats/raft_log.md).
#[test]
fn measured_has_its_golden_bytes() {
    let extent = ExtentId { ino: 0x81, index: 2 };
    let command = Command::Measured(Measured { extent, epoch: ::layout::Epoch(3), end_bytes: 0x82 });
    let bytes = postcard::to_allocvec(&command).unwrap();
    assert_eq!(bytes, [0x38, 0x81, 1, 2, 3, 0x82, 1]);
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
}

#[test]
fn data_server_keeps_its_number() {
    let mut stage = Stage::new();
    let register = |uuid: u8, control: &str| {
        Command::RegisterDataServer(RegisterDataServer {
            uuid: [uuid; 16],
            addresses: vec!["127.0.0.1.8.1".to_owned()],
            control: control.to_owned(),
            capacity_bytes: 1,
            zone: String::new(),
            rack: String::new(),
            host: String::new(),
        })
    };
    for (uuid, control, id) in [(1, "a:1", 1), (2, "b:1", 2), (1, "c:1", 1)] {
        assert_eq!(stage.run(register(uuid, control)), Outcome::DataServer(id));
    }
    let servers = stage.view().data_servers().unwrap();
    let shown: Vec<_> = servers.iter().map(|server| (server.id, server.control.as_str())).collect();
    assert_eq!(shown, [(1, "c:1"), (2, "b:1")]);
    assert_eq!(stage.view().data_server(2).unwrap().unwrap().uuid, [2; 16]);
    let Command::RegisterDataServer(server) = register(2, "b:1") else { unreachable!() };
    let named = Command::RegisterNamed(RegisterNamed { server, name: "n2".to_owned() });
    let bytes = postcard::to_allocvec(&named).unwrap();
    assert_eq!((bytes[0], &bytes[bytes.len() - 3..]), (0x3e, &b"\x02n2"[..]));
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), named);
    assert_eq!(stage.run(named), Outcome::DataServer(2));
    let names: Vec<_> = stage.view().data_servers().unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["", "n2"]);
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    let unknown = Allocate { extent: ExtentId { ino, index: 0 }, home: DataServerId(9), backups: vec![] };
    assert_eq!(stage.refused(Command::Allocate(unknown)), Refusal::Namespace(FsError::Invalid));
}

/// Spec: docs/formats/namespace.md: the code is the one the extent was made under.
#[test]
fn an_extent_keeps_the_code_it_was_made_under() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let opened = stage.create(client, "o", "f");
    let ino = opened.inode.ino;
    stage.spread(ino, 1);
    let (home, backups) = (DataServerId(1), vec![]);
    let allocate = |index| Allocate { extent: ExtentId { ino, index }, home, backups: backups.clone() };
    let place = |index| {
        let Command::LayoutGet(get) = layout_get(client, ino, true, opened.stateid) else { unreachable!() };
        let get = crate::command::layout::LayoutGet { extent: ExtentId { ino, index }, ..get };
        LayoutPlace { get, home, backups: backups.clone() }
    };
    let under = |code, what| Command::UnderCode(UnderCode { code, what });
    let mut code = |command| match stage.run(command) {
        Outcome::Extent(record) => record.code,
        Outcome::Layout(answer) => answer.extent.code,
        outcome => panic!("{outcome:?}"),
    };
    let (two, four) = (Profile::TwoPlusOne, Profile::FourPlusTwo);
    assert_eq!(code(under(four, Placing::Allocate(allocate(0)))), None, "it was there before");
    assert_eq!(code(under(four, Placing::Allocate(allocate(1)))), Some(four));
    assert_eq!(code(under(two, Placing::Allocate(allocate(1)))), Some(four), "another export");
    assert_eq!(code(Command::Allocate(allocate(1))), Some(four), "one without a code");
    assert_eq!(code(under(two, Placing::Layout(place(2)))), Some(two));
    assert_eq!(code(Command::LayoutPlace(place(2))), Some(two));
    assert_eq!(code(Command::LayoutPlace(place(3))), None);
    stage.check();
}

/// The log keeps commands: a variant never moves, and its fields never change
/// (docs/formats/raft_log.md).
#[test]
fn commands_under_a_code_have_their_golden_bytes() {
    let (extent, home) = (ExtentId { ino: 0x81, index: 2 }, DataServerId(6));
    let stateid = StateidValue { seqid: 3, other: [0xaa; 12] };
    let iomode = ::layout::Iomode::Read;
    let get = crate::command::layout::LayoutGet { client: 4, extent, iomode, stateid };
    let allocate = Allocate { extent, home, backups: vec![DataServerId(7)] };
    let place = LayoutPlace { get, home, backups: vec![] };
    let plain = postcard::to_allocvec(&Command::LayoutPlace(place.clone())).unwrap();
    let plain: String = plain[1..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(plain, format!("048101020003{}0600", "aa".repeat(12)));
    let (four, wide) = (Profile::FourPlusTwo, Profile::EightPlusFour);
    for (command, golden) in [
        (UnderCode { code: four, what: Placing::Allocate(allocate) }, "2703342b3200810102060107".to_owned()),
        (UnderCode { code: wide, what: Placing::Layout(place) }, format!("2703382b3401{plain}")),
    ] {
        let command = Command::UnderCode(command);
        let bytes = postcard::to_allocvec(&command).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden, "{command:?}");
        assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
    }
    let mut unknown = postcard::to_allocvec(&Command::UnderCode(UnderCode {
        code: four,
        what: Placing::Allocate(Allocate { extent, home, backups: vec![] }),
    }))
    .unwrap();
    unknown[4] = b'3';
    assert!(postcard::from_bytes::<Command>(&unknown).is_err(), "4+3 is no code");
}

#[test]
fn formatting_twice_is_once() {
    let mut stage = Stage::new();
    let before = stage.dump();
    let format = Format {
        file_system: [9; 16],
        handle_key: [9; 32],
        cookie_key: [9; 32],
        root_uid: 9,
        root_gid: 9,
        root_mode: 0o700,
    };
    assert_eq!(stage.run(Command::Format(format)), Outcome::Done);
    assert_eq!(stage.dump(), before);
    assert_eq!(stage.view().superblock().unwrap().unwrap().file_system, [1; 16]);
}
