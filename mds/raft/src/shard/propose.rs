//! Puts commands into the log: here, if this replica leads, or will lead again in a moment.
//!
//! INVARIANT: an entry bound to a term is not appended in another one.

use openraft::errors::Fatal;
use openraft::impls::OneshotResponder;
use openraft::raft::ClientWriteResponse;

use super::*;
use crate::clocks::following;
use crate::limits::PROPOSE_RETRIES_MAX;

impl Shard {
    /// Puts a command into the log and returns its outcome, once it is durable on a majority and
    /// applied here. Shards other than 0 accept it at any replica: a follower has the leader
    /// propose it.
    ///
    /// # Errors
    /// See [`ProposeError`]. A command that was carried out and refused is an
    /// `Ok(Outcome::Refused)`.
    pub async fn propose(&self, origin: Option<Origin>, command: Command) -> Result<Outcome, ProposeError> {
        let encoded = self.encode(0, origin, command)?;
        self.put(encoded, None).await
    }

    /// As [`propose`](Self::propose), for a command that no client waits for. Without replicas it
    /// is flushed with the next entry that a client waits for, or a moment later
    /// (docs/adr/0004-close-is-not-waited-for.md).
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    pub async fn propose_unhurried(
        &self,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        let encoded = self.encode(0, origin, command)?;
        self.put(encoded.unhurried(), None).await
    }

    /// As [`propose`](Self::propose), to shard 0, for a command based on what this replica read
    /// while it led in a term. In another term other nodes may have changed that, and the command
    /// must not be appended.
    ///
    /// # Errors
    /// As [`propose`](Self::propose); [`ProposeError::NotLeader`] if this replica leads in another
    /// term, or does not lead.
    pub async fn propose_in(
        &self,
        term: u64,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        let encoded = self.encode(0, origin, command)?;
        self.put(encoded, Some(term)).await
    }

    /// As [`propose`](Self::propose), to a shard other than 0, from the node that governs all in
    /// this term (docs/protocol/shards.md §2).
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    pub async fn propose_as(
        &self,
        governor: u64,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        let encoded = self.encode(governor, origin, command)?;
        self.put(encoded, None).await
    }

    fn encode(
        &self,
        governor: u64,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<EncodedEntry, ProposeError> {
        let entry = Entry { now_unix_ns: self.stamp(), origin, governor, command };
        EncodedEntry::encode(&entry).map_err(|_| ProposeError::TooLong)
    }

    async fn put(&self, encoded: EncodedEntry, term: Option<u64>) -> Result<Outcome, ProposeError> {
        let Ok(_permit) = self.inner.proposals.try_acquire() else { return Err(ProposeError::Unavailable) };
        self.note_activity();
        let written = async {
            match self.inner.number {
                // Clients connect to the leader of shard 0 themselves.
                0 => self.write(encoded, term).await.map(|(outcome, _)| outcome),
                _ => self.write_anywhere(encoded).await,
            }
        };
        tokio::select! {
            biased;
            outcome = written => outcome,
            () = self.inner.host.env.clock.sleep_ms(PROPOSE_MS_MAX) => Err(ProposeError::Timeout),
        }
    }

    /// Proposes here, only in `term` if there is one; returns the outcome and its log index.
    pub(super) async fn write(
        &self,
        encoded: EncodedEntry,
        term: Option<u64>,
    ) -> Result<(Outcome, u64), ProposeError> {
        let mut retries = 0;
        loop {
            self.wake().await;
            match self.write_once(encoded.clone(), term).await {
                Ok(written) => return Ok((written.data.0, written.log_id.index())),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                    self.not_leading(&forward, term, &mut retries).await?;
                }
                // The entry was discarded with a leader's term; another leader may still append it.
                Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                    return Err(ProposeError::Timeout);
                }
                Err(error) => return Err(ProposeError::Stopped(error.to_string())),
            }
        }
    }

    /// The engine compares the term when it appends the entry.
    async fn write_once(
        &self,
        encoded: EncodedEntry,
        term: Option<u64>,
    ) -> Result<ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>> {
        let Some(term) = term else { return self.inner.raft.client_write(encoded).await };
        let (responder, written) = OneshotResponder::new_pair();
        let queued = self.inner.raft.write(encoded).with_leader(term).responder(responder).await;
        queued.map_err(RaftError::Fatal)?;
        match written.await {
            Ok(written) => written.map_err(RaftError::APIError),
            Err(_) => Err(RaftError::Fatal(Fatal::Stopped)),
        }
    }

    /// Waits if this node may lead again in a moment, in `term` if there is one: an election is
    /// running, or a leader's lease has just run out.
    pub(super) async fn not_leading(
        &self,
        forward: &ForwardToLeader<Types>,
        term: Option<u64>,
        retries: &mut u32,
    ) -> Result<(), ProposeError> {
        let is_over = |term| self.inner.server.borrow_watched().vote.leader_id.term != term;
        match forward.leader_id {
            Some(leader) if leader != self.inner.host.id => {
                let leader = number_of(leader);
                Err(ProposeError::NotLeader { leader: Some((leader, self.address_of(leader))) })
            }
            _ if *retries == PROPOSE_RETRIES_MAX || term.is_some_and(is_over) => {
                Err(ProposeError::NotLeader { leader: None })
            }
            _ => {
                assert!(*retries < PROPOSE_RETRIES_MAX, "retries of a proposal are bounded");
                *retries += 1;
                self.inner.host.env.clock.sleep_ms(self.inner.host.config.heartbeat_ms / 2 + 1).await;
                Ok(())
            }
        }
    }

    fn stamp(&self) -> u64 {
        let now_ns = self.inner.host.wall_ns();
        let next = |last_ns| Some(following(last_ns, now_ns));
        let last = self.inner.clock_unix_ns.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        // The closure always returns the next time.
        following(last.unwrap_or(now_ns), now_ns)
    }
}
