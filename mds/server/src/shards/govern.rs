//! A node begins to govern: it takes all shards into its term, and ends what was begun before it.
//!
//! Spec: docs/protocol/shards.md §2, §5.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, TryStreamExt, stream};
use mds_namespace::op::reap;
use mds_namespace::superblock::superblock;
use mds_shard::command::governor::{Carry, FormatShard, Govern, Reap, Settle};
use mds_shard::{Command, Outcome, ProposeError, Refusal};

use super::Shards;
use super::ends::Ended;
use super::locks::InodeLocks;
use crate::limits::{GOVERN_AT_ONCE, GOVERN_LOOK_MS, GOVERN_WORD_BITS};

/// Between two tries of what must be done.
pub(super) const AGAIN_MS: u64 = 50;

impl Shards {
    /// Governs, in the term in which this node leads shard 0. Nothing is served before this has returned.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] if it does not lead, or leads no more; else as [`mds_shard::Shard::propose`].
    pub(crate) async fn govern(&self) -> Result<(), ProposeError> {
        if self.is_one() {
            return Ok(());
        }
        let _turn = self.inner.beginning.lock().await;
        let term = self.first().leading_term().ok_or(ProposeError::NotLeader { leader: None })?;
        if self.inner.governs.load(Ordering::Acquire) == term {
            return Ok(());
        }
        self.first().read_barrier().await?;
        let reign = self.begin_reign(term);
        // What this node proposed to shard 0 itself is decided before that is looked at.
        self.within(reign, 0, None, Command::Govern(Govern)).await?;
        let taken = stream::iter(self.others()).map(|shard| self.take(reign, shard));
        taken.buffer_unordered(GOVERN_AT_ONCE).try_collect::<()>().await?;
        self.end_what_was_begun(reign).await?;
        self.sweep(reign).await?;
        *self.inner.locks.write() = InodeLocks::new(reign);
        self.inner.governs.store(term, Ordering::Release);
        tracing::info!(term, shards = self.count(), "this node governs");
        tokio::spawn(self.clone().reap_orphans(reign));
        Ok(())
    }

    /// What was locked, set aside and begun before is not of this reign.
    fn begin_reign(&self, term: u64) -> u64 {
        self.inner.governs.store(0, Ordering::Release);
        self.locks().end();
        let reign = self.inner.reigns.fetch_add(1, Ordering::AcqRel) + 1;
        self.inner.term.store(term, Ordering::Release);
        for word in &self.inner.words {
            let next = word.load(Ordering::Acquire) + 1;
            word.store(next.max(term << GOVERN_WORD_BITS), Ordering::Release);
        }
        self.inner.reserved.lock().clear();
        reign
    }

    /// Governs whenever this node comes to lead shard 0, or faltered, for as long as it lives.
    pub(crate) async fn drive(self) {
        if self.is_one() {
            return;
        }
        let own = self.first().status().id;
        loop {
            let leads = self.leader().is_some_and(|(leader, _)| leader == own);
            if leads && self.leading_term().is_none() {
                match self.govern().await {
                    Ok(()) => {}
                    Err(ProposeError::Stopped(error)) => tracing::error!(%error, "this node cannot govern"),
                    Err(error) => tracing::debug!(%error, "this node cannot govern yet"),
                }
                self.inner.env.clock.sleep_ms(GOVERN_LOOK_MS).await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.inner.faltered.notified() => {}
                // It also says so when the engine has stopped, and then at once, each time.
                () = self.leader_changed() => self.inner.env.clock.sleep_ms(1).await,
                // A change between the look above and the wait is not told.
                () = self.inner.env.clock.sleep_ms(10 * GOVERN_LOOK_MS) => {}
            }
        }
    }

    /// Has a shard take this node's word, from the next one that it gives on.
    async fn take(&self, reign: u64, shard: u16) -> Result<(), ProposeError> {
        self.format(reign, shard).await?;
        match self.within(reign, shard, None, Command::Govern(Govern)).await? {
            Outcome::Done => Ok(()),
            _ => Err(ProposeError::NotLeader { leader: None }),
        }
    }

    async fn format(&self, reign: u64, shard: u16) -> Result<(), ProposeError> {
        let view = self.replica(shard).view()?;
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
        self.within(reign, shard, None, Command::FormatShard(format)).await.map(drop)
    }

