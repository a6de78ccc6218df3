//! Leadership: whether this replica leads, in which term, changes of the leader, and handing over.

use std::sync::atomic::Ordering;

use openraft::async_runtime::{Instant as _, WatchReceiver};

use crate::engine::caller::Caller;
use crate::engine::identity::number_of;
use crate::handles::{Shard, ShardInner};

impl Shard {
    /// Whether this replica leads, as far as it knows: a majority has answered it within the lease.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leading_term().is_some()
    }

    /// The term in which this replica leads, as far as it knows. If the number changes, other nodes
    /// may have led meanwhile.
    #[must_use]
    pub fn leading_term(&self) -> Option<u64> {
        let ShardInner { host, raft, .. } = &*self.inner;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let (vote, acked) = (metrics.vote, metrics.last_quorum_acked);
        drop(metrics);
        // The engine reports the leader in two places, one after the other: the later one counts.
        let leads = self.leads_engine() && self.inner.server.borrow_watched().vote == vote;
        let term = vote.leader_id.term;
        if !leads || self.inner.handed_over.load(Ordering::Acquire) == term {
            return None;
        }
        // The governor uses what it has read only while this reports that it leads. So it does only
        // while there is no successor, as for reads.
        let age_max = self.inner.lease.age_max(&*host.env.clock);
        let holds = host.config.is_alone()
            || acked.is_some_and(|acked| acked.elapsed() < age_max)
            || self.inner.hibernates.load(Ordering::Acquire) && host.is_held(self.inner.number);
        holds.then_some(term)
    }

    /// The term of its engine's vote.
    pub(super) fn engine_term(&self) -> u64 {
        self.inner.server.borrow_watched().vote.leader_id.term
    }

    /// The highest term that this replica knows: nothing is proposed here in an earlier one any
    /// more.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.inner.raft.metrics().borrow_watched().current_term
    }

    /// The leader's number and address, if known.
    #[must_use]
    pub fn leader(&self) -> Option<(u64, String)> {
        let leader = number_of(self.inner.raft.metrics().borrow_watched().current_leader?);
        Some((leader, self.address_of(leader)))
    }

    /// Whether another replica leads, as far as this one knows.
    #[must_use]
    pub fn another_leads(&self) -> bool {
        let leader = self.inner.raft.metrics().borrow_watched().current_leader;
        leader.is_some_and(|leader| number_of(leader) != self.inner.host.config.id)
    }

    /// Returns when the leader or its term may have changed, or the engine has stopped. An expired
    /// lease is no change.
    pub async fn leader_changed(&self) {
        let mut metrics = self.inner.raft.server_metrics();
        let (leader, vote) = (metrics.borrow_watched().current_leader, metrics.borrow_watched().vote);
        // The first notification may be an old one.
        while metrics.changed().await.is_ok() {
            let now = metrics.borrow_watched();
            if (now.current_leader, &now.vote) != (leader, &vote) {
                return;
            }
        }
    }

    /// Hands leadership to a replica that has all entries; false if this one still leads after a
    /// while.
    pub async fn hand_over(&self) -> bool {
        self.give_up().await;
        !self.leads_engine()
    }

    /// As [`hand_over`](Self::hand_over), except to these nodes. Returns the node that was asked to
    /// lead.
    pub async fn hand_over_but(&self, but: &[u64]) -> Option<u64> {
        self.give_up_but(but).await
    }

    /// Reports the clients of the service addresses here to the other members, if this replica
    /// leads in `term`; and keeps reporting.
    pub fn tell_callers(&self, term: u64, callers: Vec<Caller>) {
        self.inner.host.callers.set_callers(term, callers);
    }

    /// Stops these reports.
    pub fn stop_telling_callers(&self) {
        self.inner.host.callers.stop_reporting();
    }

    /// Clients of the service addresses, as the last leader reported them to this member.
    #[must_use]
    pub fn callers(&self) -> Vec<Caller> {
        self.inner.host.callers.reported()
    }
}
