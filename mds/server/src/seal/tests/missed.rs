//! Work that a data server missed while it was unreachable.

use futures_util::{StreamExt, stream};
use layout::{DataServerId, ExtentId};
use mds_namespace::{Caller, ROOT_INO};
use mds_state::Command;
use mds_state::command::data::Allocate;
use mds_state::command::namespace::Remove;
use mds_state::command::seal::ThawExtent;

use super::fleet::Fleet;
use crate::client_end;
use crate::limits::SETTLE_PART_MAX;

/// More work than one command marks as done: the server gets all of it, and then has its lease
/// again.
/// Spec: docs/protocol/control.md §3.
#[tokio::test]
async fn a_server_that_missed_much_comes_back() {
    let extents = u32::try_from(SETTLE_PART_MAX).unwrap() + 100;
    let fleet = Fleet::start(2, |_| ()).await;
    let file = fleet.opened("long", &[1]).await;
    let allocated = (1..extents).map(|index| {
        let extent = ExtentId { ino: file.ino, index };
        let allocate = Allocate { extent, home: DataServerId(1), backups: vec![] };
        let server = fleet.server();
        async move {
            server.propose(Command::Allocate(allocate)).await?;
            // Otherwise the extent would move to the other server.
            let promised = ThawExtent { extent, server: DataServerId(1), sequence: 0 };
            server.propose(Command::ThawExtent(promised)).await
        }
    });
    let allocated: Vec<_> = stream::iter(allocated).buffer_unordered(256).collect().await;
    assert!(allocated.iter().all(Result::is_ok));
    fleet.silence(1);
    let is_up = || fleet.server().data_servers.is_up(DataServerId(1), fleet.server().now_ms());
    until!(!is_up());
    let remove = Remove { caller: Caller::default(), directory: ROOT_INO, name: b"filelong".to_vec() };
    fleet.server().propose(Command::Remove(remove)).await.unwrap();
    client_end::expire(fleet.server(), file.client).await;
    let left = || fleet.server().view().unwrap().work(usize::MAX).unwrap().len();
    assert_eq!(left(), extents as usize);
    until!(fleet.come_back(1).await.is_ok());
    assert_eq!(left(), 0, "it has its lease once all work is done");
    until!(is_up());
}
