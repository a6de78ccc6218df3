//! Draining and removing data servers; handing over from live homes.

use ::layout::copies::Copies;
use ::layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::op::extent::{CopyChange, extent};
use mds_namespace::op::held::Held;
use mds_namespace::{FsError, WorkItem, invariants};

use super::*;
use crate::command::admin::{
    DrainDataServer, ExportsFenced, FenceExports, HandOver, Removal, RemoveDataServer, SetExports,
    SetExportsWhole, WaitNoLonger,
};
use crate::command::data::{
    AddHandleKey, ChangeCopies, DropHandleKey, MarkStore, MarkStores, UseHandleKey, WorkDone,
};
use crate::export::Export;
use crate::limits::COPY_CHANGES_MAX;
use crate::record::{HandleKeys, Rotation, StoreMark};

fn register(stage: &mut Stage, uuid: u8) -> Outcome {
    stage.run(Command::RegisterDataServer(RegisterDataServer {
        uuid: [uuid; 16],
        addresses: vec![],
        control: String::new(),
        capacity_bytes: 1,
        zone: String::new(),
        rack: String::new(),
        host: String::new(),
    }))
}

/// A stage with a file of two extents on data server 1, and data servers 2 and 3.
fn stage() -> (Stage, ExtentId) {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, 2);
    for (uuid, id) in [(6, 2), (7, 3)] {
        assert_eq!(register(&mut stage, uuid), Outcome::DataServer(id));
    }
    (stage, ExtentId { ino, index: 0 })
}

fn drain(server: u32, drain: bool) -> Command {
    Command::DrainDataServer(DrainDataServer { server: DataServerId(server), drain })
}

fn remove(server: u32) -> Command {
    Command::RemoveDataServer(RemoveDataServer { server: DataServerId(server) })
}

fn change(extent: ExtentId, epoch: u64, home: u32, backups: &[(u32, bool)]) -> CopyChange {
    let backups = backups.iter().map(|(server, filling)| (DataServerId(*server), *filling)).collect();
    CopyChange { extent, epoch: Epoch(epoch), copies: Copies { home: DataServerId(home), backups } }
}

fn moved(stage: &mut Stage, extent: ExtentId) {
    let changes = vec![change(extent, 1, 1, &[(2, true)]), change(extent, 2, 1, &[(2, false)])];
    for change in changes {
        stage.run(Command::ChangeCopies(ChangeCopies { changes: vec![change] }));
    }
    stage.run(Command::HandOver(HandOver { changes: vec![change(extent, 3, 2, &[])] }));
}

#[test]
fn the_last_server_that_stays_is_not_drained() {
    let (mut stage, _) = stage();
    assert_eq!(stage.refused(drain(9, true)), Refusal::Namespace(FsError::NotFound));
    assert_eq!(stage.run(drain(3, true)), Outcome::Done);
    assert_eq!(stage.run(drain(1, true)), Outcome::Done);
    assert_eq!(stage.run(drain(1, true)), Outcome::Done, "a repeated command changes nothing");
    assert_eq!(stage.refused(drain(2, true)), Refusal::Namespace(FsError::NotPermitted));
    assert_eq!(stage.view().draining().unwrap(), [1, 3]);
    assert_eq!(stage.run(drain(3, false)), Outcome::Done);
    assert_eq!(stage.run(drain(2, true)), Outcome::Done);
    assert_eq!(stage.view().draining().unwrap(), [1, 2]);
}

