//! One node's wall clock is set wrong: the node does not lead, and dates nothing. All in one
//! thread, in paused time that advances only when no task can run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use env::memory::net::MemoryNet;
use env::memory::{MemoryDisk, SeededEntropy};
use env::{BoxFuture, Clock, Env};
use mds_namespace::ROOT_INO;
use mds_namespace::store::mem::MemStore;
use mds_raft::{NodeConfig, Shard, Witness};
use tokio::time::{Instant, sleep};
use wire_nfs::control::ClusterKey;

use crate::scene::{create_all, format};

const MEMBERS: u64 = 3;
const START_NS: u64 = 1_800_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const WRONG_NS: u64 = 30_000 * 86_400 * SECOND_NS;

/// The runtime's clock, with a wall clock that is ahead of the true time.
struct Set {
    began: Instant,
    ahead_ns: Arc<AtomicU64>,
}

impl Clock for Set {
    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap()
    }

    fn wall_ns(&self) -> u64 {
        START_NS + self.monotonic_ns() + self.ahead_ns.load(Ordering::Relaxed)
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(sleep(Duration::from_millis(ms)))
    }
}

async fn start(id: u64, net: &MemoryNet, began: Instant, ahead_ns: Arc<AtomicU64>) -> Shard {
    let members = (1..=MEMBERS).map(|member| (member, format!("10.0.0.{member}:1"))).collect();
    let config = NodeConfig {
        id,
        members,
        cluster_keys: ClusterKey::new([4; 32]).into(),
        ..NodeConfig::single([1; 16])
    };
    let env = Env {
        clock: Arc::new(Set { began, ahead_ns }),
        entropy: Arc::new(SeededEntropy::new(id)),
        disk: Arc::new(MemoryDisk::new()),
        net: Arc::new(net.clone()),
    };
    Shard::start_on(env, vec![Arc::new(MemStore::new())], Path::new("/shard"), config).await.unwrap()
}

async fn leader(shards: &[Shard]) -> usize {
    loop {
        sleep(Duration::from_millis(1)).await;
        if let Some(leader) = shards.iter().position(Shard::is_leader) {
            return leader;
        }
    }
}

/// When the root was last changed, nanoseconds.
fn root_changed_ns(shard: &Shard) -> u64 {
    let mtime = shard.view().unwrap().inode(ROOT_INO).unwrap().mtime;
    u64::try_from(mtime.seconds).unwrap() * SECOND_NS + u64::from(mtime.nanos)
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_set_wrong_hands_over_and_dates_nothing() {
    let (net, began) = (MemoryNet::new(), Instant::now());
    let ahead: Vec<Arc<AtomicU64>> = (0..MEMBERS).map(|_| Arc::default()).collect();
    let starts = (1..=MEMBERS).zip(&ahead).map(|(id, ahead)| start(id, &net, began, Arc::clone(ahead)));
    let shards = futures_util::future::join_all(starts).await;
    let first = leader(&shards).await;
    shards[first].propose(None, format()).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    ahead[first].store(WRONG_NS, Ordering::Relaxed);
    create_all(&shards[first], &["at once".to_owned()]).await;
    let now_ns = || START_NS + u64::try_from(began.elapsed().as_nanos()).unwrap();
    assert!(root_changed_ns(&shards[first]).abs_diff(now_ns()) <= SECOND_NS);
    sleep(Duration::from_secs(10)).await;
    let second = leader(&shards).await;
    assert_ne!(first, second, "it handed over");
    create_all(&shards[second], &["later".to_owned()]).await;
    assert!(root_changed_ns(&shards[second]).abs_diff(now_ns()) <= SECOND_NS);
    let off = shards[second].node().unwrap().clocks_off_ns();
    let wrong = Witness::Node(first as u64 + 1);
    let said = off.iter().find(|(witness, _)| *witness == wrong).map(|(_, off_ns)| *off_ns);
    assert!(said.is_some_and(|off_ns| off_ns.unsigned_abs().abs_diff(WRONG_NS) <= SECOND_NS), "{off:?}");
    // It stands for no election, also when the lead is given up again.
    assert!(shards[second].hand_over().await);
    assert_ne!(leader(&shards).await, first);
    ahead[first].store(0, Ordering::Relaxed);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(shards[first].node().unwrap().clocks_off_ns()[0], (wrong, 0), "it is right again");
}
