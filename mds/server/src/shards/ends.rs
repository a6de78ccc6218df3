//! The end of a client or a session, carried from shard 0 to the others.
//!
//! What was under way when it ended may be carried out behind it, and of some ends this node is not told: so it is also looked, now and
//! then, what the others have of those that shard 0 does not know.
//!
//! INVARIANT: when an end is applied here, nothing more is proposed to other shards for requests of whoever ended.
//! INVARIANT: who is forgotten had ended in shard 0: neither a client nor a session has the name of one before it.
//! Spec: docs/protocol/shards.md §6.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mds_shard::command::client::{ClientMade, ExchangeId, ExchangeIdAs, ExchangeIdFrom};
use mds_shard::command::governor::{ForgetClient, ForgetSession, Govern};
use mds_shard::record::Tally;
use mds_shard::{Command, Origin, Outcome, ProposeError, Refusal};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shards;
use super::govern::{AGAIN_MS, stopped};
use crate::limits::{ENDS_MAX, ENDS_WAIT_MS_MAX, GOVERN_AT_ONCE, LEFT_OVER_LOOK_MS, LEFT_OVER_MAX};

/// Who ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ended {
    /// A client, with all its sessions.
    Client(u64),
    /// A session.
    Session([u8; 16]),
}

/// Ends that the other shards are being told of.
#[derive(Default)]
pub(super) struct Ends {
    /// At most [`ENDS_MAX`].
    under_way: Mutex<BTreeSet<Ended>>,
    /// One of them is not any more.
    over: Notify,
}

/// Up to where the logs of shard 0 and of another one were carried out when nothing was found there.
type Seen = Option<(u64, u64)>;

/// Who ends by a command, if it names one.
pub(super) fn named(command: &Command) -> Option<Ended> {
    match command {
        Command::RemoveClient(asked) => Some(Ended::Client(asked.client)),
        Command::DestroySession(asked) => Some(Ended::Session(asked.session)),
        _ => None,
    }
}

impl Shards {
    /// Why nothing is done any more for a request. Other shards than the first know no sessions: they take this node's word.
    pub(super) fn outlived(&self, origin: &Origin) -> Result<Option<Refusal>, ProposeError> {
        let stored = self.first().view()?.session(&origin.session).map_err(|error| stopped(&error))?;
        Ok(match stored {
            Some(session) if session.tenure == origin.tenure => None,
            Some(_) => Some(Refusal::Superseded),
            None => Some(Refusal::UnknownSession),
        })
    }

