//! The end of a client or a session, carried from shard 0 to the others.
//!
//! A command that was under way at the end may be applied after it, and this node does not learn of
//! some ends. So the other shards are also scanned periodically for clients and sessions that shard
//! 0 does not know.
//!
//! INVARIANT: once an end is applied here, nothing more is proposed to other shards for requests of
//! the ended client or session.
//! INVARIANT: a client or session is forgotten only after its end in shard 0: neither ids of
//! clients nor of sessions are reused.
//! Spec: docs/protocol/shards.md §6.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mds_raft::ProposeError;
use mds_state::command::client::{ClientMade, ExchangeId, ExchangeIdAs, ExchangeIdFrom};
use mds_state::command::governor::{ForgetClient, ForgetSession, Govern};
use mds_state::record::Tally;
use mds_state::{Command, Origin, Outcome, Refusal};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shards;
use super::govern::{AGAIN_MS, stopped};
use crate::limits::{ENDS_MAX, ENDS_WAIT_MS_MAX, GOVERN_AT_ONCE, ORPHANED_MAX, ORPHANED_SCAN_MS};

/// An ended client or session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ended {
    /// A client, with all its sessions.
    Client(u64),
    /// A session.
    Session([u8; 16]),
}

/// Ends that the other shards are being notified of.
#[derive(Default)]
pub(super) struct Ends {
    /// At most [`ENDS_MAX`].
    under_way: Mutex<BTreeSet<Ended>>,
    /// One of them is complete.
    over: Notify,
}

/// Last applied indexes of shard 0 and another shard at a scan that found nothing.
type Seen = Option<(u64, u64)>;

/// The client or session that a command ends by id.
pub(super) fn named(command: &Command) -> Option<Ended> {
    match command {
        Command::RemoveClient(asked) => Some(Ended::Client(asked.client)),
        Command::DestroySession(asked) => Some(Ended::Session(asked.session)),
        _ => None,
    }
}

impl Shards {
    /// Why a request is refused. Shards other than the first know no sessions: this node checks for
    /// them.
    pub(super) fn outlived(&self, origin: &Origin) -> Result<Option<Refusal>, ProposeError> {
        let stored = self.first().view()?.session(&origin.session).map_err(|error| stopped(&error))?;
        Ok(match stored {
            Some(session) if session.tenure == origin.tenure => None,
            Some(_) => Some(Refusal::Superseded),
            None => Some(Refusal::UnknownSession),
        })
    }

    /// Refuses a command that requires an idle client, if the client holds state in another shard
    /// than the first.
    pub(super) async fn busy_elsewhere(&self, command: &Command) -> Result<Option<Refusal>, ProposeError> {
        let (client, refusal) = match command {
            Command::RemoveClient(asked) if asked.only_if_idle => (Some(asked.client), Refusal::ClientBusy),
            Command::ExchangeId(asked)
            | Command::ExchangeIdAs(ExchangeIdAs { asked, .. })
            | Command::ExchangeIdFrom(ExchangeIdFrom { asked: ExchangeIdAs { asked, .. }, .. }) => {
                (self.in_the_way_of(asked)?, Refusal::ClientInUse)
            }
            _ => return Ok(None),
        };
        let Some(client) = client else { return Ok(None) };
        // Orphaned state of an ended client makes no client busy.
        let is_known = self.first().view()?.client(client).map_err(|error| stopped(&error))?.is_some();
        Ok((is_known && self.holds_elsewhere_still(client).await?).then_some(refusal))
    }

