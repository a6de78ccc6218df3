//! A data server comes back with less than it had acknowledged.

use layout::DataServerId;
use mds_state::record::StoreMark;
use wire_nfs::control::Procedure;
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Renewed, Usage};
use wire_nfs::control::register::Registered;

use super::fleet::{Fleet, uuid};
use super::replicated::{record, replicated};
use crate::report::{Health, status};

fn end(segment: u64, offset: u64) -> JournalEnd {
    JournalEnd { segment, offset }
}

async fn beat(fleet: &Fleet, id: u32, durable: JournalEnd) {
    let usage = Usage { capacity_bytes: 1 << 30, ..Usage::default() };
    let beat = Heartbeat { durable, ..super::fleet::beat(id, usage) };
    fleet.call_control::<Renewed>(id, Procedure::Heartbeat, &beat).await.unwrap();
}

async fn register(fleet: &Fleet, id: u32, found: JournalEnd, is_loss_accepted: bool) -> Registered {
    let mut register = fleet.portrait(id);
    (register.found, register.is_loss_accepted) = (found, is_loss_accepted);
    fleet.call_control(id, Procedure::Register, &register).await.unwrap()
}

fn mark(fleet: &Fleet, id: u32) -> Option<(u64, u64)> {
    let mark = fleet.server().view().unwrap().store_mark(&uuid(id)).unwrap();
    mark.map(|StoreMark { segment, offset }| (segment, offset))
}

/// It gets no lease however often it registers, its replica is primary, and `ds list` and health
/// show it; with the loss accepted it is back.
#[tokio::test]
async fn a_store_behind_its_mark_serves_nothing() {
    let fleet = Fleet::start(2, |settings| {
        settings.data_server_lease_ms = 500;
        settings.hot_copies = 2;
    })
    .await;
    let id = replicated(&fleet).await;
    beat(&fleet, 1, end(5, 8192)).await;
    until!(mark(&fleet, 1) == Some((5, 8192)));
    // A late report moves no mark back.
    beat(&fleet, 1, end(5, 4096)).await;
    fleet.silence(1);
    for _ in 0..3 {
        let registered = register(&fleet, 1, end(3, 4096), false).await;
        assert_eq!((registered.lease_ms, registered.behind), (0, Some(end(5, 8192))));
        assert!(!fleet.server().data_servers.is_up(DataServerId(1), fleet.server().now_ms()));
    }
    until!(record(&fleet, id).home == DataServerId(2));
    assert_eq!(register(&fleet, 1, end(3, 4096), false).await.lease_ms, 0, "nor once it was replaced");
    assert_eq!(mark(&fleet, 1), Some((5, 8192)));
    let line = || fleet.listed().into_iter().find(|line| line.id == 1).unwrap();
    assert_eq!(line().behind, "its journal ends at 3:4096, and went to 5:8192");
    assert!(!line().up);
    let health = Health::of(&status(fleet.server()));
    assert!(health.problems.iter().any(|one| one.kind == "data_servers_behind" && one.count == 1));
    until!(register(&fleet, 1, end(3, 4096), true).await.lease_ms != 0);
    assert_eq!(mark(&fleet, 1), Some((3, 4096)));
    assert_eq!((line().behind.as_str(), line().up), ("", true));
}

/// A crash takes no store behind its mark: recovery finds at least that, and it is recorded before
/// the lease is granted.
#[tokio::test]
async fn a_store_that_lacks_nothing_is_judged_and_remembered() {
    let fleet = Fleet::start(1, |settings| settings.data_server_lease_ms = 500).await;
    beat(&fleet, 1, end(2, 8192)).await;
    until!(mark(&fleet, 1) == Some((2, 8192)));
    fleet.silence(1);
    until!(register(&fleet, 1, end(2, 8192), false).await.lease_ms != 0);
    let registered = register(&fleet, 1, end(2, 12288), false).await;
    assert_eq!((registered.behind, mark(&fleet, 1)), (None, Some((2, 12288))));
}

/// What it reported a moment before its end counts, though the log did not have it yet.
/// Origin: `hostile`, `lost_store` and `old_store_at_once` with a release build.
#[tokio::test]
async fn what_a_store_reported_last_counts_at_once() {
    let fleet = Fleet::start(1, |settings| settings.data_server_lease_ms = 500).await;
    beat(&fleet, 1, end(2, 8192)).await;
    for _ in 0..2 {
        let registered = register(&fleet, 1, JournalEnd::default(), false).await;
        assert_eq!((registered.lease_ms, registered.behind), (0, Some(end(2, 8192))));
    }
    assert_eq!(mark(&fleet, 1), Some((2, 8192)), "the log remembers it from then on");
}
