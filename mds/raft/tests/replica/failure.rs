//! An engine of one shard stops by itself: its node reports it, its other shards continue, and
//! other nodes take over what it led.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use env::Clock;
use env::memory::MemoryDisk;
use env::os::OsClock;
use mds_namespace::store::mem::MemStore;
use mds_namespace::store::{MetaStore, StoreError, Txn, View, Visit};
use mds_raft::{EngineStopped, NodeConfig, ProposeError, Shard};

use crate::many::{Cluster, SHARDS, formatted, leader_of, names};
use crate::scene::{create, env_in_memory, format, runtime};

/// How a store fails on writes.
#[derive(Default)]
pub(crate) struct Fault {
    now: Mutex<u8>,
    changed: Condvar,
    /// How often the store was cleared: once for each snapshot.
    emptied: AtomicU64,
    /// Existing views of the store.
    views: AtomicU64,
}

impl Fault {
    const ERROR: u8 = 1;
    const PANIC: u8 = 2;
    /// A cleared store stays empty until this fault is removed.
    pub(crate) const STAYS_EMPTY: u8 = 3;

    pub(crate) fn set(&self, fault: u8) {
        *self.now.lock().unwrap() = fault;
        self.changed.notify_all();
    }

    pub(crate) fn emptied(&self) -> u64 {
        self.emptied.load(Ordering::Relaxed)
    }

    pub(crate) fn views(&self) -> u64 {
        self.views.load(Ordering::Relaxed)
    }

    fn now(&self) -> u8 {
        *self.now.lock().unwrap()
    }
}

/// A counted view.
struct Counted {
    view: Box<dyn View + Send>,
    fault: Arc<Fault>,
}

impl View for Counted {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.view.read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.view.range(from, to, visit)
    }

    fn waits(&self) -> bool {
        self.view.waits()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.fault.views.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A store that fails on request.
pub(crate) struct FaultyStore {
    pub(crate) store: Arc<MemStore>,
    pub(crate) fault: Arc<Fault>,
}

impl MetaStore for FaultyStore {
    fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        let view = self.store.view()?;
        self.fault.views.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Counted { view, fault: Arc::clone(&self.fault) }))
    }

    fn begin(&self) -> Result<Box<dyn Txn + '_>, StoreError> {
        match self.fault.now() {
            Fault::ERROR => Err(StoreError::Corrupt("as it was told to be")),
            Fault::PANIC => panic!("as it was told to"),
            _ => self.store.begin(),
        }
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        self.store.checkpoint()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.store.clear()?;
        self.fault.emptied.fetch_add(1, Ordering::Relaxed);
        let Fault { now, changed, .. } = &*self.fault;
        // So long that a test that waits for it has failed, and ends.
        let patience = Duration::from_secs(90);
        let stays = |now: &mut u8| *now == Fault::STAYS_EMPTY;
        drop(changed.wait_timeout_while(now.lock().unwrap(), patience, stays).unwrap());
        Ok(())
    }

    fn bytes_on_disk(&self) -> u64 {
        self.store.bytes_on_disk()
    }

    fn waits(&self) -> bool {
        self.fault.now() == Fault::STAYS_EMPTY || self.store.waits()
    }
}

/// The failure that a node reports within the time limit of a test.
fn failed(cluster: &Cluster, at: usize) -> EngineStopped {
    let node = cluster.node(at);
    cluster.wait_until("the node notices", |_| node.failure().is_some());
    cluster.on(at, node.failed())
}

/// On one node a shard's store fails, with an error or a panic. The node names the shard, its other
/// shards still get checkpoints and log cuts, and when it stops it hands over what it leads.
#[test]
fn one_engine_that_stops_ends_its_node_and_no_other_shard() {
    for (fault, said) in [(Fault::ERROR, "as it was told to be"), (Fault::PANIC, "it panicked")] {
        let mut cluster = formatted();
        let (shard, other) = (3, 4);
        let at = leader_of(&cluster, shard);
        assert_eq!(cluster.node(at).failure(), None);
        cluster.fault(at, shard).set(fault);
        let replica = cluster.node(at).shard(shard).unwrap().clone();
        let unknown = cluster.on(at, async { replica.propose(None, create("lost")).await });
        assert!(matches!(unknown, Err(ProposeError::Stopped(_) | ProposeError::Timeout)), "{unknown:?}");
        let stopped = failed(&cluster, at);
        assert_eq!(stopped.shard, shard);
        assert!(stopped.error.contains(said), "{stopped}");
        // The other shards continue there.
        let cut = |cluster: &Cluster| cluster.node(at).shard(other).unwrap().status().cut_index;
        let before = cut(&cluster);
        for name in (0..30).map(|number| format!("more-{number}")) {
            cluster.propose(other, &create(&name));
        }
        cluster.wait_until("another shard's log is cut", |cluster| before + 10 < cut(cluster));
        let clock = OsClock::new();
        let began_ms = clock.monotonic_ms();
        cluster.stop(at);
        assert!(clock.monotonic_ms() < began_ms + 5_000, "it is stopped at once");
        cluster.create(&names("after"));
        // Of the failed shard the node keeps what it had, and gets the rest.
        cluster.fault(at, shard).set(0);
        cluster.start(at);
        cluster.assert_alike(&names("after"));
    }
}

/// The log of a node fails, and so do all its engines, also shard 0's, which then has another
/// leader.
#[test]
fn a_log_that_fails_ends_its_node() {
    let mut cluster = formatted();
    let at = leader_of(&cluster, 0);
    cluster.disk(at).fail_sync(0, ErrorKind::Other);
    let replica = cluster.node(at).shard(0).unwrap().clone();
    let outcome = cluster.on(at, async { replica.propose(None, create("lost")).await });
    // The two others may have it on stable storage before this node's log has failed: then it is
    // done.
    assert!(matches!(outcome, Ok(mds_state::Outcome::Entry(_)) | Err(_)), "{outcome:?}");
    failed(&cluster, at);
    assert!(!cluster.node(at).shard(0).unwrap().is_leader());
    cluster.stop(at);
    for shard in 0..SHARDS {
        assert_ne!(leader_of(&cluster, shard), at);
    }
    cluster.create(&names("after"));
}

/// A node that is alone reports a failure as well; a stopped node has not failed.
#[test]
fn a_node_alone_reports_its_failed_engine() {
    let (store, fault) = (Arc::new(MemStore::new()), Arc::<Fault>::default());
    runtime().block_on(async {
        let start = async |disk: &MemoryDisk| {
            let store = FaultyStore { store: Arc::clone(&store), fault: Arc::clone(&fault) };
            let config = NodeConfig::single([9; 16]);
            Shard::start_on(env_in_memory(disk), vec![Arc::new(store)], Path::new("/shard"), config).await
        };
        let disk = MemoryDisk::new();
        let shard = start(&disk).await.unwrap();
        shard.propose(None, format()).await.unwrap();
        shard.stop().await;
        assert_eq!(shard.node().unwrap().failure(), None);
        drop(shard);
        let shard = start(&disk).await.unwrap();
        fault.set(Fault::PANIC);
        let unknown = shard.propose(None, create("lost")).await;
        assert!(unknown.is_err(), "{unknown:?}");
        let stopped = shard.node().unwrap().failed().await;
        assert_eq!(stopped, EngineStopped { shard: 0, error: "it panicked".to_owned() });
        shard.stop().await;
    });
}
