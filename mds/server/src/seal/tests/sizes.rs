//! Sizes of files that clients write straight to data servers.

use layout::{ExtentId, Iomode};
use mds_namespace::{Granted, Seen, SetAttributes, unsettled};
use mds_state::command::layout::{LayoutGet, LayoutGiveBack, LayoutReturn, LayoutWrite, Returned};
use mds_state::command::namespace::SetAttributesOf;
use mds_state::{Command, StateidValue};
use wire_nfs::v4::Nfsstat4;

use super::fleet::{Fleet, Opened};
use crate::client_end;
use crate::size::settle::before_return;

/// Grants a client a layout to write an extent.
async fn grant(fleet: &Fleet, file: &Opened, index: u32) -> StateidValue {
    let extent = ExtentId { ino: file.ino, index };
    let get = LayoutGet { client: file.client, extent, iomode: Iomode::ReadWrite, stateid: file.stateid };
    let granted = vec![Granted { index, seen: Some(Seen::default()) }];
    let write = LayoutWrite { get, place: None, code: None, granted, drops_set_id: false };
    let outcome = fleet.server().propose(Command::LayoutWrite(write)).await.unwrap();
    let mds_state::Outcome::Layout(answer) = outcome else { panic!("{outcome:?}") };
    answer.stateid
}

async fn size(fleet: &Fleet, file: &Opened) -> Result<u64, Nfsstat4> {
    let inode = fleet.server().view().unwrap().inode(file.ino).unwrap();
    fleet.server().derived(inode).await.map(|inode| inode.size_bytes)
}

fn logged(fleet: &Fleet, file: &Opened) -> u64 {
    fleet.server().view().unwrap().inode(file.ino).unwrap().size_bytes
}

fn is_settled(fleet: &Fleet, file: &Opened) -> bool {
    unsettled::unsettled(fleet.server().view().unwrap().namespace(), file.ino).unwrap().is_none()
}

/// Acknowledged bytes count at once, for the client that wrote them as well; none of that is
/// logged.
/// Spec: docs/protocol/sizes.md §1.
#[tokio::test]
async fn acknowledged_bytes_count_while_a_client_may_write() {
    let fleet = Fleet::start(2, |_| ()).await;
    let file = fleet.opened("written", &[1, 2]).await;
    fleet.extents_hold(0, 5_000);
    assert_eq!(size(&fleet, &file).await, Ok(0), "no layout for writing was given out");
    grant(&fleet, &file, 0).await;
    assert_eq!(size(&fleet, &file).await, Ok(5_000));
    grant(&fleet, &file, 1).await;
    assert_eq!(size(&fleet, &file).await, Ok((64 << 20) + 5_000));
    assert_eq!(logged(&fleet, &file), 0);
}

/// A primary that does not answer makes the client retry; the client never gets less than it knows.
#[tokio::test]
async fn a_silent_primary_is_waited_for() {
    let fleet = Fleet::start(1, |_| ()).await;
    let file = fleet.opened("silent", &[1]).await;
    grant(&fleet, &file, 0).await;
    fleet.extents_hold(0, 5_000);
    fleet.sizes_cannot_be_told();
    assert_eq!(size(&fleet, &file).await, Err(Nfsstat4::Delay));
    assert!(before_return(fleet.server(), file.ino, file.client).await.is_none());
}

/// Bytes of a client that died count, up to where it wrote, however many extents that is.
/// Spec: RFC 8881 §12.5.4, §18.42.3.
#[tokio::test]
async fn bytes_of_a_lost_client_count() {
    const EXTENTS: u32 = 40;
    let fleet = Fleet::start(2, |_| ()).await;
    let homes: Vec<u32> = (0..EXTENTS).map(|index| index % 2 + 1).collect();
    let file = fleet.opened("lost", &homes).await;
    for index in [0, EXTENTS - 1] {
        grant(&fleet, &file, index).await;
    }
    fleet.extents_hold(EXTENTS - 1, 5_000);
    let end_bytes = ExtentId { ino: file.ino, index: EXTENTS - 1 }.first_byte() + 5_000;
    assert_eq!(size(&fleet, &file).await, Ok(end_bytes));
    client_end::expire(fleet.server(), file.client).await;
    until!(logged(&fleet, &file) == end_bytes);
    assert!(is_settled(&fleet, &file));
}

/// The file is settled with the last return; a measurement from before a cut is void after it.
#[tokio::test]
async fn a_cut_between_measurement_and_return_stands() {
    let fleet = Fleet::start(1, |_| ()).await;
    let file = fleet.opened("cut", &[1]).await;
    grant(&fleet, &file, 0).await;
    fleet.extents_hold(0, 60_000);
    let early = before_return(fleet.server(), file.ino, file.client).await.unwrap();
    assert_eq!(early.end_bytes, 60_000);
    let attributes = SetAttributes { size_bytes: Some(5_000), ..SetAttributes::default() };
    let cut = SetAttributesOf {
        caller: mds_namespace::Caller::default(),
        ino: file.ino,
        attributes,
        by_write_open: true,
    };
    fleet.server().propose(Command::SetAttributes(cut)).await.unwrap();
    let stateid = fleet.server().view().unwrap().layout(file.ino, file.client).unwrap().unwrap();
    let stateid = StateidValue { seqid: stateid.seqid, other: stateid.other };
    let what = Returned::File { ino: file.ino, iomode: None, whole: true, stateid };
    let what = LayoutReturn { client: file.client, what };
    let back = LayoutGiveBack { what, settlement: Some(early) };
    fleet.server().propose(Command::LayoutGiveBack(back)).await.unwrap();
    assert_eq!(logged(&fleet, &file), 5_000);
    assert!(!is_settled(&fleet, &file), "it was measured before the cut");
}