#[test]
fn a_server_is_removed_when_it_holds_nothing_and_never_comes_back() {
    let (mut stage, extent) = stage();
    let holds = Held { homes: 2, backups: 0, images: 0 };
    let before = stage.dump();
    assert_eq!(stage.run(remove(1)), Outcome::Removal(Removal::Holds(holds)));
    assert_eq!(stage.dump(), before);
    assert_eq!(stage.refused(remove(9)), Refusal::Namespace(FsError::NotFound));
    stage.run(drain(1, true));
    moved(&mut stage, extent);
    moved(&mut stage, ExtentId { index: 1, ..extent });
    let work = stage.view().work(9).unwrap();
    assert!(work.iter().all(|(_, item)| matches!(item, WorkItem::Yield { home: DataServerId(1), .. })));
    assert_eq!(work.len(), 2);
    assert_eq!(stage.run(remove(1)), Outcome::Removal(Removal::Done));
    assert_eq!(stage.view().work(9).unwrap(), [], "its work is deleted");
    let record = |stage: &Stage| extent_of(stage, extent);
    assert_eq!((record(&stage).home, record(&stage).pending_work), (DataServerId(2), None));
    assert_eq!(stage.view().data_servers().unwrap().len(), 2);
    assert_eq!(stage.view().draining().unwrap(), []);
    assert_eq!(stage.refused(remove(1)), Refusal::Namespace(FsError::NotFound));
    // Neither under the old number, nor as a new one with the content of its disk.
    let again = RegisterDataServer {
        uuid: [5; 16],
        addresses: vec![],
        control: String::new(),
        capacity_bytes: 1,
        zone: String::new(),
        rack: String::new(),
        host: String::new(),
    };
    let refused = stage.refused(Command::RegisterDataServer(again));
    assert_eq!(refused, Refusal::Namespace(FsError::NotPermitted));
    assert_eq!(register(&mut stage, 8), Outcome::DataServer(4), "a number is used once");
    invariants::check(stage.view().namespace()).unwrap();
}

fn extent_of(stage: &Stage, id: ExtentId) -> mds_namespace::ExtentRecord {
    extent(stage.view().namespace(), id).unwrap().unwrap()
}

/// Spec: docs/protocol/admin.md §4.
#[test]
fn no_layout_names_the_new_home_before_the_old_one_yields() {
    let (mut stage, extent) = stage();
    let client = stage.client("b");
    let opened = stage.open(client, "o", BOTH, name_target("f"));
    let get = layout_get(client, extent.ino, true, opened.stateid);
    moved(&mut stage, extent);
    assert_eq!(stage.refused(get.clone()), Refusal::Busy);
    let number = extent_of(&stage, extent).pending_work.unwrap();
    stage.run(Command::WorkDone(WorkDone { items: vec![number] }));
    let Outcome::Layout(answer) = stage.run(get) else { panic!("refused") };
    assert_eq!((answer.extent.home, answer.extent.epoch), (DataServerId(2), Epoch(4)));
    stage.check();
}

#[test]
fn a_dead_home_is_not_waited_for() {
    let (mut stage, extent) = stage();
    moved(&mut stage, extent);
    let number = extent_of(&stage, extent).pending_work.unwrap();
    assert_eq!(stage.run(Command::WaitNoLonger(WaitNoLonger { items: vec![number] })), Outcome::Done);
    assert_eq!(extent_of(&stage, extent).pending_work, None);
    let work = stage.view().work(9).unwrap();
    assert!(matches!(work[..], [(_, WorkItem::Drop { home: DataServerId(1), .. })]));
    let many = WaitNoLonger { items: vec![0; COPY_CHANGES_MAX + 1] };
    assert_eq!(stage.refused(Command::WaitNoLonger(many)), Refusal::TableFull);
    let many = HandOver { changes: vec![change(extent, 9, 2, &[]); COPY_CHANGES_MAX + 1] };
    assert_eq!(stage.refused(Command::HandOver(many)), Refusal::TableFull);
    let unknown = HandOver { changes: vec![change(extent, 4, 9, &[])] };
    assert_eq!(stage.refused(Command::HandOver(unknown)), Refusal::Namespace(FsError::Invalid));
}

/// The log keeps commands: a variant never moves, and its fields never change
/// (docs/formats/raft_log.md).
#[test]
fn commands_have_their_golden_bytes() {
    let (extent, server) = (ExtentId { ino: 0x81, index: 2 }, DataServerId(6));
    for (command, golden) in [
        (Command::RemoveDataServer(RemoveDataServer { server }), "2306"),
        (Command::DrainDataServer(DrainDataServer { server, drain: true }), "240601"),
        (
            Command::HandOver(HandOver { changes: vec![change(extent, 3, 4, &[(5, true)])] }),
            "25018101020304010501",
        ),
        (Command::WaitNoLonger(WaitNoLonger { items: vec![7, 0x81] }), "2602078101"),
        (
            Command::SetExports(SetExports { replaces: 3, exports: vec![Export::everything()] }),
            "360301012f0000feff03feff0300010100",
        ),
        (
            Command::ReplaceExports(SetExports { replaces: 3, exports: vec![Export::everything()] }),
            "3f0301012f0000feff03feff0300010100",
        ),
        (
            Command::ReplaceExportsWhole(SetExportsWhole { replaces: 3, exports: vec![Export::any_port()] }),
            "450301012f0000feff03feff030001010000",
        ),
        (
            Command::FenceExports(FenceExports { all: false, exports: vec![7, 0x81], from: extent }),
            "400002078101810102",
        ),
        (Command::ExportsFenced(ExportsFenced { version: 3, layouts: 4, extents: 0x81 }), "4103048101"),
        (
            Command::MarkStores(MarkStores {
                marks: vec![MarkStore {
                    uuid: [0x11; 16],
                    mark: StoreMark { segment: 3, offset: 0x81 },
                    lowers: true,
                }],
            }),
            "47011111111111111111111111111111111103810101",
        ),
        (
            Command::AddHandleKey(AddHandleKey { version: 0x81, bytes: [0x22; 32] }),
            "4881012222222222222222222222222222222222222222222222222222222222222222",
        ),
        (Command::UseHandleKey(UseHandleKey { version: 3 }), "4903"),
        (Command::DropHandleKey(DropHandleKey { version: 3 }), "4a03"),
    ] {
        let bytes = postcard::to_allocvec(&command).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden, "{command:?}");
        assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
    }
}

