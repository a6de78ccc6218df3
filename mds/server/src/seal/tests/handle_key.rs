//! The key of data-server handles is replaced.
//!
//! Spec: docs/formats/ds_handle.md; docs/protocol/admin.md §10.

use layout::DataServerId;
use wire_nfs::control::Procedure;
use wire_nfs::control::admin::{HandleKeyRotation, RotationStage};
use wire_nfs::control::heartbeat::{Renewed, Usage};

use super::fleet::{Fleet, beat};
use crate::report::status;

async fn rotation(fleet: &Fleet) -> HandleKeyRotation {
    fleet.admin().rotate_handle_key(None).await.unwrap()
}

/// The version and numbers of the keys that a heartbeat with another version brings.
async fn told(fleet: &Fleet, id: u32, has: u64) -> Option<(u64, Vec<u32>)> {
    let mut beat = beat(id, Usage { capacity_bytes: 1 << 30, ..Usage::default() });
    beat.keys = has;
    let renewed: Renewed = fleet.call_control(id, Procedure::Heartbeat, &beat).await.unwrap();
    renewed.keys.map(|keys| (keys.version, keys.keys.iter().map(|key| key.number).collect()))
}

/// The new key is used once all data servers with a lease have it, not before; a dead server is not
/// waited for.
#[tokio::test]
async fn a_key_is_used_when_every_data_server_has_it() {
    let fleet = Fleet::start(3, |settings| settings.data_server_lease_ms = 500).await;
    let at = |stage, version, key, servers| HandleKeyRotation { stage, version, key, servers };
    until!(rotation(&fleet).await == at(RotationStage::None, 1, 0, 0));
    let admin = fleet.admin();
    let early = admin.rotate_handle_key(Some(7)).await.unwrap();
    assert_eq!(early, at(RotationStage::None, 1, 0, 0), "another version");
    let begun = admin.rotate_handle_key(Some(1)).await.unwrap();
    assert_eq!(begun, at(RotationStage::Spreading, 2, 0, 3));
    assert_eq!(admin.rotate_handle_key(Some(1)).await.unwrap(), begun, "the reply was lost");
    assert_eq!(admin.rotate_handle_key(Some(2)).await.unwrap(), begun, "one at a time");
    assert_eq!(told(&fleet, 1, 1).await, Some((2, vec![0, 1])));
    assert_eq!(told(&fleet, 1, 2).await, None);
    fleet.learn_keys(1, 2);
    fleet.learn_keys(2, 2);
    until!(rotation(&fleet).await.servers == 1);
    // Longer than the driver's interval.
    fleet.server().env.clock.sleep_ms(2 * crate::limits::HANDLE_KEY_LOOK_MS).await;
    assert_eq!(rotation(&fleet).await, at(RotationStage::Spreading, 2, 0, 1));
    assert_eq!(fleet.server().handle_keys().used.number(), 0);
    let shown = status(fleet.server()).handle_key;
    assert_eq!((shown.number, shown.stage.as_str(), shown.servers_without), (0, "spreading", 1));
    fleet.silence(3);
    until!(rotation(&fleet).await.stage == RotationStage::None);
    assert_eq!(rotation(&fleet).await, at(RotationStage::None, 3, 1, 2));
    let second = fleet.server().handle_keys().used.clone();
    assert_eq!(second.number(), 1);
    assert_eq!(told(&fleet, 1, 2).await, Some((3, vec![1])), "the first key is no longer valid");
    // And again; a request with an old version replaces nothing.
    fleet.learn_keys(1, 3);
    fleet.learn_keys(2, 3);
    until!(rotation(&fleet).await.servers == 0);
    assert_eq!(admin.rotate_handle_key(Some(1)).await.unwrap(), at(RotationStage::None, 3, 1, 0));
    assert_eq!(admin.rotate_handle_key(Some(3)).await.unwrap().version, 4);
    fleet.learn_keys(1, 4);
    fleet.learn_keys(2, 4);
    until!(rotation(&fleet).await.version == 5);
    assert_eq!(fleet.server().handle_keys().used.number(), 2);
    assert_ne!(fleet.server().handle_keys().used.as_bytes(), second.as_bytes());
    assert!(!fleet.server().data_servers.is_up(DataServerId(3), fleet.server().now_ms()));
}

/// The keys of data servers cannot make a metadata server's handle.
#[tokio::test]
async fn data_servers_do_not_learn_the_key_of_the_file_system() {
    let fleet = Fleet::start(1, |_| {}).await;
    let view = fleet.server().view().unwrap();
    let superblock = mds_namespace::superblock::superblock(view.namespace()).unwrap();
    assert_ne!(fleet.server().handle_keys().used.as_bytes(), &superblock.handle_key);
}
