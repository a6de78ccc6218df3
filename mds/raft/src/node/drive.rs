//! Drives liveness: reads the engines' states, sends heartbeats, starts and stops clocks.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::handles::NodeInner;
use crate::liveness::Facts;

/// Runs until the node stops or is dropped.
pub(super) async fn liveness(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    loop {
        let Some(inner) = node.upgrade() else { return };
        let host = &inner.host;
        let sleep = host.env.clock.sleep_ms(host.config.heartbeat_ms);
        host.set_takes_part(inner.shards[0].has_this_node());
        let nodes = host.nodes.all();
        let mut alive = host.nodes.numbers();
        alive.retain(|id| host.is_alive(*id));
        let facts: Vec<Facts> = inner.shards.iter().map(|shard| shard.facts(&alive)).collect();
        for switch in host.advance(&facts) {
            inner.shards[switch.shard].set_clock(switch.runs, switch.hibernates);
        }
        for (id, addr) in &*nodes {
            if *id != host.config.id
                && let Ok(addr) = addr.parse()
            {
                let (host, id) = (Arc::clone(host), *id);
                tokio::spawn(async move { host.beat(id, addr).await });
            }
        }
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Starts shard 0's clock once no lease is in force that this node may have given before a restart;
/// a leader's at once.
pub(super) async fn first_clock(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    loop {
        let Some(inner) = node.upgrade() else { return };
        let (host, first) = (&inner.host, &inner.shards[0]);
        if !host.may_have_given_lease() || first.leads_engine() {
            first.set_clock(true, false);
            return;
        }
        let sleep = host.env.clock.sleep_ms(host.config.heartbeat_ms);
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}
