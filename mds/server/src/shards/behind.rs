//! A command that is answered when it has its place in the log: CLOSE, where there is one replica (docs/adr/0004-close-is-not-waited-for.md).
//!
//! Whatever the client asks next must come behind it. In the shard of the file the log's queue sees to that, and what the command counts as
//! under way on keeps acts on several shards behind it; who looks at views, and could tell, has to wait (`ends.rs`).
//!
//! INVARIANT: when a command counts as having its place, its shard's queue has it.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use mds_shard::{Command, Origin, Outcome, ProposeError};
use tokio::task::unconstrained;

use super::Shards;
use super::route::{self, Route};

type Proposal = Pin<Box<dyn Future<Output = Result<Outcome, ProposeError>> + Send>>;

impl Shards {
    /// Gives a command its place in the log and does not wait for the outcome. `None` if it has its place: what is proposed from now on
    /// comes behind it. Else what it came to at once, which may be that it was not proposed at all.
    pub(crate) async fn propose_behind(
        &self,
        origin: Option<Origin>,
        command: Command,
    ) -> Option<Result<Outcome, ProposeError>> {
        let shards = self.clone();
        let route = if self.is_one() { None } else { Some(route::of(&command)) };
        let mut proposal: Proposal = match route {
            Some(Route::One(shard, inodes)) => {
                // An act may have the file locked. Behind it others wait as well, who came later and would be let in at the same time.
                let guard = match self.enter(inodes).await {
                    Ok(guard) => guard,
                    Err(error) => return Some(Err(error)),
                };
                Box::pin(unconstrained(async move { shards.under(guard, shard, origin, command).await }))
            }
            // On one shard it goes where everything goes. Of no other command it is known when it would have its place.
            _ => Box::pin(unconstrained(async move { shards.propose_unhurried(origin, command).await })),
        };
        // Polled once here: that is when the log's queue takes it. The runtime must not choose this moment to let others run.
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
            tracing::info!(%refusal, "a command that was not waited for was refused")
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "a command that was not waited for is lost"),
    }
}

#[cfg(test)]
mod tests;
