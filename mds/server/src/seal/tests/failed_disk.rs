//! A data server reports that its disk failed.

use layout::DataServerId;
use wire_nfs::control::heartbeat::{Heartbeat, Renewed, Usage};
use wire_nfs::control::{Procedure, Refusal};

use super::fleet::{self, Fleet};
use super::replicated::{record, replicated};
use crate::report::{Health, status};

const REASON: &str = "Input/output error (os error 5)";

fn report(id: u32, instance: u64) -> Heartbeat {
    Heartbeat { instance, failure: REASON.to_owned(), ..fleet::beat(id, Usage::default()) }
}

/// Its replica becomes primary long before the lease ends, and the failure is shown until it serves
/// again.
#[tokio::test]
async fn replicas_take_over_from_a_failed_disk_at_once() {
    let fleet = Fleet::start(2, |settings| {
        settings.data_server_lease_ms = 600_000;
        settings.hot_copies = 2;
    })
    .await;
    let id = replicated(&fleet).await;
    let healthy = Heartbeat { failure: String::new(), ..report(1, 1) };
    assert!(fleet.call_control::<Renewed>(1, Procedure::Heartbeat, &healthy).await.unwrap().lease_ms != 0);
    // A report of an earlier start does not concern this one.
    let renewed: Renewed = fleet.call_control(1, Procedure::Heartbeat, &report(1, 77)).await.unwrap();
    assert_eq!(renewed.lease_ms, 0);
    // Nor does one with another server's store, one without an instance, or a late heartbeat of an
    // earlier start.
    let anothers = Heartbeat { uuid: fleet::uuid(2), ..report(1, 1) };
    let earlier = Heartbeat { failure: String::new(), ..report(1, 77) };
    for refused in [anothers, earlier] {
        let answer = fleet.call_control::<Renewed>(1, Procedure::Heartbeat, &refused).await;
        assert_eq!(answer.unwrap_err(), Refusal::RegisterAgain);
    }
    fleet.call_control::<Renewed>(1, Procedure::Heartbeat, &report(1, 0)).await.unwrap();
    assert_eq!(fleet.listed()[0].failure, "", "an earlier start's");
    let renewed: Renewed = fleet.call_control(1, Procedure::Heartbeat, &report(1, 1)).await.unwrap();
    assert_eq!(renewed.lease_ms, 0, "no lease");
    assert!(!fleet.server().data_servers.is_up(DataServerId(1), fleet.server().now_ms()));
    until!(record(&fleet, id).home == DataServerId(2));
    let line = |id| fleet.listed().into_iter().find(|line| line.id == id).unwrap();
    assert_eq!((line(1).failure.as_str(), line(1).up), (REASON, false));
    assert_eq!(line(2).failure, "");
    let health = Health::of(&status(fleet.server()));
    assert!(health.problems.iter().any(|one| one.kind == "data_servers_failed" && one.count == 1));
    // A heartbeat from before restores no lease.
    assert!(fleet.call_control::<Renewed>(1, Procedure::Heartbeat, &healthy).await.is_err());
    // A new start counts: the server serves once it has the work it missed.
    until!(fleet.come_back(1).await.is_ok());
    assert_eq!((line(1).failure.as_str(), line(1).up), ("", true));
}