    /// Why a command is not for shard 0 that asks whether a client is idle there: it is not so in another one.
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
        // What is left of one that is gone makes nobody busy.
        let is_known = self.first().view()?.client(client).map_err(|error| stopped(&error))?.is_some();
        Ok((is_known && self.holds_elsewhere_still(client).await?).then_some(refusal))
    }

    /// Whether a client holds anything in another shard when all that it was answered is carried out: a CLOSE may be answered before.
    async fn holds_elsewhere_still(&self, client: u64) -> Result<bool, ProposeError> {
        for shard in self.others() {
            if !self.holds_in(shard, client)? {
                continue;
            }
            if self.is_replicated() {
                // There CLOSE is waited for.
                return Ok(true);
            }
            // Behind everything that this node has given to the shard so far. The word is as it was, so nothing is refused for it.
            self.to(shard, None, Command::Govern(Govern)).await?;
            if self.holds_in(shard, client)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The client of another principal that goes if it holds nothing.
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

    /// Whether a client holds anything in another shard than the first.
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

    /// Who ended by a command that `named` one, and came to this in shard 0.
    pub(super) fn ended(&self, named: Option<Ended>, outcome: &Outcome) -> Vec<Ended> {
        let clients = |dropped: &[mds_shard::command::client::RemovedClient]| {
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
            // Those that were evicted never had anything.
            (Outcome::Client(answer) | Outcome::ClientMade(ClientMade { answer, .. }), _) => {
                let is_gone = |client: &u64| {
                    self.first().view().is_ok_and(|view| view.client(*client).is_ok_and(|one| one.is_none()))
                };
                answer.replaces.filter(is_gone).map(Ended::Client).into_iter().collect()
            }
            // It had ended before, and this node may not have been told.
            (Outcome::Refused(Refusal::StaleClient), Some(Ended::Client(client)))
                if self.holds_elsewhere(client).unwrap_or(true) =>
            {
                vec![Ended::Client(client)]
            }
            (Outcome::Done, Some(ended)) => vec![ended],
            _ => Vec::new(),
        }
    }

    /// Has all other shards forget, however often it takes and whether anybody waits or not.
    pub(super) fn begin_to_forget(&self, ended: Ended) {
        let mut under_way = self.inner.ends.under_way.lock();
        // Beyond the bound it is found as left over.
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

    /// Records of a session are in nobody's way: those that are still being written are found as left over.
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
                    tracing::warn!(shard, ?ended, %error, "an end is not carried on");
                    return;
                }
                // Should it come yet, it does no harm.
                Err(error) => tracing::debug!(shard, ?ended, %error, "an end is not carried on yet"),
            }
            // Whoever governs next finds it as left over, and so does this node if it goes on.
            if !self.leads_in(reign) {
                return;
            }
            self.inner.env.clock.sleep_ms(AGAIN_MS).await;
        }
    }

    /// Has a shard forget; false if its word was an old one.
    ///
    /// # Errors
    /// As [`mds_shard::Shard::propose`].
    pub(super) async fn forget_in(&self, reign: u64, shard: u16, ended: Ended) -> Result<bool, ProposeError> {
        let command = match ended {
            Ended::Client(client) => Command::ForgetClient(ForgetClient { client }),
            Ended::Session(session) => Command::ForgetSession(ForgetSession { session }),
        };
        match self.within(reign, shard, None, command).await? {
            Outcome::Removed(_) => {}
            Outcome::Refused(Refusal::Superseded) => return Ok(false),
            Outcome::Done => {}
            // To ask again would not help.
            outcome => tracing::error!(shard, ?ended, ?outcome, "a shard does not forget"),
        }
        Ok(true)
    }

    /// Returns when no shard is being told any more that a client ended, or that takes too long.
    pub(crate) async fn forgotten(&self, client: u64) {
        let over = self.inner.ends.over(Ended::Client(client));
        tokio::select! {
            biased;
            () = over => {}
            () = self.inner.env.clock.sleep_ms(ENDS_WAIT_MS_MAX) => {
                tracing::warn!(client, "a client that is gone is not forgotten by all shards yet");
            }
        }
    }

    /// Looks now and then, for as long as this node lives, what other shards have of those that shard 0 does not know, and has it
    /// forgotten.
    pub(crate) async fn look_for_left_over(self) {
        if self.is_one() {
            return;
        }
        let mut seen = vec![None; self.inner.all.len()];
        loop {
            self.inner.env.clock.sleep_ms(LEFT_OVER_LOOK_MS).await;
            if self.is_leader() {
                self.forget_left_over(&mut seen).await;
            }
        }
    }

    /// One look. Shards of which nothing has changed since nothing was `seen` there are passed over.
    async fn forget_left_over(&self, seen: &mut [Seen]) {
        let reign = self.reign();
        let mut found = Vec::new();
        for (shard, seen) in self.others().zip(seen.iter_mut().skip(1)) {
            let now = Some((self.first().applied_index(), self.replica(shard).applied_index()));
            if *seen == now {
                continue;
            }
            match self.left_over(shard) {
                Ok(ended) if ended.is_empty() => *seen = now,
                Ok(ended) => found.push((shard, ended)),
                Err(error) => tracing::debug!(shard, %error, "what is left over cannot be told"),
            }
            tokio::task::yield_now().await;
        }
        let each = |(shard, ended): (u16, Vec<Ended>)| async move {
            tracing::info!(shard, ended = ended.len(), "left over from clients and sessions that ended");
            for ended in ended.into_iter().take(LEFT_OVER_MAX) {
                // What stays is found by the next look.
                if !matches!(self.forget_in(reign, shard, ended).await, Ok(true)) {
                    return;
                }
            }
        };
        stream::iter(found).for_each_concurrent(GOVERN_AT_ONCE, each).await;
    }

    /// Who has anything in a shard and is not known to shard 0.
    pub(super) fn left_over(&self, shard: u16) -> Result<Vec<Ended>, ProposeError> {
        // In this order: whoever is found there was known to shard 0 before it had anything there.
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
            // Before it looks, so that what is over in between wakes it.
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