    async fn end_what_was_begun(&self, reign: u64) -> Result<(), ProposeError> {
        for shard in 0..self.count() {
            let intents = self.replica(shard).view()?.intents();
            for (id, intent) in intents.map_err(|error| stopped(&error))? {
                tracing::info!(shard, term = id.term, number = id.number, "an act that was begun is ended");
                for part in intent.parts {
                    self.insist(reign, part.shard, Command::Carry(Carry { writes: part.writes })).await?;
                }
                self.insist(reign, shard, Command::Settle(Settle { id })).await?;
            }
        }
        Ok(())
    }

    /// Clients that shard 0 does not know any more leave the others. Records of sessions are in nobody's way: they go later.
    async fn sweep(&self, reign: u64) -> Result<(), ProposeError> {
        for shard in self.others() {
            for ended in self.left_over(shard)? {
                if let Ended::Client(_) = ended {
                    self.forget_in(reign, shard, ended).await?;
                }
            }
        }
        Ok(())
    }

    /// Files that lost their last name with the governor before.
    async fn reap_orphans(self, reign: u64) {
        for shard in 0..self.count() {
            let orphans = loop {
                let found = self.replica(shard).view().and_then(|view| {
                    reap::orphans(view.namespace(), 0, usize::MAX).map_err(|error| stopped(&error))
                });
                match found {
                    Err(ProposeError::Unavailable) if self.reign() == reign => {
                        self.inner.env.clock.sleep_ms(GOVERN_LOOK_MS).await;
                    }
                    found => break found.unwrap_or_default(),
                }
            };
            for ino in orphans {
                // One that stays is found by the next governor.
                if self.reign() != reign || self.propose(None, Command::Reap(Reap { ino })).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Of an act it cannot be known how far it came: nobody may look until whoever governs next has ended it, which is this node again if it
    /// still leads.
    pub(super) fn falter(&self, reign: u64) {
        if self.reign() == reign {
            self.inner.governs.store(0, Ordering::Release);
            self.locks().end();
            self.inner.faltered.notify_one();
        }
    }

    /// This node governs no more, until it governs again.
    #[cfg(test)]
    pub(crate) fn falter_now(&self) {
        self.falter(self.reign());
    }

    /// Has a shard do its part of an act that is real, however often it takes.
    ///
    /// # Errors
    /// If this node governs no more: the next one ends the act.
    pub(super) async fn insist(&self, reign: u64, shard: u16, command: Command) -> Result<(), ProposeError> {
        loop {
            match self.within(reign, shard, None, command.clone()).await {
                Ok(Outcome::Done) => return Ok(()),
                // Another command's word came first.
                Ok(Outcome::Refused(Refusal::Superseded)) => {}
                Ok(outcome) => {
                    tracing::error!(shard, ?outcome, "a shard does not do its part of an act");
                    return Err(ProposeError::Unavailable);
                }
                Err(error @ ProposeError::Stopped(_)) => return Err(error),
                // It may come yet, after others have written: then it must be refused.
                Err(ProposeError::Timeout) => self.until_answered(reign, shard).await,
                Err(_) => {}
            }
            if !self.leads_in(reign) {
                return Err(ProposeError::NotLeader { leader: None });
            }
            self.inner.env.clock.sleep_ms(AGAIN_MS).await;
        }
    }

    /// Whether a reign is this one, and this node leads shard 0 in it: as far as it knows.
    pub(super) fn leads_in(&self, reign: u64) -> bool {
        let term = self.inner.term.load(Ordering::Acquire);
        self.reign() == reign && self.first().leading_term() == Some(term)
    }

    /// Whether a reign is over for good: there is another one, or shard 0 is in another term. That a lease has run out does not end it.
    fn is_over(&self, reign: u64) -> bool {
        // In this order: the term is this reign's, or a later one's.
        let term = self.inner.term.load(Ordering::Acquire);
        self.reign() != reign || self.first().term() != term
    }

    /// Returns when nothing that was proposed to a shard so far can be carried out any more, or the reign is over.
    pub(super) async fn until_answered(&self, reign: u64, shard: u16) {
        let word = &self.inner.words[usize::from(shard)];
        if self.reign() == reign {
            word.fetch_add(1, Ordering::AcqRel);
        }
        loop {
            match self.within(reign, shard, None, Command::Govern(Govern)).await {
                // Superseded by a later word, of this node or another one: so is what was proposed before.
                Ok(_) | Err(ProposeError::Stopped(_)) => return,
                Err(_) if self.is_over(reign) => return,
                Err(_) => self.inner.env.clock.sleep_ms(AGAIN_MS).await,
            }
        }
    }
}

pub(super) fn stopped(error: &dyn std::fmt::Display) -> ProposeError {
    ProposeError::Stopped(error.to_string())
}
