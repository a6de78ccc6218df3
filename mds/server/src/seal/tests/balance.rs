//! Data moves to a server that was added.
//!
//! Spec: docs/protocol/admin.md §6.

use std::collections::BTreeMap;

use layout::{DataServerId, ExtentId};
use mds_namespace::ExtentRecord;
use mds_namespace::op::extent::all_from;
use mds_state::Command;
use mds_state::command::data::Allocate;
use wire_nfs::control::copies::Word;

use super::fleet::Fleet;
use super::groups;

const MIB: u64 = 1 << 20;
/// Of each data server.
const CAPACITY_BYTES: u64 = 128 * MIB;
/// Of each image, and of each extent.
const PIECE_BYTES: u64 = 4 * MIB;

fn records(fleet: &Fleet) -> Vec<ExtentRecord> {
    let from = ExtentId { ino: 0, index: 0 };
    all_from(fleet.server().view().unwrap().namespace(), from, 999).unwrap()
}

/// Homes report each filling backup as full.
async fn fill(fleet: &Fleet) {
    for record in records(fleet) {
        for backup in record.backups.iter().filter(|backup| backup.filling) {
            let whole = (backup.server.0, backup.since.0);
            let _ = fleet.say(record.home.0, record.extent, Word::Filled, whole).await;
        }
    }
}

/// Three data servers, with 16 groups of one image each, all in use.
async fn sealed(rebalance: bool) -> Fleet {
    let fleet = Fleet::start(3, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
        settings.data_server_lease_ms = 500;
        settings.rebalance = rebalance;
        settings.rebalance_calm_ms = 300;
    })
    .await;
    for id in 1..=4 {
        fleet.fills(id, CAPACITY_BYTES, 0);
    }
    let [first, _] = fleet.file([1, 2]).await;
    for number in 0..16_u8 {
        let homes = [u32::from(number) % 3 + 1, (u32::from(number) + 1) % 3 + 1];
        let mut images = Vec::new();
        for (at, home) in homes.into_iter().enumerate() {
            let extent = ExtentId { index: 2 + 2 * u32::from(number) + at as u32, ..first };
            let allocate = Allocate { extent, home: DataServerId(home), backups: vec![] };
            fleet.server().propose(Command::Allocate(allocate)).await.unwrap();
            images.push((1 + 2 * number + at as u8, extent, home));
        }
        let parity = 6 - homes[0] - homes[1];
        fleet.make_three([images[0], images[1]], parity, PIECE_BYTES).await;
    }
    fleet
}

/// Number of images on each server, by the log.
fn images(fleet: &Fleet) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for home in groups(fleet).iter().flat_map(|group| group.homes().to_vec()).flatten() {
        *counts.entry(home.0).or_default() += 1;
    }
    counts
}

/// Whether homes are on the servers of their images.
fn are_local(fleet: &Fleet) -> bool {
    let records = records(fleet);
    groups(fleet).iter().all(|group| {
        group.shape().members().iter().zip(group.homes()).all(|(member, home)| {
            let extent = member.unwrap().extent;
            let record = records.iter().find(|record| record.extent == extent).unwrap();
            Some(record.home) == *home && record.backups.is_empty() && record.pending_work.is_none()
        })
    })
}

#[tokio::test]
async fn a_server_that_is_added_gets_its_share_of_images_and_their_homes() {
    let mut fleet = sealed(true).await;
    assert_eq!(images(&fleet), BTreeMap::from([(1, 16), (2, 16), (3, 16)]));
    fleet.join(4).await;
    until!({
        fill(&fleet).await;
        let status = fleet.status().rebalance;
        images(&fleet).len() == 4 && !status.moves && are_local(&fleet)
    });
    let after = images(&fleet);
    // A parity image is longer by its record.
    assert!((11..=12).contains(&after[&4]), "{after:?}");
    assert!((1..=3).all(|id| (11..=13).contains(&after[&id])), "{after:?}");
    let moved = fleet.rebuilt();
    assert!(
        moved.iter().all(|(on, _)| *on == 4) && moved.len() == after[&4],
        "no more than its share: {moved:?}"
    );
    for group in groups(&fleet) {
        let mut homes: Vec<_> = group.homes().iter().flatten().collect();
        homes.sort();
        homes.dedup();
        assert_eq!(homes.len(), 3, "no two of a group on one server");
    }
    let status = fleet.status().rebalance;
    assert_eq!((status.on, status.waits.as_str(), status.left_bytes), (true, "", 0));
    assert!(after[&4] as u64 * PIECE_BYTES <= status.done_bytes);
    // Nothing moves any more, not even at an administrator's request.
    let dry = fleet.admin().rebalance(true).await.unwrap();
    assert!(dry.done && dry.routes.is_empty(), "{dry:?}");
    assert!(fleet.admin().rebalance(false).await.unwrap().done);
    until!(!fleet.status().rebalance.moves);
    assert_eq!(fleet.rebuilt().len(), moved.len());
}

