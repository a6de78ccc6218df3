//! The number of shards is fixed when a cluster is made. Nodes started with different numbers begin
//! nothing, and start again with the right one.

use std::sync::Arc;

use mds_raft::{Node, NodeConfig, StartError};
use mds_state::Command;
use mds_state::command::Outcome;
use mds_state::command::admin::FixShards;

use crate::many::{Cluster, MEMBERS, SHARDS, formatted, names};
use crate::scene::{create, env_on, format, has, runtime};

/// Longer than nodes take to query each other and to begin.
const BEGIN_MS: u64 = 1_000;

/// Too few, too many, and the right number.
#[test]
fn founders_with_different_numbers_of_shards_begin_nothing() {
    let mut cluster = Cluster::asleep();
    for (at, shards) in [SHARDS, SHARDS / 2, 2 * SHARDS].into_iter().enumerate() {
        cluster.set_shards(at, shards);
        cluster.start(at);
    }
    cluster.rest(BEGIN_MS);
    for at in 0..MEMBERS {
        let status = cluster.node(at).status();
        assert_eq!((status.takes_part, status.leaderless), (false, status.shards), "node {at}");
    }
    for at in 0..MEMBERS {
        cluster.kill(at);
        cluster.set_shards(at, SHARDS);
        cluster.start(at);
    }
    cluster.format();
    cluster.create(&names("begun"));
    cluster.assert_alike(&names("begun"));
}

/// A node without its disk is started with too many shards: it has shards that no other node has,
/// and does not begin them.
#[test]
fn a_node_with_too_many_shards_begins_none_in_a_cluster() {
    let mut cluster = formatted();
    let at = 2;
    cluster.lose_disk_and_start_with(at, 2 * SHARDS);
    cluster.rest(BEGIN_MS);
    assert_eq!(cluster.node(at).status().leaderless, 2 * SHARDS as u64);
    cluster.kill(at);
    cluster.set_shards(at, SHARDS);
    cluster.start(at);
    cluster.readmit(at);
    cluster.create(&names("after"));
    cluster.assert_alike(&names("after"));
}

/// The number of shards is fixed when a cluster is made.
#[test]
fn number_of_shards_is_fixed() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let start = |shards: usize| {
        let disk = Arc::new(env::os::BlockingDisk::start("test").unwrap());
        let config = NodeConfig { shards, hibernate_ms: 50, ..NodeConfig::single([1; 16]) };
        runtime.block_on(Node::start(env_on(disk), dir.path(), config))
    };
    let node = start(4).unwrap();
    runtime.block_on(async {
        let fix = Command::FixShards(FixShards { shards: 4 });
        let first = node.shard(0).unwrap();
        assert_eq!(first.propose(None, fix).await, Ok(Outcome::Done));
        for shard in node.shards() {
            assert_eq!(shard.propose(None, format()).await, Ok(Outcome::Done));
        }
        let other = Command::FixShards(FixShards { shards: 5 });
        assert!(matches!(first.propose(None, other).await, Ok(Outcome::Refused(_))));
        node.shard(3).unwrap().propose(None, create("kept")).await.unwrap();
        let other = node.shard(1).unwrap().propose(None, format()).await;
        assert!(matches!(other, Ok(Outcome::Done | Outcome::Refused(_))), "{other:?}");
        let status = node.status();
        assert_eq!((status.shards, status.led, status.leaderless), (4, 4, 0));
        node.stop().await;
    });
    drop(node);
    for shards in [1, 3, 5] {
        let refused = start(shards).err().unwrap();
        assert!(matches!(refused, StartError::Shards { made: 4, .. }), "{refused}");
        assert!(!dir.path().join("shard-0004").exists());
    }
    let node = start(4).unwrap();
    assert!(has(node.shard(3).unwrap(), "kept"));
    assert!(!has(node.shard(2).unwrap(), "kept"));
    runtime.block_on(node.stop());
}
