//! Drives `clocks`: queries the other nodes' clocks, and gives up the lead where this node's clock
//! is wrong.
//!
//! Spec: docs/protocol/raft.md, Clocks.

use std::sync::{Arc, Weak};

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use crate::clocks::Witness;
use crate::handles::{NodeInner, Shard};
use crate::host::Host;
use crate::limits::{CLOCK_AGREE_NS, CLOCK_QUERY_MS, STORES_AT_ONCE};

/// Runs until the node stops or is dropped.
pub(super) async fn drive_clocks(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    let (mut unfit, mut is_off) = (false, false);
    loop {
        let Some(inner) = node.upgrade() else { return };
        let host = &inner.host;
        let sleep = host.env.clock.sleep_ms(CLOCK_QUERY_MS);
        if !host.config.is_alone() {
            query_clocks(host);
        }
        if host.needs_log_time() {
            record_log_times(host, &inner.shards);
        }
        let before = std::mem::replace(&mut unfit, host.check_clocks());
        if unfit != before {
            inner.shards.iter().for_each(|shard| shard.set_stands(!unfit));
        }
        report(host, unfit, &mut is_off);
        if unfit {
            give_up(&inner.shards).await;
        }
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Queries each of the other nodes, in parallel; does not wait for slow ones.
fn query_clocks(host: &Arc<Host>) {
    for (id, addr) in &*host.nodes.all() {
        if *id != host.config.id
            && let Ok(addr) = addr.parse()
        {
            let (host, id) = (Arc::clone(host), *id);
            tokio::spawn(async move {
                let sent_ns = host.clock_ns();
                if let Some(shows) = host.links.clock(addr, CLOCK_QUERY_MS).await {
                    host.record_clock(Witness::Node(id), Some(sent_ns), shows.wall_unix_ns);
                }
            });
        }
    }
}

/// Records the time of each shard's last applied entry.
fn record_log_times(host: &Host, shards: &[Shard]) {
    for shard in shards {
        // Other code reports a store that cannot be read, and an empty one has no time.
        if let Ok(entry_ns @ 1..) = shard.last_entry_unix_ns() {
            host.record_log_time(entry_ns);
        }
    }
}

/// Logs once that this node's clock is wrong, and once that it is right again.
fn report(host: &Host, unfit: bool, is_off: &mut bool) {
    let off_ns = host.clocks_off_ns().first().map_or(0, |(_, off_ns)| *off_ns);
    let was_off = std::mem::replace(is_off, CLOCK_AGREE_NS < off_ns.unsigned_abs());
    let off_ms = off_ns / 1_000_000;
    match (was_off, *is_off) {
        (false, true) => {
            tracing::error!(
                off_ms,
                unfit,
                "this machine's clock is wrong: files are dated by what other clocks show"
            );
        }
        (true, false) => tracing::info!("this machine's clock is right again"),
        _ => {}
    }
}

async fn give_up(shards: &[Shard]) {
    let mut led = shards.to_vec();
    led.retain(Shard::leads_engine);
    if led.is_empty() {
        return;
    }
    tracing::warn!(
        shards = led.len(),
        "this machine's clock is off by more than a minute: the lead is handed over"
    );
    let handed = stream::iter(led).map(|shard| async move { shard.give_up().await });
    handed.buffer_unordered(STORES_AT_ONCE).collect::<()>().await;
}
