//! Extents whose servers died before any of their bytes were promised.

use layout::ExtentId;
use wire_nfs::control::{Procedure, Refusal};

use super::fleet::Fleet;
use super::replicated::record;
use crate::copies;

/// A client got an extent on a server that was dead already, and waits less than an application
/// does: the extent moves to another server, which has cut off any bytes. Promised bytes stay where
/// they are.
/// Spec: docs/protocol/seal.md §12.
#[tokio::test]
async fn an_extent_without_promises_moves_elsewhere() {
    let fleet = Fleet::start(3, |settings| settings.data_server_lease_ms = 500).await;
    let file = fleet.opened("", &[1]).await;
    let [promised, fresh] = [0, 1].map(|index| ExtentId { ino: file.ino, index });
    fleet.allocate(fresh, 1).await;
    assert!(record(&fleet, fresh).unpromised && !record(&fleet, promised).unpromised);
    fleet.silence(1);
    // As LAYOUTGET does.
    until!(copies::served(fleet.server(), fresh).await.unwrap().unwrap().home.0 != 1);
    let served = copies::served(fleet.server(), fresh).await.unwrap().unwrap();
    assert!(served.unpromised && served.pending_work.is_none());
    let on = served.home.0;
    assert!(fleet.told(fresh).contains(&(on, Procedure::Cut, served.epoch.0)), "{:?}", fleet.told(fresh));
    assert_eq!(record(&fleet, promised).home.0, 1, "it may hold what is nowhere else");
    // A late home promises nothing.
    assert_eq!(fleet.promise(1, fresh).await, Err(Refusal::NotHome));
    assert!(record(&fleet, fresh).unpromised);
    fleet.promise(on, fresh).await.unwrap();
    fleet.promise(on, fresh).await.unwrap();
    assert!(!record(&fleet, fresh).unpromised);
    // Now the extent waits as well when that server dies.
    fleet.silence(on);
    let third = ExtentId { index: 2, ..fresh };
    fleet.allocate(third, on).await;
    until!(record(&fleet, third).home.0 != on);
    assert_eq!(record(&fleet, fresh).home.0, on);
}
