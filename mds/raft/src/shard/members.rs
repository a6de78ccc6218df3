//! A shard's members: begun with all nodes, and changed by its leader.

use std::collections::BTreeMap;

use openraft::ChangeMembers;

use super::*;
use crate::engine::identity::number_of;
use crate::engine::type_config::NodeId;
use crate::limits::LEARNER_LAG_MAX;
use crate::nodes::Known;
use crate::roster::{Change, Members};

impl Shard {
    /// Whether the shard has begun, as far as this replica knows.
    pub(crate) async fn has_begun(&self) -> Result<bool, StartError> {
        let begun = self.inner.raft.is_initialized().await;
        begun.map_err(|error| StartError::Raft(error.to_string()))
    }

    /// Begins the shard with these nodes, unless it has begun.
    ///
    /// INVARIANT: one node does this for a shard, and only once all others have reported that they
    /// know nothing of it.
    pub(crate) async fn initialize(&self, nodes: &[NodeId]) -> Result<(), StartError> {
        assert!(nodes.contains(&self.inner.host.id), "a node begins shards that it votes in");
        let nodes: BTreeMap<NodeId, BasicNode> = nodes.iter().map(|id| (*id, self.node_at(*id))).collect();
        match self.inner.raft.initialize(nodes).await {
            Err(error @ RaftError::Fatal(_)) => Err(StartError::Raft(error.to_string())),
            // The shard had begun before this node restarted.
            Ok(()) | Err(RaftError::APIError(_)) => Ok(()),
        }
    }

    fn node_at(&self, id: NodeId) -> BasicNode {
        BasicNode::new(self.address_of(number_of(id)))
    }