/// A mark only grows, except where a lower one is accepted; it is removed with the data server.
#[test]
fn marks_of_stores_only_go_up() {
    let (mut stage, _) = stage();
    let uuid = [6; 16];
    let mut mark = |uuid, segment, offset, lowers| {
        let mark = MarkStore { uuid, mark: StoreMark { segment, offset }, lowers };
        assert_eq!(stage.run(Command::MarkStores(MarkStores { marks: vec![mark] })), Outcome::Done);
        stage.view().store_mark(&uuid).unwrap().map(|mark| (mark.segment, mark.offset))
    };
    assert_eq!(mark(uuid, 2, 700, false), Some((2, 700)));
    assert_eq!(mark(uuid, 2, 600, false), Some((2, 700)));
    assert_eq!(mark(uuid, 1, 900, false), Some((2, 700)));
    assert_eq!(mark(uuid, 3, 1, false), Some((3, 1)));
    assert_eq!(mark(uuid, 1, 0, true), Some((1, 0)));
    assert_eq!(mark([0xfe; 16], 1, 0, false), None, "not a data server");
    assert_eq!(stage.run(remove(2)), Outcome::Removal(Removal::Done));
    assert_eq!(stage.view().store_mark(&uuid).unwrap(), None);
    let one = MarkStore { uuid, mark: StoreMark { segment: 1, offset: 1 }, lowers: false };
    let many = MarkStores { marks: vec![one; crate::limits::DATA_SERVERS_MAX + 1] };
    assert_eq!(stage.refused(Command::MarkStores(many)), Refusal::TableFull);
}

/// Each step of replacing a handle key is done once, although commands are repeated or late.
#[test]
fn a_handle_key_is_replaced_step_by_step() {
    let (mut stage, _) = stage();
    let mut after = |command| {
        let outcome = stage.run(command);
        let keys = stage.view().handle_keys().unwrap();
        assert_eq!(outcome, Outcome::HandleKeys(keys.version));
        keys
    };
    let first = HandleKeys::default();
    assert_eq!(after(Command::UseHandleKey(UseHandleKey { version: 1 })), first);
    assert_eq!(after(Command::DropHandleKey(DropHandleKey { version: 1 })), first);
    let add = |version, byte| Command::AddHandleKey(AddHandleKey { version, bytes: [byte; 32] });
    assert_eq!(after(add(2, 5)), first, "another version");
    let added = after(add(1, 5));
    assert_eq!((added.version, added.rotation()), (2, Rotation::Spreading));
    assert_eq!(after(add(1, 6)), added);
    assert_eq!(after(add(2, 6)), added, "one at a time");
    assert_eq!(
        after(Command::DropHandleKey(DropHandleKey { version: 2 })),
        added,
        "handles are sealed under it"
    );
    assert_eq!(after(Command::UseHandleKey(UseHandleKey { version: 1 })), added);
    let used = after(Command::UseHandleKey(UseHandleKey { version: 2 }));
    assert_eq!((used.version, used.used, used.rotation()), (2, 1, Rotation::Leaving));
    let alone = after(Command::DropHandleKey(DropHandleKey { version: 2 }));
    assert_eq!((alone.version, alone.rotation(), alone.is_first_good), (3, Rotation::None, false));
    assert_eq!(after(Command::DropHandleKey(DropHandleKey { version: 2 })), alone);
    stage.check();
}
