//! What has to do with who leads: whether this replica does, in which term, news of it, and handing it over.

use std::sync::atomic::Ordering;

use openraft::async_runtime::{Instant as _, WatchReceiver};

use super::{Inner, Shard};
use crate::raft::callers::Caller;
use crate::raft::identity::number_of;

impl Shard {
    /// Whether this replica leads, as far as it knows: a majority has answered it not long ago.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leading_term().is_some()
    }

    /// The term in which this replica leads, as far as it knows. Another number: others may have led meanwhile.
    #[must_use]
    pub fn leading_term(&self) -> Option<u64> {
        let Inner { host, raft, .. } = &*self.inner;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let (vote, acked) = (metrics.vote, metrics.last_quorum_acked);
        drop(metrics);
        // The engine says who leads in two places, one after the other: what the later one says counts.
        let leads = self.leads_engine() && self.inner.server.borrow_watched().vote == vote;
        let term = vote.leader_id.term;
        if !leads || self.inner.handed_over.load(Ordering::Acquire) == term {
            return None;
        }
        // Who governs uses what it has read only while this says that it leads: as for reads, it is said only while there is no successor.
        let age_max = self.inner.lease.age_max(&*host.env.clock);
        let holds = host.config.is_alone()
            || acked.is_some_and(|acked| acked.elapsed() < age_max)
            || self.inner.hibernates.load(Ordering::Acquire) && host.is_held(self.inner.number);
        holds.then_some(term)
    }

    /// The term of the vote that its engine goes by.
    pub(super) fn engine_term(&self) -> u64 {
        self.inner.server.borrow_watched().vote.leader_id.term
    }

    /// The highest term that this replica has heard of: in an earlier one nobody proposes here any more.
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

    /// Returns when something about who leads may have changed, or the engine has stopped. A lease that runs out is no change.
    pub async fn leader_changed(&self) {
        let mut metrics = self.inner.raft.server_metrics();
        let (leader, vote) = (metrics.borrow_watched().current_leader, metrics.borrow_watched().vote);
        // The first news may be old.
        while metrics.changed().await.is_ok() {
            let now = metrics.borrow_watched();
            if (now.current_leader, &now.vote) != (leader, &vote) {
                return;
            }
        }
    }

    /// Has another replica lead, one that has all entries; false if this one still leads after a while.
    pub async fn hand_over(&self) -> bool {
        self.give_up().await;
        !self.leads_engine()
    }

    /// The same, but none of these; who was asked to lead.
    pub async fn hand_over_but(&self, but: &[u64]) -> Option<u64> {
        self.give_up_but(but).await
    }

    /// Tells the other members who is connected to the service addresses here, if this replica leads in `term`; and goes on telling.
    pub fn tell_callers(&self, term: u64, callers: Vec<Caller>) {
        self.inner.host.callers.tell(term, callers);
    }

    /// Stops telling them.
    pub fn stop_telling_callers(&self) {
        self.inner.host.callers.fall_silent();
    }

    /// Who was connected to the service addresses, as the last leader told this member.
    #[must_use]
    pub fn callers(&self) -> Vec<Caller> {
        self.inner.host.callers.heard()
    }
}
