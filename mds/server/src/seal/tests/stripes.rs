//! Segments of several extents, of files whose data servers only know control calls: their
//! contents, and when they are not granted.
//!
//! Spec: docs/request.md, "Striped segments"; RFC 8435 §5, §6.

use layout::{DataServerId, EXTENT_BYTES, ExtentId, Iomode, Role, handle};
use mds_state::Outcome;
use mds_state::command::layout::{LayoutAnswer, LayoutGet, LayoutRecall, LayoutReturn, Returned};
use wire_nfs::flexfiles::{FfLayout, decode_body};

use super::fleet::{Fleet, Opened};
use super::*;
use crate::flexfile::Body;
use crate::stripes::{self, Asked, Run};

/// Implementation name of a kernel.
const KERNEL: &str = "Linux 7.2.1-um #1 Debian 7.2.1-1 x86_64";
/// Size limit of a reply for Linux.
const ANSWER_BYTES: u32 = 4096;

async fn fleet(count: u32) -> Fleet {
    Fleet::start(count, |settings| {
        settings.seal = true;
        // A full server must not trigger moves.
        settings.rebalance = false;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
    })
    .await
}

fn asked(file: &Opened, index: u32, iomode: Iomode) -> Asked {
    let extent = ExtentId { ino: file.ino, index };
    Asked { client: file.client, extent, iomode, bytes_max: ANSWER_BYTES, code: None, export: 0, reads: true }
}

fn range(run: Option<Run>) -> Option<(u64, u64)> {
    run.map(|run| run.range()).map(|(offset, length)| (offset / EXTENT_BYTES, length / EXTENT_BYTES))
}

