//! Schedules probes of nodes: one pass over a node at a time, and one more behind it if it may have
//! missed something.
//!
//! INVARIANT: after each ring every current leader gets a pass that begins after it, unless it no
//! longer leads when that pass would begin.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Weak;

use env::Env;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use crate::engine::type_config::NodeId;
use crate::limits::WATCH_MS;

/// Makes a pass over all `leaders` at each ring, until `rings` is dropped.
pub(super) async fn passes<L, P>(
    env: &Env,
    rings: Weak<Notify>,
    leaders: impl Fn() -> L,
    pass: impl Fn(NodeId) -> P,
) where
    L: IntoIterator<Item = NodeId>,
    P: Future<Output = ()>,
{
    // In parallel: a result for one node must not grow old behind another node.
    let mut under_way = FuturesUnordered::new();
    let begin = |leader| {
        let pass = pass(leader);
        async move {
            pass.await;
            leader
        }
    };
    // Whether there was a ring since the pass over a node began.
    let mut rung = BTreeMap::new();
    while let Some(rings) = rings.upgrade() {
        assert!(under_way.len() == rung.len(), "each pass under way has its mark");
        // A ring wakes the waiting task, or the next wait: none is lost while a pass is handled.
        tokio::select! {
            biased;
            Some(leader) = under_way.next(), if !under_way.is_empty() => {
                // A node has several connections, and mostly this was only the end of the others.
                // But the node may have died again.
                if rung.remove(&leader) == Some(true) && leaders().into_iter().any(|still| still == leader) {
                    rung.insert(leader, false);
                    under_way.push(begin(leader));
                }
            }
            () = rings.notified() => {
                // It is not known whose connection ended.
                for leader in leaders() {
                    match rung.entry(leader) {
                        Entry::Occupied(mut rung) => {
                            rung.insert(true);
                        }
                        Entry::Vacant(first) => {
                            first.insert(false);
                            under_way.push(begin(leader));
                        }
                    }
                }
            }
            () = env.clock.sleep_ms(WATCH_MS) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use env::memory::{ManualClock, MemoryDisk, SeededEntropy, net::MemoryNet};
    use tokio::sync::oneshot;

    use super::*;

    /// The leaders, and the passes over them.
    #[derive(Default)]
    struct Seen {
        leaders: Vec<NodeId>,
        /// Passes that have begun and not ended, in the order in which they began.
        open: Vec<(NodeId, oneshot::Sender<()>)>,
        /// Passes that have begun.
        begun: usize,
    }

    struct Scene {
        seen: Arc<Mutex<Seen>>,
        rings: Arc<Notify>,
        watching: tokio::task::JoinHandle<()>,
        clock: ManualClock,
    }

    impl Scene {
        fn new(leaders: &[NodeId]) -> Self {
            let clock = ManualClock::new(0);
            let env = Env {
                clock: Arc::new(clock.clone()),
                entropy: Arc::new(SeededEntropy::new(1)),
                disk: Arc::new(MemoryDisk::new()),
                net: Arc::new(MemoryNet::new()),
            };
            let seen = Arc::new(Mutex::new(Seen { leaders: leaders.to_vec(), ..Seen::default() }));
            let rings = Arc::new(Notify::new());
            let (of_leaders, of_passes, ended) =
                (Arc::clone(&seen), Arc::clone(&seen), Arc::downgrade(&rings));
            let watching = tokio::spawn(async move {
                let leaders = || of_leaders.lock().unwrap().leaders.clone();
                let pass = |leader| {
                    let (end, ended) = oneshot::channel();
                    let mut seen = of_passes.lock().unwrap();
                    seen.open.push((leader, end));
                    seen.begun += 1;
                    async move { ended.await.unwrap() }
                };
                passes(&env, ended, leaders, pass).await;
            });
            Self { seen, rings, watching, clock }
        }

        /// Runs the passes as far as they go: nothing here waits for anything but rings and the
        /// ends of passes.
        async fn settle(&self) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }

        async fn ring(&self) {
            self.rings.notify_one();
            self.settle().await;
        }

        /// Ends the oldest pass under way.
        async fn end_one(&self) {
            let (_, end) = self.seen.lock().unwrap().open.remove(0);
            end.send(()).unwrap();
            self.settle().await;
        }

        /// The nodes with a pass under way, and how many passes have begun.
        fn state(&self) -> (Vec<NodeId>, usize) {
            let seen = self.seen.lock().unwrap();
            (seen.open.iter().map(|(leader, _)| *leader).collect(), seen.begun)
        }
    }

    #[tokio::test]
    async fn rings_during_a_pass_come_to_one_more_behind_it() {
        let scene = Scene::new(&[7]);
        scene.settle().await;
        assert_eq!(scene.state(), (vec![], 0), "no ring yet");
        for _ in 0..5 {
            scene.ring().await;
            assert_eq!(scene.state(), (vec![7], 1), "one at a time");
        }
        scene.end_one().await;
        assert_eq!(scene.state(), (vec![7], 2), "no ring is lost");
        scene.end_one().await;
        assert_eq!(scene.state(), (vec![], 2), "and no more than one");
        scene.ring().await;
        assert_eq!(scene.state(), (vec![7], 3));
        scene.end_one().await;
        assert_eq!(scene.state(), (vec![], 3), "nothing came meanwhile");
    }

    #[tokio::test]
    async fn a_node_that_no_longer_leads_gets_no_further_pass() {
        let scene = Scene::new(&[7]);
        scene.ring().await;
        scene.ring().await;
        scene.seen.lock().unwrap().leaders.clear();
        scene.end_one().await;
        assert_eq!(scene.state(), (vec![], 1));
        // Its entry is removed with the pass.
        scene.seen.lock().unwrap().leaders.push(7);
        scene.ring().await;
        scene.end_one().await;
        assert_eq!(scene.state(), (vec![], 2));
    }

    #[tokio::test]
    async fn nodes_do_not_wait_for_each_other() {
        let scene = Scene::new(&[7]);
        scene.ring().await;
        scene.seen.lock().unwrap().leaders = vec![8];
        scene.ring().await;
        assert_eq!(scene.state(), (vec![7, 8], 2));
        scene.seen.lock().unwrap().leaders = vec![7, 8];
        scene.ring().await;
        assert_eq!(scene.state(), (vec![7, 8], 2));
        scene.end_one().await;
        assert_eq!(scene.state(), (vec![8, 7], 3));
        scene.end_one().await;
        assert_eq!(scene.state(), (vec![7, 8], 4));
    }

    #[tokio::test]
    async fn passes_end_when_rings_are_dropped() {
        let Scene { rings, watching, clock, .. } = Scene::new(&[7]);
        tokio::task::yield_now().await;
        drop(rings);
        clock.advance_ms(WATCH_MS);
        watching.await.unwrap();
    }
}
