//! Counters of shards, read when they are scraped.

use mds_raft::{NodeStatus, NodeWatch, Shard};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Registers the counters of the node that was started with a shard.
pub(crate) fn register(registry: &mut Registry, shard: &Shard) {
    if let Some(node) = shard.node() {
        registry.register_collector(Box::new(Shards { node: node.watch() }));
    }
}

struct Shards {
    node: NodeWatch,
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(status) = self.node.status() else { return Ok(()) };
        let NodeStatus {
            shards,
            led,
            hibernating,
            voted,
            leaderless,
            takes_part,
            log_flushes,
            log_bytes,
            beats,
            calls,
        } = status;
        for (name, help, value) in [
            ("shoal_shards", "Shards of the cluster", shards),
            ("shoal_shards_led", "Shards that this node leads", led),
            ("shoal_shards_hibernating", "Shards that this node leads and that hibernate", hibernating),
            ("shoal_shards_voted", "Shards in which this node votes", voted),
            ("shoal_shards_leaderless", "Shards of which this node knows no leader", leaderless),
            ("shoal_node_takes_part", "1 where the cluster knows this node", u64::from(takes_part)),
            ("shoal_raft_log_bytes", "Bytes of the log of all shards on disk", log_bytes),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            ("shoal_raft_log_flushes", "Syncs of the log of all shards with the device", log_flushes),
            ("shoal_node_heartbeats", "Heartbeats between this node and the others, both ways", beats),
            ("shoal_node_calls", "Calls of this node to other metadata nodes", calls),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