#[tokio::test]
async fn nothing_moves_by_itself_while_it_is_off_but_when_it_is_asked_for() {
    let mut fleet = sealed(false).await;
    fleet.join(4).await;
    until!(fleet.admin().rebalance(true).await.unwrap().done);
    let dry = fleet.admin().rebalance(true).await.unwrap();
    let moved = |of: fn(&wire_nfs::control::admin::Route) -> u64| dry.routes.iter().map(of).sum::<u64>();
    assert!((11..=12).contains(&moved(|route| route.images)), "{dry:?}");
    assert!(dry.routes.iter().all(|route| route.to == 4 && route.extents == 0));
    assert_eq!((images(&fleet).len(), fleet.rebuilt().len()), (3, 0), "only asked");
    assert!(!fleet.status().rebalance.on);
    assert!(fleet.admin().rebalance(false).await.unwrap().done);
    until!({
        fill(&fleet).await;
        let status = fleet.status().rebalance;
        images(&fleet).get(&4).is_some_and(|count| 11 <= *count) && !status.moves && !status.on
    });
}

/// Repair comes first, and servers that may return are waited for.
#[tokio::test]
async fn nothing_begins_while_a_server_is_down() {
    let mut fleet = sealed(true).await;
    fleet.silence(3);
    until!(!fleet.server().data_servers.is_up(DataServerId(3), fleet.server().now_ms()));
    fleet.join(4).await;
    until!(fleet.status().rebalance.waits == "a data server is down");
    let refused = fleet.admin().rebalance(false).await.unwrap();
    assert!(!refused.done && refused.words.contains("a data server is down"), "{}", refused.words);
    // Long enough for a round that would begin.
    for _ in 0..4 {
        fleet.server().env.clock.sleep_ms(500).await;
    }
    assert_eq!((fleet.rebuilt().len(), images(&fleet).len()), (0, 3));
}

/// While sealing is off whole extents move.
#[tokio::test]
async fn copies_of_extents_move_where_nothing_is_sealed() {
    let mut fleet = Fleet::start(2, |settings| {
        settings.data_server_lease_ms = 500;
        settings.rebalance_calm_ms = 300;
    })
    .await;
    fleet.extents_hold(0, u32::try_from(PIECE_BYTES).unwrap());
    // Each reports the bytes that the log assigns to it.
    let weigh = |fleet: &Fleet| {
        let records = records(fleet);
        for id in 1..=3 {
            let kept = records.iter().filter(|record| record.servers().any(|one| one.0 == id)).count();
            fleet.fills(id, CAPACITY_BYTES, kept as u64 * PIECE_BYTES);
        }
    };
    let [first, _] = fleet.file([1, 2]).await;
    for index in 2..24 {
        let allocate = Allocate {
            extent: ExtentId { index, ..first },
            home: DataServerId(index % 2 + 1),
            backups: vec![],
        };
        fleet.server().propose(Command::Allocate(allocate)).await.unwrap();
    }
    weigh(&fleet);
    fleet.join(3).await;
    let homes = |fleet: &Fleet| {
        let mut counts = BTreeMap::new();
        records(fleet).iter().for_each(|record| *counts.entry(record.home.0).or_insert(0_usize) += 1);
        counts
    };
    until!({
        fill(&fleet).await;
        weigh(&fleet);
        homes(&fleet).get(&3).is_some_and(|count| 7 <= *count) && !fleet.status().rebalance.moves
    });
    let after = homes(&fleet);
    assert!((7..=8).contains(&after[&3]) && after[&1].abs_diff(after[&2]) <= 2, "{after:?}");
    assert!(records(&fleet).iter().all(|record| record.backups.is_empty()));
    assert!(fleet.rebuilt().is_empty());
}
