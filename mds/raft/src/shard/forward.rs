//! Proposals and reads at a follower: it queries the leader, and waits until it has applied as
//! much.
//!
//! For shards other than 0, which the governor's node need not lead (docs/protocol/shards.md §2).
//!
//! INVARIANT: an entry is sent again only when it is known that nothing was done.

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;

use super::*;
use crate::engine::forward::{Proposal, Proposed, QueryIndex, ReadIndex};
use crate::engine::identity::number_of;
use crate::engine::message::{RaftProcedure, To};
use crate::engine::network::NotAnswered;

impl Shard {
    /// Proposes here if this replica leads, else through the leader. The entry is applied here when
    /// this returns its outcome.
    pub(super) async fn write_anywhere(&self, encoded: EncodedEntry) -> Result<Outcome, ProposeError> {
        for _ in 0..FORWARD_RETRIES_MAX {
            let leader = match self.write(encoded.clone(), None).await {
                Err(ProposeError::NotLeader { leader }) => leader,
                written => return written.map(|(outcome, _)| outcome),
            };
            if let Some((leader, addr)) = leader {
                let proposal = Proposal { entry: encoded.bytes.to_vec() };
                match self.call_leader(leader, &addr, RaftProcedure::Propose, &proposal).await {
                    Ok(Proposed::Done { index, outcome }) => {
                        self.applied(index).await?;
                        return Ok(*outcome);
                    }
                    Ok(Proposed::Refused) => return Err(ProposeError::Unavailable),
                    Ok(Proposed::Unknown) | Err(NotAnswered::Unknown) => return Err(ProposeError::Timeout),
                    Ok(Proposed::NotLeading) | Err(NotAnswered::NotSent) => {}
                }
            }
            self.pause().await;
        }
        Err(ProposeError::NotLeader { leader: None })
    }

    /// As [`read_barrier`](Self::read_barrier), for any replica of shard 0 as well.
    pub(crate) async fn pass_anywhere(&self) -> Result<(), ProposeError> {
        tokio::select! {
            biased;
            passed = self.linearize_anywhere() => passed,
            () = self.inner.host.env.clock.sleep_ms(PROPOSE_MS_MAX) => Err(ProposeError::Timeout),
        }
    }

    /// A read barrier here if this replica leads, else by the leader's read index.
    pub(super) async fn linearize_anywhere(&self) -> Result<(), ProposeError> {
        for _ in 0..FORWARD_RETRIES_MAX {
            let leader = match self.linearize().await {
                Err(ProposeError::NotLeader { leader }) => leader,
                passed => return passed,
            };
            if let Some((leader, addr)) = leader
                && let Ok(ReadIndex { index: Some(index) }) =
                    self.call_leader(leader, &addr, RaftProcedure::ReadIndex, &QueryIndex).await
            {
                return self.applied(index).await;
            }
            self.pause().await;
        }
        Err(ProposeError::NotLeader { leader: None })
    }

    async fn pause(&self) {
        let Host { env, config, .. } = &*self.inner.host;
        tokio::select! {
            biased;
            () = self.leader_changed() => env.clock.sleep_ms(1).await,
            () = env.clock.sleep_ms(config.heartbeat_ms / 2 + 1) => {}
        }
    }

    /// Calls the leader, for as long as it is known to lead: a hanging leader has a successor long
    /// before the call times out.
    async fn call_leader<R: serde::de::DeserializeOwned>(
        &self,
        leader: u64,
        addr: &str,
        procedure: RaftProcedure,
        message: &impl serde::Serialize,
    ) -> Result<R, NotAnswered> {
        let mut server = self.inner.raft.server_metrics();
        let another = server.wait_until(|server| server.current_leader.map(number_of) != Some(leader));
        tokio::select! {
            biased;
            answer = self.call_node(addr, procedure, message) => answer,
            _ = another => {
                tracing::info!(shard = self.inner.number, leader, "another node leads since the call to the leader");
                Err(NotAnswered::Unknown)
            }
        }
    }

    async fn call_node<R: serde::de::DeserializeOwned>(
        &self,
        addr: &str,
        procedure: RaftProcedure,
        message: &impl serde::Serialize,
    ) -> Result<R, NotAnswered> {
        let addr = addr.parse().map_err(|_| NotAnswered::NotSent)?;
        let shard = u32::try_from(self.inner.number).map_err(|_| NotAnswered::NotSent)?;
        self.inner.host.links.query(addr, To::shard(shard), procedure, message, PROPOSE_MS_MAX).await
    }

    /// Waits until the log is applied here up to an index. The caller bounds the time.
    async fn applied(&self, index: u64) -> Result<(), ProposeError> {
        if index <= self.inner.machine.applied_index.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut metrics = self.inner.raft.data_metrics();
        let applied = metrics.wait_until(|data| Some(index) <= data.last_applied.map(|id| id.index())).await;
        applied.map(drop).map_err(|_| ProposeError::Stopped("the engine has stopped".to_owned()))
    }

    /// Proposes an entry for another node's replica.
    pub(crate) async fn propose_for_follower(&self, proposal: Proposal) -> Proposed {
        let Ok(_permit) = self.inner.proposals.try_acquire() else { return Proposed::Refused };
        let encoded = EncodedEntry::from(Bytes::from(proposal.entry));
        // All replicas apply what is in the log: it must be an entry.
        if ENTRY_BYTES_MAX < encoded.bytes.len() || encoded.decode().is_err() {
            return Proposed::Refused;
        }
        self.note_activity();
        match self.write(encoded, None).await {
            Ok((outcome, index)) => Proposed::Done { index, outcome: Box::new(outcome) },
            Err(ProposeError::NotLeader { .. }) => Proposed::NotLeading,
            Err(_) => Proposed::Unknown,
        }
    }

    /// The index that another node's replica must apply before a read.
    pub(crate) async fn read_index(&self) -> ReadIndex {
        self.note_activity();
        let passed = self.linearize().await.is_ok();
        ReadIndex { index: passed.then(|| self.inner.machine.applied_index.load(Ordering::Acquire)) }
    }
}
