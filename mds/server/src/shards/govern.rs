//! A node begins to govern: it takes all shards into its term, and completes acts that earlier
//! governors began.
//!
//! Spec: docs/protocol/shards.md §2, §5.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, TryStreamExt, stream};
use mds_namespace::op::reap;
use mds_namespace::superblock::superblock;
use mds_raft::ProposeError;
use mds_state::command::governor::{Carry, FormatShard, Govern, Reap, Settle};
use mds_state::{Command, Outcome, Refusal};

use super::Shards;
use super::ends::Ended;
use super::locks::InodeLocks;
use crate::limits::{GOVERN_AT_ONCE, GOVERN_LOOK_MS, GOVERN_WORD_BITS};

/// Time between two attempts.
pub(super) const AGAIN_MS: u64 = 50;

impl Shards {
    /// Governs, in the term in which this node leads shard 0. Nothing is served before this has
    /// returned.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] if it does not lead, or no longer; else as
    /// [`mds_raft::Shard::propose`].
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
        // Decides this node's own earlier proposals to shard 0 before that is read.
        self.within(reign, 0, None, Command::Govern(Govern)).await?;
        let taken = stream::iter(self.others()).map(|shard| self.take_shard(reign, shard));
        taken.buffer_unordered(GOVERN_AT_ONCE).try_collect::<()>().await?;
        self.complete_acts(reign).await?;
        self.sweep(reign).await?;
        *self.inner.locks.write() = InodeLocks::new(reign);
        self.inner.governs.store(term, Ordering::Release);
        tracing::info!(term, shards = self.count(), "this node governs");
        tokio::spawn(self.clone().reap_orphans(reign));
        Ok(())
    }

    /// Begins a reign: earlier locks, reservations and acts are not of it.
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

    /// Governs whenever this node comes to lead shard 0, or has faltered, for as long as it lives.
    pub(crate) async fn drive_governing(self) {
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
                // This also returns when the engine has stopped, and then at once, each time.
                () = self.leader_changed() => self.inner.env.clock.sleep_ms(1).await,
                // A change between the check above and the wait is missed.
                () = self.inner.env.clock.sleep_ms(10 * GOVERN_LOOK_MS) => {}
            }
        }
    }

    /// Makes a shard accept this node's next word.
    async fn take_shard(&self, reign: u64, shard: u16) -> Result<(), ProposeError> {
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

    async fn complete_acts(&self, reign: u64) -> Result<(), ProposeError> {
        for shard in 0..self.count() {
            let intents = self.replica(shard).view()?.intents();
            for (id, intent) in intents.map_err(|error| stopped(&error))? {
                tracing::info!(
                    shard,
                    term = id.term,
                    number = id.number,
                    "completing an act of an earlier governor"
                );
                for part in intent.parts {
                    self.insist(reign, part.shard, Command::Carry(Carry { writes: part.writes })).await?;
                }
                self.insist(reign, shard, Command::Settle(Settle { id })).await?;
            }
        }
        Ok(())
    }

    /// Removes state of clients that shard 0 does not know from the other shards. Orphaned records
    /// of sessions do no harm: they are removed later.
    async fn sweep(&self, reign: u64) -> Result<(), ProposeError> {
        for shard in self.others() {
            for ended in self.orphaned(shard)? {
                if let Ended::Client(_) = ended {
                    self.forget_in(reign, shard, ended).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes files that lost their last name under the previous governor.
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
                // The next governor finds an orphan that stays.
                if self.reign() != reign || self.propose(None, Command::Reap(Reap { ino })).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Stops serving: the progress of an act is unknown, so no request may read until the next
    /// governor has completed it, which is this node again if it still leads.
    pub(super) fn falter(&self, reign: u64) {
        if self.reign() == reign {
            self.inner.governs.store(0, Ordering::Release);
            self.locks().end();
            self.inner.faltered.notify_one();
        }
    }

    /// Stops governing, until this node governs again.
    #[cfg(test)]
    pub(crate) fn falter_now(&self) {
        self.falter(self.reign());
    }

    /// Makes a shard apply its part of a committed act, with retries.
    ///
    /// # Errors
    /// If this node governs no more: the next governor completes the act.
    pub(super) async fn insist(&self, reign: u64, shard: u16, command: Command) -> Result<(), ProposeError> {
        loop {
            match self.within(reign, shard, None, command.clone()).await {
                Ok(Outcome::Done) => return Ok(()),
                // Another command's word came first.
                Ok(Outcome::Refused(Refusal::Superseded)) => {}
                Ok(outcome) => {
                    tracing::error!(shard, ?outcome, "shard refused its part of an act");
                    return Err(ProposeError::Unavailable);
                }
                Err(error @ ProposeError::Stopped(_)) => return Err(error),
                // It may arrive after later writes: then the shard must refuse it.
                Err(ProposeError::Timeout) => self.until_answered(reign, shard).await,
                Err(_) => {}
            }
            if !self.leads_in(reign) {
                return Err(ProposeError::NotLeader { leader: None });
            }
            self.inner.env.clock.sleep_ms(AGAIN_MS).await;
        }
    }

    /// Whether a reign is the current one, and this node leads shard 0 in it, as far as it knows.
    pub(super) fn leads_in(&self, reign: u64) -> bool {
        let term = self.inner.term.load(Ordering::Acquire);
        self.reign() == reign && self.first().leading_term() == Some(term)
    }

    /// Whether a reign is over for good: there is a later one, or shard 0 is in another term. The
    /// end of a lease does not end it.
    fn is_over(&self, reign: u64) -> bool {
        // In this order: the term is this reign's, or a later one's.
        let term = self.inner.term.load(Ordering::Acquire);
        self.reign() != reign || self.first().term() != term
    }

    /// Returns once no earlier proposal to a shard can be applied any more, or the reign is over.
    pub(super) async fn until_answered(&self, reign: u64, shard: u16) {
        let word = &self.inner.words[usize::from(shard)];
        if self.reign() == reign {
            word.fetch_add(1, Ordering::AcqRel);
        }
        loop {
            match self.within(reign, shard, None, Command::Govern(Govern)).await {
                // Superseded by a later word, of this node or another one: so are all earlier
                // proposals.
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
