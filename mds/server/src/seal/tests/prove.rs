//! A backup takes the place of a home whose lease ran out, and has to show that it has what it is
//! to serve.
//!
//! Spec: docs/protocol/replicate.md §4.

use layout::{DataServerId, ExtentId};
use wire_nfs::control::copies::Word;
use wire_nfs::control::{Procedure, Refusal};

use super::fleet::Fleet;
use super::replicated::{record, replicated};

fn was_told(fleet: &Fleet, extent: ExtentId, id: u32, what: Procedure) -> bool {
    fleet.told(extent).iter().any(|(by, procedure, _)| (*by, *procedure) == (id, what))
}

async fn comes_back(fleet: &Fleet, id: u32) {
    for _ in 0..600 {
        if fleet.come_back(id).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it gets no lease");
}

#[tokio::test]
async fn the_home_before_forgets_when_the_next_one_has_shown_what_it_has() {
    let fleet = Fleet::start(2, |settings| settings.data_server_lease_ms = 500).await;
    let extent = replicated(&fleet).await;
    fleet.silence(1);
    until!(record(&fleet, extent).home.0 == 2 && record(&fleet, extent).pending_work.is_none());
    assert!(was_told(&fleet, extent, 2, Procedure::Prove));
    assert!(!was_told(&fleet, extent, 1, Procedure::Drop), "it has no lease");
    comes_back(&fleet, 1).await;
    assert!(was_told(&fleet, extent, 1, Procedure::Drop), "before it has one");
}

/// The disk of the one that is to be home refuses reads.
#[tokio::test]
async fn a_home_that_comes_back_takes_the_place_of_one_that_cannot_read() {
    let fleet = Fleet::start(2, |settings| settings.data_server_lease_ms = 500).await;
    let extent = replicated(&fleet).await;
    fleet.cannot_read(2, true);
    fleet.silence(1);
    until!(record(&fleet, extent).home.0 == 2);
    until!(was_told(&fleet, extent, 2, Procedure::Prove));
    assert!(record(&fleet, extent).pending_work.is_some(), "no handle is given out");
    assert_eq!(fleet.say(2, extent, Word::Ask, (0, 0)).await, Err(Refusal::Busy), "it tells backups nothing");
    comes_back(&fleet, 1).await;
    assert!(was_told(&fleet, extent, 1, Procedure::Fence), "what was given out before is refused");
    until!(record(&fleet, extent).home.0 == 1 && record(&fleet, extent).pending_work.is_none());
    assert!(was_told(&fleet, extent, 1, Procedure::Prove));
    assert!(!was_told(&fleet, extent, 1, Procedure::Drop));
    until!(was_told(&fleet, extent, 2, Procedure::Drop));
    assert!(
        fleet.told(extent).iter().all(|(_, what, _)| *what != Procedure::Keep),
        "nobody was filled by it"
    );
}

/// The one that is to be home lost its disk a moment before: its lease counted.
#[tokio::test]
async fn a_home_that_comes_back_takes_the_place_of_one_that_is_gone() {
    let fleet = Fleet::start(2, |settings| settings.data_server_lease_ms = 500).await;
    let extent = replicated(&fleet).await;
    fleet.cannot_read(2, true);
    fleet.silence(1);
    until!(record(&fleet, extent).home.0 == 2);
    fleet.silence(2);
    let server = fleet.server();
    until!(!server.data_servers.is_up(DataServerId(2), server.now_ms()));
    comes_back(&fleet, 1).await;
    until!(record(&fleet, extent).home.0 == 1 && record(&fleet, extent).pending_work.is_none());
    fleet.cannot_read(2, false);
    assert!(!was_told(&fleet, extent, 2, Procedure::Drop));
    comes_back(&fleet, 2).await;
    assert!(was_told(&fleet, extent, 2, Procedure::Drop));
}

/// It may never come back: the next home serves what it has, and gets a backup.
#[tokio::test]
async fn a_home_that_is_gone_for_good_is_not_waited_for() {
    let fleet = Fleet::start(3, |settings| settings.data_server_lease_ms = 500).await;
    let extent = replicated(&fleet).await;
    fleet.cannot_read(2, true);
    fleet.silence(1);
    until!(record(&fleet, extent).home.0 == 2);
    until!(was_told(&fleet, extent, 2, Procedure::Prove));
    assert!(record(&fleet, extent).pending_work.is_some());
    until!(fleet.admin().remove(1).await.unwrap().done);
    until!(record(&fleet, extent).pending_work.is_none());
    assert_eq!(record(&fleet, extent).home.0, 2);
}
