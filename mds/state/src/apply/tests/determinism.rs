//! The same entries give the same store, however they are batched.

use ::layout::copies::Copies;
use mds_namespace::SetAttributes;
use mds_namespace::op::copies::Adoption;
use mds_namespace::op::extent::CopyChange;
use proptest::prelude::*;

use super::*;
use crate::command::admin::{
    DrainDataServer, ExportsFenced, FenceExports, HandOver, RemoveDataServer, SetExports, SetExportsWhole,
    WaitNoLonger,
};
use crate::command::client::RemoveClient;
use crate::command::data::{ChangeCopies, Measured};
use crate::command::layout::{LayoutRecall, LayoutReturn, Returned};
use crate::command::lock::{Lock, Locker, Range};
use crate::command::namespace::{Link, Rename, SetAttributesOf};
use crate::command::seal::{AdoptExtents, RehomeImage, ThawExtent, UseImages, UsedImage};
use crate::export::Export;

/// A command from small numbers: few names and clients, so that commands collide.
pub(super) fn command(kind: u8, a: u64, b: u64) -> Command {
    let name = |number: u64| format!("n{}", number % 4).into_bytes();
    let (client, ino) = (a % 4 + 1, b % 6 + 1);
    let stateid = |kind: u8| StateidValue {
        seqid: 0,
        other: crate::record::other(crate::record::StateKind::of_number(kind).unwrap(), 0, b % 12 + 1),
    };
    let text = |number: u64| format!("o{}", number % 3);
    match kind {
        0 => exchange(&text(a), u8::try_from(b % 2).unwrap()),
        1 => Command::ConfirmClient(ConfirmClient { client, sequence: 1, principal: b"principal".to_vec() }),
        2 => Command::RemoveClient(RemoveClient { client, only_if_idle: b.is_multiple_of(2) }),
        3 | 4 => open_command(
            client,
            &text(b),
            ROOT,
            Share { access: u32::try_from(a % 3).unwrap() + 1, deny: u32::from(b.is_multiple_of(7)) },
            create_target(&format!("n{}", b % 4), How::Unchecked),
        ),
        5 => Command::Close(Close { client, ino, stateid: stateid(1) }),
        6 => Command::Lock(Lock {
            client,
            ino,
            exclusive: a.is_multiple_of(2),
            range: Range { offset_bytes: a % 50, length_bytes: b % 50 },
            locker: Locker::New { open: stateid(1), owner: name(a) },
        }),
        7 => Command::Remove(Remove { caller: ROOT, directory: ROOT_INO, name: name(a) }),
        8 => Command::Rename(Rename {
            caller: ROOT,
            from_directory: ROOT_INO,
            from_name: name(a),
            to_directory: ROOT_INO,
            to_name: name(b),
        }),
        9 => Command::Link(Link { caller: ROOT, ino, directory: ROOT_INO, name: name(a) }),
        10 => Command::SetAttributes(SetAttributesOf {
            caller: ROOT,
            ino,
            attributes: SetAttributes { size_bytes: Some(a << 20), ..SetAttributes::default() },
            by_write_open: true,
        }),
        11 => Command::RegisterDataServer(RegisterDataServer {
            uuid: [u8::try_from(a % 3).unwrap(); 16],
            addresses: Vec::new(),
            control: String::new(),
            capacity_bytes: b,
            zone: String::new(),
            rack: String::new(),
            host: String::new(),
        }),
        12 => {
            let extent = ::layout::ExtentId { ino, index: u32::try_from(a % 3).unwrap() };
            Command::Allocate(Allocate { extent, home: ::layout::DataServerId(1), backups: vec![] })
        }
        13 => Command::MoveToExtents(MoveToExtents { ino, change: a % 8 }),
        14 => layout_get(client, ino, a.is_multiple_of(2), stateid(1)),
        16 => {
            let what = match b % 3 {
                0 => Returned::Recalled { ino, other: stateid(3).other },
                _ => Returned::Revoked { ino },
            };
            Command::LayoutReturn(LayoutReturn { client, what })
        }
        15 => Command::LayoutRecall(LayoutRecall { ino, iomode: None, except_client: None }),
        _ => sealing(kind, ino, a, b),
    }
}

fn server(number: u64) -> u32 {
    u32::try_from(number % 3 + 1).unwrap()
}

fn change(ino: Ino, number: u64, copies: Copies) -> CopyChange {
    let extent = ::layout::ExtentId { ino, index: u32::try_from(number % 3).unwrap() };
    CopyChange { extent, epoch: ::layout::Epoch(number / 3 % 4 + 1), copies }
}

