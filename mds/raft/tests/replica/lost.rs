//! A node that has lost a part of its state starts with the rest only if it still knows its
//! promises.

use std::path::Path;
use std::sync::Arc;

use env::Disk;
use env::memory::MemoryDisk;
use mds_namespace::store::mem::MemStore;
use mds_raft::{NodeConfig, Shard};

use crate::many::{Cluster, MEMBERS, formatted, names};
use crate::scene::{create, env_in_memory, format, has, runtime};

/// The directory of a node's log is gone, or on a disk that is not mounted: the node refuses to
/// start, until its directory is empty and it is readmitted.
#[test]
fn a_node_whose_log_is_gone_does_not_start() {
    let mut cluster = formatted();
    cluster.create(&names("before"));
    cluster.kill(1);
    let (disk, log) = (cluster.disk(1).clone(), Path::new("/node/log"));
    runtime().block_on(async {
        for name in disk.list(log).await.unwrap() {
            disk.remove(&log.join(name)).await.unwrap();
        }
        disk.sync_dir(log).await.unwrap();
    });
    for _ in 0..2 {
        let refused = cluster.try_start(1).unwrap_err().to_string();
        assert!(refused.contains("/node/log has nothing of it"), "{refused}");
        assert!(refused.contains("shoal admin mds readmit 2"), "{refused}");
    }
    cluster.create(&names("without"));
    cluster.empty(1);
    cluster.start(1);
    cluster.readmit(1);
    cluster.assert_alike(&[names("before"), names("without")].concat());
}

/// A new node has a name, and nothing in its log yet.
#[test]
fn a_node_that_has_promised_nothing_starts_again() {
    let mut cluster = Cluster::asleep();
    for _ in 0..3 {
        cluster.start(0);
        cluster.kill(0);
    }
    (0..MEMBERS).for_each(|at| cluster.start(at));
    cluster.format();
    cluster.create(&names("begun"));
    cluster.assert_alike(&names("begun"));
}

/// Without the stores the log has everything, unless it was cut: then the node refuses to start.
#[test]
fn a_node_without_its_stores_needs_its_whole_log() {
    let disk = MemoryDisk::new();
    runtime().block_on(async {
        let start = async || {
            let store = Arc::new(MemStore::new());
            Shard::start_on(
                env_in_memory(&disk),
                vec![store],
                Path::new("/shard"),
                NodeConfig::single([9; 16]),
            )
            .await
        };
        let shard = start().await.unwrap();
        shard.propose(None, format()).await.unwrap();
        shard.propose(None, create("kept")).await.unwrap();
        // As a process that dies: a stop would cut the log.
        drop(shard);
        let shard = start().await.unwrap();
        assert!(has(&shard, "kept"));
    });
    let mut cluster = formatted();
    for name in (0..40).map(|number| format!("many-{number}")) {
        cluster.propose(1, &create(&name));
    }
    let cut = |cluster: &Cluster| cluster.node(1).shard(1).unwrap().status().cut_index;
    cluster.wait_until("the log is cut", |cluster| 0 < cut(cluster));
    // Nothing reports when the cut is on disk; before, the log is complete.
    cluster.rest(300);
    cluster.kill(1);
    cluster.lose_stores(1);
    let refused = cluster.try_start(1).unwrap_err().to_string();
    assert!(refused.contains("is not whole") && refused.contains("mds readmit"), "{refused}");
}

/// A node that is alone would start from its store without reporting what is missing.
#[test]
fn a_node_that_is_alone_and_lost_its_log_starts_only_if_that_is_accepted() {
    let (disk, store) = (MemoryDisk::new(), Arc::new(MemStore::new()));
    runtime().block_on(async {
        let start = async |accept_log_loss| {
            let config = NodeConfig { accept_log_loss, ..NodeConfig::single([9; 16]) };
            Shard::start_on(env_in_memory(&disk), vec![store.clone()], Path::new("/shard"), config).await
        };
        let shard = start(None).await.unwrap();
        shard.propose(None, format()).await.unwrap();
        shard.propose(None, create("kept")).await.unwrap();
        shard.stop().await;
        drop(shard);
        let log = Path::new("/shard/log");
        for name in disk.list(log).await.unwrap() {
            disk.remove(&log.join(name)).await.unwrap();
        }
        for accepted in [None, Some([2; 16])] {
            let refused = start(accepted).await.err().expect("it is refused").to_string();
            assert!(refused.contains("/shard/log ends at entry 0, but shard 0 had entry"), "{refused}");
            assert!(refused.contains("is missing"), "{refused}");
            assert!(refused.ends_with("--accept-log-loss 01010101010101010101010101010101"), "{refused}");
        }
        let shard = start(Some([1; 16])).await.unwrap();
        assert!(has(&shard, "kept"));
        shard.propose(None, create("after")).await.unwrap();
        shard.stop().await;
        drop(shard);
        let shard = start(None).await.unwrap();
        assert!(has(&shard, "after"));
    });
}
