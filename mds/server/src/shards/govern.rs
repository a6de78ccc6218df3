//! A node begins to govern: it takes all shards into its term, and ends what was begun before it.
//!
//! Spec: docs/protocol/shards.md §2, §5.

use std::sync::atomic::Ordering;

use mds_namespace::op::reap;
use mds_namespace::superblock::superblock;
use mds_shard::command::governor::{Carry, ForgetClient, FormatShard, Govern, Reap, Settle};
use mds_shard::{Command, Outcome, ProposeError};

use super::Shards;
use super::locks::InodeLocks;

/// Between two tries of what must be done.
const AGAIN_MS: u64 = 50;

impl Shards {
    /// Governs, in the term in which this node leads shard 0. Nothing is served before this has returned.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] if it does not lead, or leads no more; else as [`mds_shard::Shard::propose`].
    pub(crate) async fn govern(&self) -> Result<(), ProposeError> {
        if self.is_one() {
            return Ok(());
        }
        let term = self.leading_term().ok_or(ProposeError::NotLeader { leader: None })?;
        self.first().read_barrier().await?;
        self.locks().end();
        self.inner.term.store(term, Ordering::Release);
        self.inner.reserved.lock().clear();
        for shard in self.others() {
            self.format(shard).await?;
            match self.to(shard, None, Command::Govern(Govern)).await? {
                Outcome::Done => {}
                _ => return Err(ProposeError::NotLeader { leader: None }),
            }
        }
        self.end_what_was_begun().await?;
        self.sweep().await?;
        self.reap_orphans().await?;
        *self.inner.locks.write() = InodeLocks::default();
        Ok(())
    }

    async fn format(&self, shard: u16) -> Result<(), ProposeError> {
        let view = self.inner.all[usize::from(shard)].view()?;
        if view.is_formatted().map_err(|error| stopped(&error))? {
            return Ok(());
        }
        drop(view);
        let keys = superblock(self.first().view()?.namespace()).map_err(|error| stopped(&error))?;
        let format = FormatShard {
            shard,
            file_system: keys.file_system,
            handle_key: keys.handle_key,
            cookie_key: keys.cookie_key,
        };
        self.to(shard, None, Command::FormatShard(format)).await.map(drop)
    }

    async fn end_what_was_begun(&self) -> Result<(), ProposeError> {
        for shard in 0..self.count() {
            let intents = self.inner.all[usize::from(shard)].view()?.intents();
            for (id, intent) in intents.map_err(|error| stopped(&error))? {
                tracing::info!(shard, term = id.term, number = id.number, "an act that was begun is ended");
                for part in intent.parts {
                    self.carry(part.shard, Carry { writes: part.writes }).await?;
                }
                self.to(shard, None, Command::Settle(Settle { id })).await?;
            }
        }
        Ok(())
    }

    /// Clients that shard 0 does not know any more leave the others.
    async fn sweep(&self) -> Result<(), ProposeError> {
        let view = self.first().view()?;
        let known = view.clients().map_err(|error| stopped(&error))?;
        drop(view);
        for shard in self.others() {
            let there = self.inner.all[usize::from(shard)].view()?.clients_with_state();
            for client in there.map_err(|error| stopped(&error))? {
                if !known.iter().any(|one| one.record.client == client) {
                    self.to(shard, None, Command::ForgetClient(ForgetClient { client })).await?;
                }
            }
        }
        Ok(())
    }

    /// Files that lost their last name with the governor before.
    async fn reap_orphans(&self) -> Result<(), ProposeError> {
        for shard in 0..self.count() {
            let view = self.inner.all[usize::from(shard)].view()?;
            let orphans = reap::orphans(view.namespace(), 0, usize::MAX).map_err(|error| stopped(&error))?;
            drop(view);
            for ino in orphans {
                self.to(shard, None, Command::Reap(Reap { ino })).await?;
            }
        }
        Ok(())
    }

    /// Of an act it cannot be known how far it came: nobody may look until whoever governs next has ended it, which is this node again if it
    /// still leads.
    pub(super) fn falter(&self) {
        self.locks().end();
        let shards = self.clone();
        tokio::spawn(async move {
            while shards.is_leader() {
                match shards.govern().await {
                    Ok(()) | Err(ProposeError::Stopped(_)) => return,
                    Err(_) => shards.inner.env.clock.sleep_ms(AGAIN_MS).await,
                }
            }
        });
    }

    /// Has a shard write its part, however often it takes: the act is real.
    ///
    /// # Errors
    /// If this node governs no more: the next one ends the act.
    pub(super) async fn carry(&self, shard: u16, carry: Carry) -> Result<(), ProposeError> {
        loop {
            match self.to(shard, None, Command::Carry(carry.clone())).await {
                Ok(Outcome::Done) => return Ok(()),
                Ok(outcome) => {
                    tracing::error!(shard, ?outcome, "a part of an act is not written");
                    return Err(ProposeError::NotLeader { leader: None });
                }
                Err(error @ ProposeError::Stopped(_)) => return Err(error),
                Err(_) if self.leading_term() != Some(self.inner.term.load(Ordering::Acquire)) => {
                    return Err(ProposeError::NotLeader { leader: None });
                }
                Err(_) => self.inner.env.clock.sleep_ms(AGAIN_MS).await,
            }
        }
    }

    /// Returns when a shard has answered a command that comes behind all others so far, or this node governs no more.
    pub(super) async fn until_answered(&self, shard: u16) {
        let term = self.inner.term.load(Ordering::Acquire);
        while self.leading_term() == Some(term) {
            if self.to(shard, None, Command::Govern(Govern)).await.is_ok() {
                return;
            }
            self.inner.env.clock.sleep_ms(AGAIN_MS).await;
        }
    }
}

fn stopped(error: &dyn std::fmt::Display) -> ProposeError {
    ProposeError::Stopped(error.to_string())
}