    /// Of shard 0: the nodes and their addresses, in the order of their numbers; empty if it has
    /// not begun.
    pub(crate) fn nodes(&self) -> Vec<Known> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let nodes = metrics.membership_config.nodes();
        let nodes: BTreeMap<u64, String> =
            nodes.map(|(id, node)| (number_of(*id), node.addr.clone())).collect();
        nodes.into_iter().collect()
    }

    /// Its members, as far as this replica knows.
    pub(crate) fn members(&self) -> Members {
        self.members_if_applied().0
    }

    /// Its committed members: the entry that set them is applied here. `None` if it is not: until
    /// it is committed the former members count, too, and it may be lost with its leader.
    pub(crate) fn members_for_good(&self) -> Option<Members> {
        let (members, is_applied) = self.members_if_applied();
        is_applied.then_some(members)
    }

    fn members_if_applied(&self) -> (Members, bool) {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let stored = &metrics.membership_config;
        let voters = stored.membership().get_joint_config().iter().filter(|voters| !voters.is_empty());
        let learners = stored.membership().learner_ids().collect();
        let members = Members { voters: voters.cloned().collect(), learners };
        (members, *stored.log_id() <= metrics.last_applied)
    }

    /// Whether this node is a member.
    pub(crate) fn has_this_node(&self) -> bool {
        self.members().has(self.inner.host.id)
    }

    /// Whether this node is a committed member: the entry that set it is applied here. An entry
    /// that is not may be lost with its leader, whose successor then does not know this node.
    pub(crate) fn has_admitted_this_node(&self) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = &metrics.membership_config;
        let is_in = membership.membership().get_node(&self.inner.host.id).is_some();
        is_in && *membership.log_id() <= metrics.last_applied
    }

    /// Updates whether this replica votes. Read for every shard at each heartbeat.
    pub(crate) fn update_vote(&self) {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut voters = metrics.membership_config.membership().get_joint_config().iter();
        self.inner.votes.store(voters.any(|voters| voters.contains(&self.inner.host.id)), Ordering::Release);
    }

    /// Whether a node has nearly all entries of this leader.
    fn follow_closely(&self, id: NodeId) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (Some(replication), last) = (&metrics.replication, metrics.last_log_index.unwrap_or(0)) else {
            return false;
        };
        let matched = replication.get(&id).copied().flatten();
        matched.is_some_and(|matched| last <= matched.index() + LEARNER_LAG_MAX)
    }

    /// Whether a node is up. Nodes of a cluster with one shard have only that shard's heartbeats.
    pub(crate) fn is_there(&self, number: u64) -> bool {
        self.inner.host.is_alive(number) || self.answers(number)
    }

    /// Whether a voter is up, under the name that it has here.
    fn votes_on(&self, members: &Members, voter: NodeId) -> bool {
        let is_new_name = |id: &NodeId| number_of(*id) == number_of(voter) && *id != voter;
        self.is_there(number_of(voter)) && !members.learners.iter().any(is_new_name)
    }

    /// Whether a node may become a voter now: it is up and follows closely. The entries of a dead
    /// node do not show that it comes back.
    fn is_ready(&self, id: NodeId) -> bool {
        self.is_there(number_of(id)) && self.follow_closely(id)
    }

    /// Whether a majority of these is up.
    fn most_are_there(&self, members: &Members, voters: &BTreeSet<NodeId>) -> bool {
        voters.len() < 2 * voters.iter().filter(|id| self.votes_on(members, **id)).count()
    }

    /// These voters under the names that can vote now.
    pub(crate) fn renamed(&self, members: &Members, voters: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        members.renamed(voters, |id| self.is_ready(id))
    }

    /// Makes a change, if it can be made now: a new voter must be up and follow closely. Only on
    /// the leader.
    ///
    /// # Errors
    /// See [`ProposeError`]; none, half or all of it was done.
    pub(crate) async fn change_members(&self, change: Change) -> Result<(), ProposeError> {
        match change {
            Change::Learn { node, instead_of } => {
                let address = self.node_at(node).addr;
                if address.is_empty() {
                    return Ok(()); // Not yet known from shard 0; an address never changes afterwards.
                }
                self.learn_at(Change::Learn { node, instead_of }, &address).await
            }
            Change::Forget(nodes) => self.change(ChangeMembers::RemoveNodes(nodes), true).await,
            Change::Rename(voters) => {
                let members = self.members();
                if members.is_joint() {
                    // Ends a change that was begun.
                    return self.change(ChangeMembers::ReplaceAllVoters(voters), false).await;
                }
                let voters = self.renamed(&members, &voters);
                if members.voters.last() == Some(&voters) || !self.most_are_there(&members, &voters) {
                    return Ok(());
                }
                assert!(!voters.is_empty(), "a shard has voters");
                self.change(ChangeMembers::ReplaceAllVoters(voters), false).await
            }
            Change::Vote(voters) => {
                let members = self.members();
                let voters = match members.is_joint() {
                    true => voters,
                    false => {
                        members.voting(&voters, |id| self.is_ready(id), |id| self.votes_on(&members, id))
                    }
                };
                if !members.is_joint()
                    && (members.voters.last() == Some(&voters) || !self.most_are_there(&members, &voters))
                {
                    return Ok(());
                }
                let stays = |number: &u64| {
                    let mut old = voters.iter().filter(|id| !members.learners.contains(id));
                    old.any(|id| number_of(*id) == *number) && self.answers(*number)
                };
                if !voters.contains(&self.inner.host.id)
                    && let Some(heir) = self.caught_up().into_iter().find(stays)
                {
                    // A leader does not remove its own vote: a voter that stays continues.
                    self.transfer(heir).await;
                    return Ok(());
                }
                assert!(!voters.is_empty(), "a shard has voters");
                self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
            }
        }
    }

    /// Adds a learner at an address. Not between the two steps of another change: the engine would
    /// end that, and keep members that the change removes.
    ///
    /// # Errors
    /// As [`change_members`](Self::change_members).
    pub(crate) async fn learn_at(&self, learn: Change, address: &str) -> Result<(), ProposeError> {
        let Change::Learn { node, instead_of } = learn else { return Ok(()) };
        if self.members().is_joint() {
            return Err(ProposeError::Unavailable);
        }
        let learner = ChangeMembers::AddNodes(BTreeMap::from([(node, BasicNode::new(address))]));
        self.change(ChangeMembers::Batch(vec![ChangeMembers::RemoveNodes(instead_of), learner]), true).await
    }

    /// `retain`: former voters stay as learners.
    async fn change(
        &self,
        changes: ChangeMembers<NodeId, BasicNode>,
        retain: bool,
    ) -> Result<(), ProposeError> {
        self.note_activity();
        self.wake().await;
        let changed = async {
            match self.inner.raft.change_membership(changes, retain).await {
                Ok(_) => Ok(()),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                    Err(ProposeError::NotLeader { leader: None })
                }
                Err(RaftError::APIError(_)) => Err(ProposeError::Unavailable),
                Err(error @ RaftError::Fatal(_)) => Err(ProposeError::Stopped(error.to_string())),
            }
        };
        tokio::select! {
            biased;
            changed = changed => changed,
            () = self.inner.host.env.clock.sleep_ms(PROPOSE_MS_MAX) => Err(ProposeError::Timeout),
        }
    }
}