    /// Whether a client holds state in another shard once all its answered commands are applied: a
    /// CLOSE may be answered before.
    async fn holds_elsewhere_still(&self, client: u64) -> Result<bool, ProposeError> {
        for shard in self.others() {
            if !self.holds_in(shard, client)? {
                continue;
            }
            if self.is_replicated() {
                // With replicas, CLOSE waits for the commit.
                return Ok(true);
            }
            // Comes behind all earlier proposals of this node to the shard. The word is unchanged,
            // so nothing is refused for it.
            self.to(shard, None, Command::Govern(Govern)).await?;
            if self.holds_in(shard, client)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The client of another principal that is replaced if it holds nothing.
    ///
    /// Spec: RFC 8881 §18.35.5, case 3.
    fn in_the_way_of(&self, asked: &ExchangeId) -> Result<Option<u64>, ProposeError> {
        if asked.update {
            return Ok(None);
        }
        let view = self.first().view()?;
        let confirmed = view.clients_of_owner(&asked.owner).map_err(|error| stopped(&error))?.confirmed;
        let Some(client) = confirmed else { return Ok(None) };
        let stored = view.client(client).map_err(|error| stopped(&error))?;
        Ok(stored.filter(|stored| stored.record.principal != asked.principal).map(|_| client))
    }

    /// Whether a client holds state in another shard than the first.
    fn holds_elsewhere(&self, client: u64) -> Result<bool, ProposeError> {
        for shard in self.others() {
            if self.holds_in(shard, client)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holds_in(&self, shard: u16, client: u64) -> Result<bool, ProposeError> {
        let tally = self.replica(shard).view()?.tally(client).map_err(|error| stopped(&error))?;
        Ok(tally != Tally::default())
    }

    /// The clients and sessions that a command with this outcome in shard 0 ended; `named` is the
    /// one in the command.
    pub(super) fn ended(&self, named: Option<Ended>, outcome: &Outcome) -> Vec<Ended> {
        let clients = |dropped: &[mds_state::command::client::RemovedClient]| {
            dropped.iter().map(|removed| Ended::Client(removed.client)).collect::<Vec<_>>()
        };
        match (outcome, named) {
            (Outcome::Removed(removed), _) => vec![Ended::Client(removed.client)],
            (Outcome::Confirmed(confirmed), _) => clients(&confirmed.dropped),
            (Outcome::SessionCreated(made), _) => {
                let mut ended = clients(&made.dropped);
                ended.extend(made.ended.map(Ended::Session));
                ended
            }
            // Evicted clients never held any state.
            (Outcome::Client(answer) | Outcome::ClientMade(ClientMade { answer, .. }), _) => {
                let is_gone = |client: &u64| {
                    self.first().view().is_ok_and(|view| view.client(*client).is_ok_and(|one| one.is_none()))
                };
                answer.replaces.filter(is_gone).map(Ended::Client).into_iter().collect()
            }
            // It had ended before, and this node may not have learnt it.
            (Outcome::Refused(Refusal::StaleClient), Some(Ended::Client(client)))
                if self.holds_elsewhere(client).unwrap_or(true) =>
            {
                vec![Ended::Client(client)]
            }
            (Outcome::Done, Some(ended)) => vec![ended],
            _ => Vec::new(),
        }
    }

    /// Makes all other shards forget an end, with retries, in the background.
    pub(super) fn begin_to_forget(&self, ended: Ended) {
        let mut under_way = self.inner.ends.under_way.lock();
        // Beyond the bound the periodic scan finds it.
        if ENDS_MAX <= under_way.len() || !under_way.insert(ended) {
            return;
        }
        drop(under_way);
        let (shards, reign) = (self.clone(), self.reign());
        tokio::spawn(async move {
            let _over = Over { ends: &shards.inner.ends, ended };
            let asked = shards.others().filter(|shard| shards.has_to_forget(*shard, ended));
            let each = |shard| shards.have_forgotten(reign, shard, ended);
            stream::iter(asked).for_each_concurrent(GOVERN_AT_ONCE, each).await;
        });
    }

    /// Orphaned records of a session do no harm: the periodic scan finds those still being written.
    fn has_to_forget(&self, shard: u16, ended: Ended) -> bool {
        let Ended::Session(session) = ended else { return true };
        let found = self.replica(shard).view().map(|view| view.slots(&session));
        !matches!(found, Ok(Ok(slots)) if slots.is_empty())
    }

    async fn have_forgotten(&self, reign: u64, shard: u16, ended: Ended) {
        loop {
            match self.forget_in(reign, shard, ended).await {
                Ok(true) => return,
                // Another command's word came first.
                Ok(false) => {}
                Err(error @ ProposeError::Stopped(_)) => {
                    tracing::warn!(shard, ?ended, %error, "failed to remove ended state from shard");
                    return;
                }
                // A late arrival does no harm.
                Err(error) => {
                    tracing::debug!(shard, ?ended, %error, "removal of ended state from shard is retried")
                }
            }
            // The next governor finds it as an orphan, and so does this node if it continues.
            if !self.leads_in(reign) {
                return;
            }
            self.inner.env.clock.sleep_ms(AGAIN_MS).await;
        }
    }

    /// Makes a shard forget an end; false if its word was an old one.
    ///
    /// # Errors
    /// As [`mds_raft::Shard::propose`].
    pub(super) async fn forget_in(&self, reign: u64, shard: u16, ended: Ended) -> Result<bool, ProposeError> {
        let command = match ended {
            Ended::Client(client) => Command::ForgetClient(ForgetClient { client }),
            Ended::Session(session) => Command::ForgetSession(ForgetSession { session }),
        };
        match self.within(reign, shard, None, command).await? {
            Outcome::Removed(_) => {}
            Outcome::Refused(Refusal::Superseded) => return Ok(false),
            Outcome::Done => {}
            // A retry would not help.
            outcome => tracing::error!(shard, ?ended, ?outcome, "shard refused to remove ended state"),
        }
        Ok(true)
    }

    /// Returns once all shards have forgotten a client, or at a time limit.
    pub(crate) async fn forgotten(&self, client: u64) {
        let over = self.inner.ends.over(Ended::Client(client));
        tokio::select! {
            biased;
            () = over => {}
            () = self.inner.env.clock.sleep_ms(ENDS_WAIT_MS_MAX) => {
                tracing::warn!(client, "some shards still hold state of an ended client");
            }
        }
    }

    /// Scans the other shards for clients and sessions that shard 0 does not know, for as long as
    /// this node lives, and removes their state.
    pub(crate) async fn scan_for_orphaned_state(self) {
        if self.is_one() {
            return;
        }
        let mut seen = vec![None; self.inner.all.len()];
        loop {
            self.inner.env.clock.sleep_ms(ORPHANED_SCAN_MS).await;
            if self.is_leader() {
                self.forget_orphaned(&mut seen).await;
            }
        }
    }

    /// One scan. Skips shards without changes since a scan that found nothing (`seen`).
    async fn forget_orphaned(&self, seen: &mut [Seen]) {
        let reign = self.reign();
        let mut found = Vec::new();
        for (shard, seen) in self.others().zip(seen.iter_mut().skip(1)) {
            let now = Some((self.first().applied_index(), self.replica(shard).applied_index()));
            if *seen == now {
                continue;
            }
            match self.orphaned(shard) {
                Ok(ended) if ended.is_empty() => *seen = now,
                Ok(ended) => found.push((shard, ended)),
                Err(error) => tracing::debug!(shard, %error, "shard cannot be scanned for orphaned state"),
            }
            tokio::task::yield_now().await;
        }
        let each = |(shard, ended): (u16, Vec<Ended>)| async move {
            tracing::info!(shard, ended = ended.len(), "orphaned state of ended clients and sessions");
            for ended in ended.into_iter().take(ORPHANED_MAX) {
                // The next scan finds what stays.
                if !matches!(self.forget_in(reign, shard, ended).await, Ok(true)) {
                    return;
                }
            }
        };
        stream::iter(found).for_each_concurrent(GOVERN_AT_ONCE, each).await;
    }

    /// Clients and sessions with state in a shard that shard 0 does not know.
    pub(super) fn orphaned(&self, shard: u16) -> Result<Vec<Ended>, ProposeError> {
        // In this order: shard 0 knew each of them before it had state there.
        let there = self.replica(shard).view()?;
        let clients = there.clients_with_state().map_err(|error| stopped(&error))?;
        let sessions = there.sessions_with_records().map_err(|error| stopped(&error))?;
        drop(there);
        let known = self.first().view()?;
        let mut ended = Vec::new();
        for client in clients {
            if known.client(client).map_err(|error| stopped(&error))?.is_none() {
                ended.push(Ended::Client(client));
            }
        }
        let gone: BTreeSet<Ended> = ended.iter().copied().collect();
        for session in sessions {
            let client = u64::from_be_bytes(*session.first_chunk().expect("a session's name has 16 bytes"));
            if !gone.contains(&Ended::Client(client))
                && known.session(&session).map_err(|error| stopped(&error))?.is_none()
            {
                ended.push(Ended::Session(session));
            }
        }
        Ok(ended)
    }
}

impl Ends {
    async fn over(&self, ended: Ended) {
        loop {
            let over = self.over.notified();
            tokio::pin!(over);
            // Enabled before the check, so that an end in between wakes it.
            over.as_mut().enable();
            if !self.under_way.lock().contains(&ended) {
                return;
            }
            over.await;
        }
    }
}

/// An end that is under way until this is dropped.
struct Over<'a> {
    ends: &'a Ends,
    ended: Ended,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.ends.under_way.lock().remove(&self.ended);
        self.ends.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
