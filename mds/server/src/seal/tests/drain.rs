//! Servers are drained while they run.
//!
//! Spec: docs/protocol/admin.md §3, §4.

use std::time::Duration;

use layout::{DataServerId, ExtentId};
use mds_namespace::WorkItem;
use wire_nfs::control::copies::Word;
use wire_nfs::control::{Procedure, Refusal};

use super::fleet::{self, Fleet, shown};
use super::replicated::record;

fn left(fleet: &Fleet, id: u32) -> (Option<u64>, Option<u64>) {
    let line = fleet.listed().into_iter().find(|line| line.id == id).unwrap();
    assert!(line.draining);
    (line.extents_left, line.images_left)
}

/// Drains a server, and has its extent filled elsewhere; returns the next home.
async fn filled_elsewhere(fleet: &Fleet, id: u32, extent: ExtentId) -> u32 {
    assert!(fleet.admin().drain(id, true).await.unwrap().done);
    until!(record(fleet, extent).backups.len() == 1);
    let backup = record(fleet, extent).backups[0];
    assert!(backup.filling);
    until!(fleet.told(extent).iter().any(|(by, what, _)| (*by, *what) == (id, Procedure::Keep)));
    fleet.say(id, extent, Word::Filled, (backup.server.0, backup.since.0)).await.unwrap();
    backup.server.0
}

#[tokio::test]
async fn a_server_becomes_empty_while_it_runs() {
    let fleet = Fleet::start(3, |settings| settings.data_server_lease_ms = 500).await;
    let [one, two] = fleet.file([1, 2]).await;
    let next = filled_elsewhere(&fleet, 1, one).await;
    until!(record(&fleet, one).home.0 == next && record(&fleet, one).pending_work.is_none());
    let after = record(&fleet, one);
    assert!(after.backups.is_empty());
    assert!(
        fleet.server().data_servers.is_up(DataServerId(1), fleet.server().now_ms()),
        "it never went away"
    );
    let told = fleet.told(one);
    let at = |by: u32, what: Procedure| told.iter().position(|one| *one == (by, what, after.epoch.0));
    let (fence, drop) = (at(next, Procedure::Fence).unwrap(), at(1, Procedure::Drop).unwrap());
    assert!(fence < drop, "the old home forgets once no client uses it any more: {told:?}");
    assert!(at(next, Procedure::Keep).is_none_or(|keep| drop < keep), "no two homes at a time: {told:?}");
    assert_eq!(fleet.say(1, one, Word::Ask, (0, 0)).await, Err(Refusal::NotHome));
    until!(left(&fleet, 1) == (Some(0), Some(0)));
    assert_eq!(record(&fleet, two).home.0, 2, "it was not asked to move");
    // It gets no new data.
    let places = fleet.server().data_servers.places(fleet.server().now_ms());
    assert!(places.iter().all(|place| place.fit == (place.id.0 != 1)));
    for index in 0..8 {
        let extent = ExtentId { ino: 99, index };
        let (home, backups) =
            fleet.server().data_servers.place(extent, None, 2, fleet.server().now_ms()).unwrap();
        assert!(home.0 != 1 && !backups.contains(&DataServerId(1)));
    }
    assert!(fleet.admin().drain(1, false).await.unwrap().done);
    assert!(fleet.server().data_servers.places(fleet.server().now_ms()).iter().all(|place| place.fit));
}

#[tokio::test]
async fn no_handle_of_the_next_home_before_the_old_one_gave_way() {
    let fleet = Fleet::start(2, |settings| settings.data_server_lease_ms = 500).await;
    let [one, _] = fleet.file([1, 2]).await;
    fleet.keep_busy(1, true);
    let next = filled_elsewhere(&fleet, 1, one).await;
    until!(record(&fleet, one).home.0 == next);
    let dropped =
        || fleet.told(one).iter().filter(|(by, what, _)| (*by, *what) == (1, Procedure::Drop)).count();
    until!(2 < dropped());
    let waiting = record(&fleet, one);
    assert!(waiting.pending_work.is_some());
    // LAYOUTGET and I/O in band use this.
    let served = crate::copies::served(fleet.server(), one);
    assert!(tokio::time::timeout(Duration::from_millis(300), served).await.is_err(), "they wait");
    assert!(fleet.told(one).iter().all(|(by, what, _)| (*by, *what) != (next, Procedure::Keep)));
    fleet.keep_busy(1, false);
    until!(record(&fleet, one).pending_work.is_none());
    let served = crate::copies::served(fleet.server(), one).await.unwrap().unwrap();
    assert_eq!((served.home.0, served.epoch), (next, waiting.epoch));
}

/// Its lease is waited for, and nothing else.
#[tokio::test]
async fn a_home_that_dies_while_it_hands_over_is_not_waited_for() {
    let fleet = Fleet::start(2, |settings| settings.data_server_lease_ms = 500).await;
    let [one, _] = fleet.file([1, 2]).await;
    fleet.keep_busy(1, true);
    let next = filled_elsewhere(&fleet, 1, one).await;
    until!(record(&fleet, one).home.0 == next);
    assert!(record(&fleet, one).pending_work.is_some());
    fleet.silence(1);
    until!(record(&fleet, one).pending_work.is_none());
    assert!(!fleet.server().data_servers.is_up(DataServerId(1), fleet.server().now_ms()));
    let work = fleet.server().view().unwrap().work(9).unwrap();
    let dropped = |item: &WorkItem| matches!(item, WorkItem::Drop { home: DataServerId(1), .. });
    assert!(work.iter().any(|(_, item)| dropped(item)), "before it gets a lease: {work:?}");
}

#[tokio::test]
async fn images_of_a_draining_server_are_recreated_elsewhere() {
    let fleet = Fleet::start(4, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
        settings.data_server_lease_ms = 500;
    })
    .await;
    let [one, two] = fleet.file([1, 2]).await;
    fleet.word(1, shown(7, one, 5)).await;
    fleet.word(2, shown(8, two, 5)).await;
    until!(super::groups(&fleet).len() == 1);
    let homes = || super::groups(&fleet)[0].homes().to_vec();
    let parity = homes()[2].unwrap().0;
    let spare = (3..=4).find(|id| *id != parity).unwrap();
    assert!(fleet.admin().drain(parity, true).await.unwrap().done);
    until!(homes()[2] == Some(DataServerId(spare)));
    assert_eq!(fleet.rebuilt(), [(spare, 2)]);
    until!(left(&fleet, parity) == (Some(0), Some(0)));
    let gone = fleet::parity(fleet.last_parity());
    assert_eq!(fleet.word(parity, gone).await, wire_nfs::control::images::ImageWord::Delete);
    assert_eq!(fleet.word(spare, gone).await, wire_nfs::control::images::ImageWord::Keep);
}
