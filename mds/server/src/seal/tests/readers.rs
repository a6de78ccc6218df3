//! Readers of an extent at rest in place of its home, and the replies they get.
//!
//! Spec: docs/protocol/seal.md §11.

use layout::{DataServerId, ExtentId, Iomode, Role, handle};
use wire_nfs::flexfiles::{FfLayout, decode_body};

use super::fleet::{Fleet, shown, used};
use super::*;
use crate::flexfile::{self, Grant};
use crate::seal::readers;

/// A client without complaints.
const CLIENT: u64 = 77;

async fn fleet() -> Fleet {
    Fleet::start(4, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
    })
    .await
}

/// The mirrors of a layout, best first: data server, role of its handle, and whether the handle may
/// write.
fn mirrors(fleet: &Fleet, client: u64, extent: ExtentId, iomode: Iomode) -> (Vec<(u32, Role, bool)>, bool) {
    let server = fleet.server();
    let (record, inode) = {
        let view = server.view().unwrap();
        let record = mds_namespace::op::extent::extent(view.namespace(), extent).unwrap().unwrap();
        (record, view.inode(extent.ino).unwrap())
    };
    let body = flexfile::layout_body(
        server,
        Grant { client, iomode, seqid: 1, export: 0, reads: true },
        &[record],
        inode.size_bytes,
    )
    .unwrap();
    let layout: FfLayout = decode_body(&body.bytes).unwrap();
    let mut all: Vec<_> =
        layout.mirrors.into_iter().map(|mut mirror| mirror.data_servers.remove(0)).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.efficiency));
    let one = |one: &wire_nfs::flexfiles::DataServer| {
        let (device, _) = handle::device_of(&one.device.0).unwrap();
        let opened = handle::open(&server.handle_keys().used, one.filehandles[0].as_bytes()).unwrap();
        assert_eq!((opened.home, opened.extent), (device, extent));
        (device.0, opened.role, opened.mode.writes())
    };
    (all.iter().map(one).collect(), body.names_home)
}

#[tokio::test]
async fn an_extent_at_rest_has_a_second_mirror() {
    let fleet = fleet().await;
    let [one, _] = fleet.file([1, 2]).await;
    let image = shown(7, one, 5);
    let home = (1, Role::Home, false);
    assert_eq!(mirrors(&fleet, CLIENT, one, Iomode::Read), (vec![home], true), "it was never sealed");
    fleet.word(1, image).await;
    until!(groups(&fleet).len() == 1);
    assert_eq!(mirrors(&fleet, CLIENT, one, Iomode::Read), (vec![home], true), "its image is not in use");
    assert_eq!(fleet.at_rest(2, one, 1).await, Err(Refusal::Stale));
    assert_eq!(fleet.word(1, used(image)).await, ImageWord::Keep);
    let parity = groups(&fleet)[0].homes()[2].unwrap().0;
    let reader = (parity, Role::Reader, false);
    assert_eq!(mirrors(&fleet, CLIENT, one, Iomode::Read), (vec![home, reader], true));
    assert_eq!(
        mirrors(&fleet, CLIENT, one, Iomode::ReadWrite).0,
        [(1, Role::Home, true)],
        "one gets all writes"
    );
    let told = fleet.at_rest(parity, one, 1).await.unwrap();
    let named = layout::ec::ImageRef::decode(&told.image).unwrap();
    assert_eq!((named.image.0, named.content_bytes, named.file_bytes), ([7; 16], 900, 1000));
    assert_eq!(told.size_bytes, 0, "no client has said how far it wrote");
    assert_eq!(fleet.at_rest(parity, one, 2).await, Err(Refusal::Stale), "no such epoch");
    assert_eq!(fleet.at_rest(parity, ExtentId { index: 9, ..one }, 1).await, Err(Refusal::Stale));
    // A client writes: from then on readers get no image, and no layout has a reader.
    assert_eq!(fleet.thaw(1, one, 6).await, Ok(()));
    assert_eq!(fleet.at_rest(parity, one, 1).await, Err(Refusal::Stale));
    assert_eq!(mirrors(&fleet, CLIENT, one, Iomode::Read), (vec![home], true));
}

#[tokio::test]
async fn a_home_that_cannot_be_used_is_left_out() {
    let fleet = fleet().await;
    let server = fleet.server();
    let [one, _] = fleet.file([1, 2]).await;
    let image = shown(7, one, 5);
    fleet.word(1, image).await;
    until!(groups(&fleet).len() == 1);
    assert_eq!(fleet.word(1, used(image)).await, ImageWord::Keep);
    let parity = groups(&fleet)[0].homes()[2].unwrap();
    let reader = vec![(parity.0, Role::Reader, false)];
    assert!(readers::stand_in(server, Some(CLIENT), one).is_none(), "the home is healthy");
    // One client cannot reach it; nor the first reader.
    server.data_servers.exclude(CLIENT, DataServerId(1), server.now_ms());
    assert_eq!(mirrors(&fleet, CLIENT, one, Iomode::Read), (reader.clone(), false));
    assert_eq!(mirrors(&fleet, CLIENT + 1, one, Iomode::Read).0.len(), 2);
    server.data_servers.exclude(CLIENT, parity, server.now_ms());
    let (_, other) = readers::stand_in(server, Some(CLIENT), one).unwrap();
    assert!(other != parity && other.0 != 1, "any server can read from a group");
    // It is dead for all clients.
    fleet.silence(1);
    until!(!server.data_servers.is_up(DataServerId(1), server.now_ms()));
    assert_eq!(mirrors(&fleet, CLIENT + 1, one, Iomode::Read), (reader, false));
    assert_eq!(mirrors(&fleet, CLIENT + 1, one, Iomode::ReadWrite).0, [(1, Role::Home, true)]);
    // At a new epoch older handles are invalid.
    let before = fleet.at_rest(parity.0, one, 1).await;
    assert!(before.is_ok());
    server.propose(Command::Fence(Fence { extent: one })).await.unwrap();
    assert_eq!(fleet.at_rest(parity.0, one, 1).await, Err(Refusal::Stale));
}
