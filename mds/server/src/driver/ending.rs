//! How a metadata server ends: on request, or after one of its engines has stopped.

use mds_raft::{EngineStopped, Node};

use super::MetadataServer;
use super::engine::failed;
use crate::limits::FAILED_STOP_MS_MAX;

impl MetadataServer {
    /// Returns when the engine of a shard has stopped without a request. The caller then stops this
    /// server and ends the process: other nodes take over, and a restart may repair it.
    pub async fn failed(&self) -> EngineStopped {
        failed(self.server.shards.node()).await
    }

    /// Stops: refuses new requests, ends running ones, makes everything durable. After a failure
    /// the wait is bounded.
    pub async fn stop(&self) {
        let stopped = self.stop_in_order();
        if self.server.shards.node().and_then(Node::failure).is_none() {
            return stopped.await;
        }
        tokio::select! {
            biased;
            () = stopped => {}
            () = self.server.env.clock.sleep_ms(FAILED_STOP_MS_MAX) => {
                                tracing::warn!("stopped before all tasks had ended");
            }
        }
    }

    async fn stop_in_order(&self) {
        // In this order: clients get no errors, and the next leader wakes them up.
        if let Some(service) = &self.server.service {
            service.leave().await;
        }
        if self.server.shards.is_replicated()
            && self.server.shards.is_leader()
            && !self.server.shards.hand_over().await
        {
            tracing::warn!("no other replica took over leadership");
        }
        self.nfs.shutdown().await;
        self.control.shutdown().await;
        for task in &self.tasks {
            task.abort();
        }
        self.server.shards.stop().await;
    }
}
