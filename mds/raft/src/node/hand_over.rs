//! Hands leadership over: to the node that should lead a shard when it is back, and to others
//! before a planned stop.

use std::sync::{Arc, Weak};

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use crate::handles::{NodeInner, Shard};
use crate::host::Host;
use crate::limits::{
    HAND_OVER_MS_MAX, SPREAD_IDLE_MS, SPREAD_POLL_MS, STORES_AT_ONCE, TORN_AGAIN_MS, TORN_LEAD_MS_MAX,
};
use crate::liveness::line;
use crate::spread::{Led, Spread};

/// Hands single shards over to the nodes that should lead them, slowly; and shard 0 at once if this
/// node cannot govern. Runs until the node stops or is dropped.
pub(super) async fn spread(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    let (mut spread, mut unfit) = (None, None);
    loop {
        let Some(inner) = node.upgrade() else { return };
        give_up_unfit(&inner, &mut unfit).await;
        let host = &inner.host;
        let members = host.nodes.numbers();
        let now_ms = host.now_ms();
        let spread = spread.get_or_insert_with(|| Spread::new(host.config.id));
        let alive: Vec<u64> = members.iter().copied().filter(|id| host.is_alive(*id)).collect();
        let own = |shard: usize| line(&members, shard).next() == Some(host.config.id);
        let others = inner.shards.iter().enumerate().skip(1).filter(|(number, _)| !own(*number));
        let led = others.filter(|(_, shard)| shard.leads_engine());
        let led = led.map(|(number, shard)| Led { shard: number, caught_up: shard.caught_up() });
        let due = spread.next(now_ms, &members, &alive, led);
        if let Some((shard, to)) = due {
            tracing::debug!(shard, to, "handing leadership to the shard's preferred node");
            inner.shards[shard].transfer(to).await;
        }
        // Nothing to do now: that will not change at once.
        let sleep_ms = if due.is_some() { SPREAD_POLL_MS } else { SPREAD_IDLE_MS };
        let sleep = host.env.clock.sleep_ms(sleep_ms);
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// A node that cannot govern, since it installs a snapshot.
struct Unfit {
    /// Nodes that were asked to lead shard 0 instead. Such a node may be no better off: then the
    /// next one is asked.
    asked: Vec<u64>,
    /// When they are asked again.
    again_ms: u64,
}

/// The leader of shard 0 reads its own replicas of all others. While it installs a snapshot of any
/// shard it has another node govern, since that may take long.
async fn give_up_unfit(inner: &NodeInner, unfit: &mut Option<Unfit>) {
    if !inner.shards.iter().any(Shard::is_torn) {
        *unfit = None;
        return;
    }
    let now_ms = inner.host.now_ms();
    let unfit = unfit.get_or_insert(Unfit { asked: Vec::new(), again_ms: now_ms + TORN_LEAD_MS_MAX });
    let first = &inner.shards[0];
    if unfit.again_ms <= now_ms && first.leads_engine() {
        tracing::info!("installing a snapshot: handing shard 0 over");
        match first.give_up_but(&unfit.asked).await {
            Some(to) => {
                assert!(!unfit.asked.contains(&to), "another node is asked each time");
                unfit.asked.push(to);
            }
            None if unfit.asked.is_empty() => {}
            // None of the nodes that are up is better off.
            None => *unfit = Unfit { asked: Vec::new(), again_ms: now_ms + TORN_AGAIN_MS },
        }
    }
}

/// Hands all led shards to other nodes, as far as some of them have caught up, within a bounded
/// time.
pub(super) async fn hand_over_all(host: &Arc<Host>, shards: &[Shard]) {
    if host.config.is_alone() {
        return;
    }
    let mut led = shards.to_vec();
    led.retain(Shard::leads_engine);
    let handed = stream::iter(led).map(|shard| async move { shard.give_up().await });
    let handed = handed.buffer_unordered(STORES_AT_ONCE).collect::<()>();
    tokio::select! {
        () = handed => {}
        () = host.env.clock.sleep_ms(HAND_OVER_MS_MAX) => tracing::warn!("stopping with shards still led here"),
    }
}