fn exporting(ino: Ino, a: u64, b: u64) -> Command {
    if b.is_multiple_of(4) {
        return Command::FenceExports(FenceExports {
            all: b.is_multiple_of(8),
            exports: vec![0, 1],
            from: ::layout::ExtentId { ino, index: 0 },
        });
    }
    if b.is_multiple_of(5) {
        return Command::ExportsFenced(ExportsFenced { version: a % 8, layouts: 1, extents: 2 });
    }
    let at =
        |n| Export { path: format!("/{}", a % 3 + n), secure: a.is_multiple_of(2), ..Export::everything() };
    let (replaces, exports) = (a % 4, (0..=b % 3).map(at).collect());
    if b.is_multiple_of(7) {
        Command::ReplaceExports(SetExports { replaces, exports })
    } else {
        Command::ReplaceExportsWhole(SetExportsWhole { replaces, exports })
    }
}

fn sealing(kind: u8, ino: Ino, a: u64, b: u64) -> Command {
    match kind {
        17 => Command::TakeGroup,
        18 => {
            let extent = ::layout::ExtentId { ino, index: u32::try_from(a % 3).unwrap() };
            Command::MakeGroup(seal::one_copy(b % 8 + 1, extent, u8::try_from(a % 16 + 1).unwrap()))
        }
        19 => Command::UseImages(UseImages {
            used: vec![UsedImage {
                extent: ::layout::ExtentId { ino, index: 0 },
                image: [u8::try_from(a % 16 + 1).unwrap(); 16],
                server: ::layout::DataServerId(1),
                above: a % 20,
            }],
        }),
        20 => Command::ThawExtent(ThawExtent {
            extent: ::layout::ExtentId { ino, index: 0 },
            server: ::layout::DataServerId(1),
            sequence: a,
        }),
        21 => Command::AdoptExtents(AdoptExtents {
            adoptions: vec![Adoption {
                extent: ::layout::ExtentId { ino, index: 0 },
                epoch: ::layout::Epoch(a % 3 + 1),
                home: ::layout::DataServerId(2),
            }],
        }),
        24 => Command::RemoveDataServer(RemoveDataServer { server: ::layout::DataServerId(server(a)) }),
        25 => {
            let server = ::layout::DataServerId(server(a));
            Command::DrainDataServer(DrainDataServer { server, drain: !b.is_multiple_of(3) })
        }
        26 | 27 => {
            let backup = (::layout::DataServerId(2), b.is_multiple_of(3));
            let copies = Copies { home: ::layout::DataServerId(1), backups: vec![backup] };
            Command::ChangeCopies(ChangeCopies { changes: vec![change(ino, a, copies)] })
        }
        28 => {
            let copies = Copies { home: ::layout::DataServerId(2), backups: vec![] };
            Command::HandOver(HandOver { changes: vec![change(ino, a, copies)] })
        }
        30 => exporting(ino, a, b),
        31 => {
            let extent = ::layout::ExtentId { ino, index: 0 };
            Command::Measured(Measured { extent, epoch: ::layout::Epoch(a % 3 + 1), end_bytes: b })
        }
        29 => Command::WaitNoLonger(WaitNoLonger { items: vec![a % 8, b % 8] }),
        _ => Command::RehomeImage(RehomeImage {
            group: b % 8 + 1,
            slot: 0,
            from: ::layout::DataServerId(1),
            to: ::layout::DataServerId(2),
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One store gets each entry in a transaction of its own, the other gets batches; both end up
    /// equal and complete.
    #[test]
    fn batches_do_not_show(numbers in prop::collection::vec((0..33u8, 0..64u64, 0..64u64), 1..120)) {
        let mut single = Stage::new();
        let entries: Vec<Entry> = numbers
            .iter()
            .zip(1..)
            .map(|(&(kind, a, b), at)| Entry {
                now_unix_ns: at * 1_000_000_000,
                origin: None,
                governor: 0,
                command: command(kind, a, b),
            })
            .collect();
        let batched = Stage::new();
        let mut outcomes = Vec::new();
        for batch in entries.chunks(7) {
            let mut txn = batched.store.begin().unwrap();
            for entry in batch {
                outcomes.push(super::super::apply(&mut *txn, entry).unwrap());
            }
            txn.commit(Durability::Memory).unwrap();
        }
        for (entry, expected) in entries.iter().zip(&outcomes) {
            single.now_unix_ns = entry.now_unix_ns - 1_000_000_000;
            prop_assert_eq!(&single.run(entry.command.clone()), expected);
        }
        single.check();
        mds_namespace::invariants::check(&*single.store.view().unwrap()).unwrap();
        prop_assert_eq!(single.dump(), batched.dump());
    }
}
