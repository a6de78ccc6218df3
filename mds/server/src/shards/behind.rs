//! Commands that are answered once they are queued in the log: CLOSE, with one replica
//! (docs/adr/0004-close-is-not-waited-for.md).
//!
//! The client's next request must come behind it. In the shard of the file the log's queue ensures
//! that, and since the command counts as under way, acts on several shards come behind it. Requests
//! that read views could see the difference and have to wait (`ends.rs`).
//!
//! INVARIANT: when a command counts as queued, its shard's queue has it.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use mds_raft::ProposeError;
use mds_state::{Command, Origin, Outcome};
use tokio::task::unconstrained;

use super::Shards;
use super::route::{self, Route};

type Proposal = Pin<Box<dyn Future<Output = Result<Outcome, ProposeError>> + Send>>;

impl Shards {
    /// Queues a command in the log without waiting for the outcome. `None` if it is queued: later
    /// proposals come behind it. Otherwise its immediate outcome, which may be that it was not
    /// proposed at all.
    pub(crate) async fn propose_behind(
        &self,
        origin: Option<Origin>,
        command: Command,
    ) -> Option<Result<Outcome, ProposeError>> {
        let shards = self.clone();
        let route = if self.is_one() { None } else { Some(route::find_route(&command)) };
        let mut proposal: Proposal = match route {
            Some(Route::One(shard, inodes)) => {
                // An act may have the file locked. Later commands wait behind it as well, and must
                // not overtake this one.
                let guard = match self.enter(inodes).await {
                    Ok(guard) => guard,
                    Err(error) => return Some(Err(error)),
                };
                Box::pin(unconstrained(async move { shards.under(guard, shard, origin, command).await }))
            }
            // On one shard it takes the common path. For other commands it is unknown when they are
            // queued.
            _ => Box::pin(unconstrained(async move { shards.propose_unhurried(origin, command).await })),
        };
        // Polled once here: that queues it in the log. The runtime must not choose this moment to
        // run other tasks.
        match futures_util::poll!(proposal.as_mut()) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => {
                tokio::spawn(async move { note(&proposal.await) });
                None
            }
        }
    }
}

fn note(outcome: &Result<Outcome, ProposeError>) {
    match outcome {
        Ok(Outcome::Refused(refusal)) => {
            tracing::info!(%refusal, "command refused after its reply")
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "command lost after its reply"),
    }
}

#[cfg(test)]
mod tests;
