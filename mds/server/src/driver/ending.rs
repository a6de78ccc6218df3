//! How a metadata server ends: it is told to, or one of its engines has stopped.

use mds_shard::{EngineStopped, Node};

use super::MetadataServer;
use super::engine::failed;
use crate::limits::FAILED_STOP_MS_MAX;

impl MetadataServer {
    /// Returns when the engine of a shard has stopped though nobody asked it to. This server is to be stopped then, and its process to end: others
    /// follow it, and started again it may be whole.
    pub async fn failed(&self) -> EngineStopped {
        failed(self.server.shards.node()).await
    }

    /// Stops: no new requests, running ones end, everything is durable. After a failure it is not waited for what does not come.
    pub async fn stop(&self) {
        let stopped = self.stop_in_order();
        if self.server.shards.node().and_then(Node::failure).is_none() {
            return stopped.await;
        }
        tokio::select! {
            biased;
            () = stopped => {}
            () = self.server.env.clock.sleep_ms(FAILED_STOP_MS_MAX) => {
                tracing::warn!("stopped before everything had ended");
            }
        }
    }

    async fn stop_in_order(&self) {
        // In this order: clients hear nothing, and the next leader wakes them up.
        if let Some(service) = &self.server.service {
            service.leave().await;
        }
        if self.server.shards.is_replicated()
            && self.server.shards.is_leader()
            && !self.server.shards.hand_over().await
        {
            tracing::warn!("no other replica took the lead over");
        }
        self.nfs.shutdown().await;
        self.control.shutdown().await;
        for task in &self.tasks {
            task.abort();
        }
        self.server.shards.stop().await;
    }
}