/// LAYOUTGET of one extent, as the log grants it.
async fn get(fleet: &Fleet, file: &Opened, asked: &Asked) -> LayoutAnswer {
    let (client, stateid) = (file.client, file.stateid);
    let get = LayoutGet { client, extent: asked.extent, iomode: asked.iomode, stateid };
    match fleet.server().propose(Command::LayoutGet(get)).await.unwrap() {
        Outcome::Layout(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// The contents of a body: for each mirror its entries, each with data server, extent, role and
/// whether it may write.
fn named(fleet: &Fleet, body: &Body) -> Vec<Vec<(u32, u32, Role, bool)>> {
    let layout: FfLayout = decode_body(&body.bytes).unwrap();
    let striped = 1 < layout.mirrors[0].data_servers.len();
    assert_eq!(layout.stripe_unit_bytes, if striped { EXTENT_BYTES } else { 0 });
    let one = |one: &wire_nfs::flexfiles::DataServer| {
        let (device, _) = handle::device_of(&one.device.0).unwrap();
        let opened = handle::open(&fleet.server().handle_keys().used, one.filehandles[0].as_bytes()).unwrap();
        assert_eq!(opened.home, device, "who may be shown it");
        (device.0, opened.extent.index, opened.role, opened.mode.writes())
    };
    layout.mirrors.iter().map(|mirror| mirror.data_servers.iter().map(one).collect()).collect()
}

/// A run for writing gets the homes it lacks, and each extent an entry of its own.
#[tokio::test]
async fn writing_gets_homes_for_the_whole_run() {
    let fleet = fleet(4).await;
    let file = fleet.opened(KERNEL, &[1, 2, 3]).await;
    let server = fleet.server();
    let code = Some(Profile::FourPlusTwo);
    let asked = Asked { code, ..asked(&file, 2, Iomode::ReadWrite) };
    assert_eq!(stripes::choose(server, &asked, 1, 0), None, "the export has no stripes");
    let run = stripes::choose(server, &asked, 8, 0);
    assert_eq!(range(run), Some((0, 4)));
    assert_eq!(fleet.homes(file.ino), [1, 2, 3], "to choose changes nothing");
    stripes::place(server, &asked, run).await;
    let homes = fleet.homes(file.ino);
    assert_eq!((homes.len(), &homes[..3]), (4, &[1, 2, 3][..]));
    let codes: Vec<_> = {
        let view = server.view().unwrap();
        let records = mds_namespace::op::extent::extents(view.namespace(), file.ino, 0, 9).unwrap();
        records.iter().map(|record| record.code).collect()
    };
    assert_eq!(codes, [None, None, None, code], "the export's, for what is new");
    let answer = get(&fleet, &file, &asked).await;
    let (run, body) = stripes::grant(server, &asked, run.unwrap(), &answer).unwrap();
    assert_eq!(range(Some(run)), Some((0, 4)));
    let expected: Vec<_> = (0..).zip(&homes).map(|(index, home)| (*home, index, Role::Home, true)).collect();
    assert_eq!(named(&fleet, &body), [expected]);
    // The client's limit decides.
    let small = Asked { bytes_max: 400, ..asked };
    assert_eq!(range(stripes::grant(server, &small, run, &answer).map(|(run, _)| run)), Some((2, 2)));
    let least = Asked { bytes_max: 200, ..asked };
    assert!(stripes::grant(server, &least, run, &answer).is_none());
}

#[tokio::test]
async fn reading_makes_no_homes_and_leaves_holes_out() {
    let fleet = fleet(4).await;
    let file = fleet.opened(KERNEL, &[1, 2, 3]).await;
    let server = fleet.server();
    let whole = 3 * EXTENT_BYTES;
    let first = asked(&file, 1, Iomode::Read);
    let run = stripes::choose(server, &first, 8, whole);
    assert_eq!(range(run), Some((0, 2)), "the fourth has no home");
    stripes::place(server, &first, run).await;
    assert_eq!(range(stripes::choose(server, &asked(&file, 2, Iomode::Read), 8, whole)), None);
    assert_eq!(fleet.homes(file.ino), [1, 2, 3]);
    let old = fleet.opened("Linux 6.12.57+deb13-um #1 x86_64", &[1, 2]).await;
    assert_eq!(stripes::choose(server, &asked(&old, 0, Iomode::Read), 8, whole), None);
    let nameless = fleet.opened("", &[1, 2]).await;
    assert_eq!(stripes::choose(server, &asked(&nameless, 0, Iomode::Read), 8, whole), None);
}

/// Servers that cannot be used narrow the run.
#[tokio::test]
async fn servers_that_cannot_be_used_narrow_the_run() {
    let fleet = fleet(4).await;
    let file = fleet.opened(KERNEL, &[1, 2, 3, 4]).await;
    let server = fleet.server();
    let now_ms = server.now_ms();
    let (whole, read) = (4 * EXTENT_BYTES, asked(&file, 0, Iomode::Read));
    let write = asked(&file, 0, Iomode::ReadWrite);
    let chosen = |asked: &Asked| range(stripes::choose(server, asked, 4, whole));
    assert_eq!((chosen(&read), chosen(&write)), (Some((0, 4)), Some((0, 4))));
    // A full server can be read from.
    fleet.fills(4, 1 << 40, 1 << 40);
    until!(server.data_servers.is_full_for(0, DataServerId(4), server.now_ms()));
    assert_eq!((chosen(&read), chosen(&write)), (Some((0, 4)), Some((0, 2))));
    // A server that this client could not reach cannot.
    server.data_servers.exclude(file.client, DataServerId(3), now_ms);
    assert_eq!((chosen(&read), chosen(&write)), (Some((0, 2)), Some((0, 2))));
    assert_eq!(chosen(&asked(&file, 3, Iomode::Read)), None);
    // Its layouts are being recalled for another home.
    let answer = get(&fleet, &file, &write).await;
    let run = stripes::choose(server, &write, 4, whole).unwrap();
    assert!(stripes::grant(server, &write, run, &answer).is_some());
    server.copies.moving.lock().insert(ExtentId { ino: file.ino, index: 1 });
    assert_eq!(chosen(&read), None);
    assert!(stripes::grant(server, &write, run, &answer).is_none(), "it began after the choice");
    server.copies.moving.lock().clear();
    assert_eq!(chosen(&read), Some((0, 2)));
}

/// Between the log's grant and the reply: a layout that is recalled, or gone, names no more
/// extents.
#[tokio::test]
async fn a_recalled_layout_is_not_striped() {
    let fleet = fleet(2).await;
    let file = fleet.opened(KERNEL, &[1, 2]).await;
    let server = fleet.server();
    let write = asked(&file, 1, Iomode::ReadWrite);
    let run = stripes::choose(server, &write, 2, 0).unwrap();
    let answer = get(&fleet, &file, &write).await;
    assert!(stripes::grant(server, &write, run, &answer).is_some());
    let read = Asked { iomode: Iomode::Read, ..write };
    assert!(stripes::grant(server, &read, run, &answer).is_none(), "no such part is held");
    let recall = LayoutRecall { ino: file.ino, iomode: None, except_client: None };
    server.propose(Command::LayoutRecall(recall)).await.unwrap();
    assert!(stripes::grant(server, &write, run, &answer).is_none(), "it is being recalled");
    // Revoked, which fences the handles; a new layout is another one.
    let revoke = LayoutReturn { client: file.client, what: Returned::Revoked { ino: file.ino } };
    server.propose(Command::LayoutReturn(revoke)).await.unwrap();
    assert!(stripes::grant(server, &write, run, &answer).is_none(), "it is gone");
    server.work.wake();
    until!(stripes::choose(server, &write, 2, 0).is_some());
    let again = get(&fleet, &file, &write).await;
    assert!(stripes::grant(server, &write, run, &answer).is_none(), "that was another layout");
    assert!(again.extent.epoch > answer.extent.epoch, "all of it was fenced");
    assert!(stripes::grant(server, &write, run, &again).is_some());
}

/// Readers stand by for all of a run, or for none. A client that reads gets the widest run with two
/// mirrors.
#[tokio::test]
async fn an_extent_at_rest_has_a_reader_for_each_stripe() {
    let fleet = fleet(3).await;
    let file = fleet.opened(KERNEL, &[1, 2, 1, 2, 1, 2, 1, 2]).await;
    let server = fleet.server();
    let extent = |index| ExtentId { ino: file.ino, index };
    for pair in 0..4_u8 {
        let (one, two) = (u32::from(pair) * 2, u32::from(pair) * 2 + 1);
        let images = [(10 + 2 * pair, extent(one), 1), (11 + 2 * pair, extent(two), 2)];
        fleet.make_three(images, 3, 1000).await;
    }
    let read = asked(&file, 5, Iomode::Read);
    let run = stripes::choose(server, &read, 8, 8 * EXTENT_BYTES).unwrap();
    assert_eq!(range(Some(run)), Some((0, 8)));
    let answer = get(&fleet, &file, &read).await;
    let (granted, body) = stripes::grant(server, &read, run, &answer).unwrap();
    assert_eq!(granted, run);
    let mirrors = named(&fleet, &body);
    let homes = [1, 2, 1, 2, 1, 2, 1, 2].into_iter();
    let homes: Vec<_> = (0..).zip(homes).map(|(index, home)| (home, index, Role::Home, false)).collect();
    assert_eq!(mirrors[0], homes);
    assert_eq!((mirrors.len(), mirrors[1].len()), (2, 8));
    for (home, reader) in mirrors[0].iter().zip(&mirrors[1]) {
        assert_ne!(home.0, reader.0, "another server");
        assert_eq!((reader.1, reader.2, reader.3), (home.1, Role::Reader, false));
    }
    // A client writes to the first: its segment has the homes alone; extents still at rest keep
    // their readers, in a narrower run.
    assert_eq!(fleet.thaw(1, extent(0), 6).await, Ok(()));
    let (granted, body) = stripes::grant(server, &read, run, &answer).unwrap();
    assert_eq!(range(Some(granted)), Some((4, 4)));
    assert_eq!(named(&fleet, &body).len(), 2);
    let mixed = asked(&file, 1, Iomode::Read);
    let answer = get(&fleet, &file, &mixed).await;
    assert!(stripes::grant(server, &mixed, run, &answer).is_none(), "one of two has a reader");
}
