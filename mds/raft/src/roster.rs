//! Plans a shard's members, and its leader's next change. Sans-io.
//!
//! Shard 0 has the list of nodes. A node to be readmitted is a learner of it, under its new name:
//! in every other shard it replaces the voter with its number, and at last in shard 0. A node that
//! joins is a learner of shard 0 with a number of its own.
//!
//! INVARIANT: a shard has as many voters as before, and a voter is removed only by the change that
//! adds another.
//! Spec: docs/protocol/raft.md §Taking a node in again, §Joining.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::identity::number_of;
use crate::engine::type_config::NodeId;
use crate::liveness::line;

/// The members of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// The voters; two sets while one replaces the other.
    pub(crate) voters: Vec<BTreeSet<NodeId>>,
    /// Members that get all entries and do not vote.
    pub(crate) learners: BTreeSet<NodeId>,
}

/// A shard's intended members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) learners: BTreeSet<NodeId>,
}

/// The next change that a shard's leader makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Adds a learner, and removes others with its number.
    Learn { node: NodeId, instead_of: BTreeSet<NodeId> },
    /// Makes these the voters, and removes those that they replace: nodes under former names.
    Rename(BTreeSet<NodeId>),
    /// Makes these the voters. Former voters stay as learners.
    Vote(BTreeSet<NodeId>),
    /// Removes these members.
    Forget(BTreeSet<NodeId>),
}

impl Plan {
    fn has(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.learners.contains(&id)
    }
}

impl Members {
    /// Whether this node is a member.
    pub(crate) fn has(&self, id: NodeId) -> bool {
        self.learners.contains(&id) || self.voters.iter().any(|voters| voters.contains(&id))
    }

    /// Of shard 0: a shard's intended members. As many vote as in shard 0: the first ones in the
    /// shard's line. The others are learners, so that the leader of shard 0 has replicas of all.
    pub(crate) fn plan(&self, shard: usize) -> Plan {
        let Some(first) = self.voters.last() else {
            return Plan { voters: BTreeSet::new(), learners: BTreeSet::new() };
        };
        // Learners last: they replace the voter with their number.
        let nodes: BTreeMap<u64, NodeId> =
            first.iter().chain(&self.learners).map(|id| (number_of(*id), *id)).collect();
        let numbers: Vec<u64> = nodes.keys().copied().collect();
        let voting: Vec<u64> = match shard {
            0 => first.iter().map(|id| number_of(*id)).collect(),
            _ => line(&numbers, shard).take(first.len()).collect(),
        };
        let (voters, learners) =
            nodes.into_iter().partition::<BTreeMap<_, _>, _>(|(number, _)| voting.contains(number));
        let plan =
            Plan { voters: voters.into_values().collect(), learners: learners.into_values().collect() };
        assert!(plan.voters.len() <= first.len(), "no more nodes vote than in shard 0");
        assert!(plan.voters.is_disjoint(&plan.learners), "a voter is no learner");
        plan
    }

    /// Whether a change is between its two steps.
    pub(crate) fn is_joint(&self) -> bool {
        1 < self.voters.len()
    }

    /// Whether all nodes have the names they should have, whatever else must change.
    pub(crate) fn has_names_of(&self, plan: &Plan) -> bool {
        !self.is_joint() && !matches!(self.next(plan), Some(Change::Learn { .. } | Change::Rename(_)))
    }

    /// Whether a node has this name here, and no other.
    pub(crate) fn has_only_name(&self, id: NodeId) -> bool {
        let is_other = |other: &NodeId| number_of(*other) == number_of(id) && *other != id;
        self.has(id) && !self.voters.iter().flatten().any(is_other)
    }

    /// Whether a node has in this shard what it should have, whatever others have.
    pub(crate) fn is_as_for(&self, plan: &Plan, id: NodeId) -> bool {
        let votes = self.voters.last().is_some_and(|voters| voters.contains(&id));
        !self.is_joint() && self.has_only_name(id) && (votes || !plan.voters.contains(&id))
    }

    /// These voters; a learner whose name is not ready yet is replaced by the voter with its
    /// number.
    pub(crate) fn renamed(
        &self,
        voters: &BTreeSet<NodeId>,
        is_ready: impl Fn(NodeId) -> bool,
    ) -> BTreeSet<NodeId> {
        let last = self.voters.last();
        let now = |number| last.into_iter().flatten().find(|id| number_of(**id) == number).copied();
        let name = |id: &NodeId| match self.learners.contains(id) && !is_ready(*id) {
            true => now(number_of(*id)).unwrap_or(*id),
            false => *id,
        };
        let renamed: BTreeSet<NodeId> = voters.iter().map(name).collect();
        assert!(renamed.len() <= voters.len(), "a node votes under one name");
        renamed
    }

    /// The next voters on the way to these: of the new ones those that are ready. Voters that must
    /// leave make room for them, first those that are down; the others stay until their own
    /// successors are ready.
    pub(crate) fn voting(
        &self,
        voters: &BTreeSet<NodeId>,
        is_ready: impl Fn(NodeId) -> bool,
        is_there: impl Fn(NodeId) -> bool,
    ) -> BTreeSet<NodeId> {
        let Some(now) = self.voters.last() else { return BTreeSet::new() };
        let mut next: BTreeSet<NodeId> =
            voters.iter().copied().filter(|id| now.contains(id) || is_ready(*id)).collect();
        let numbers: BTreeSet<u64> = next.iter().map(|id| number_of(*id)).collect();
        let goes = |id: &NodeId| !voters.contains(id) && !numbers.contains(&number_of(*id));
        let mut going: Vec<NodeId> = now.iter().copied().filter(goes).collect();
        going.sort_by_key(|id| !is_there(*id));
        next.extend(going.into_iter().take(voters.len().saturating_sub(numbers.len())));
        assert!(next.len() <= voters.len(), "no more nodes vote than should");
        next
    }

    /// The next change towards the plan; `None` if there is none.
    pub(crate) fn next(&self, plan: &Plan) -> Option<Change> {
        let voters = match &self.voters[..] {
            [voters] => voters,
            // A leader died between the two steps of a change.
            [old @ .., last] => return Some(Self::finish(old, last)),
            [] => return None,
        };
        if let Some(node) = plan.voters.iter().chain(&plan.learners).find(|id| !self.has(**id)) {
            return Some(self.learn(*node));
        }
        let named: BTreeMap<u64, NodeId> =
            plan.voters.iter().chain(&plan.learners).map(|id| (number_of(*id), *id)).collect();
        let renamed: BTreeSet<NodeId> =
            voters.iter().map(|id| named.get(&number_of(*id)).copied().unwrap_or(*id)).collect();
        assert!(renamed.len() <= voters.len(), "a node has one name");
        if renamed != *voters {
            return Some(Change::Rename(renamed));
        }
        if *voters != plan.voters {
            return Some(Change::Vote(plan.voters.clone()));
        }
        let others: BTreeSet<NodeId> = self.learners.iter().copied().filter(|id| !plan.has(*id)).collect();
        (!others.is_empty()).then_some(Change::Forget(others))
    }

    /// The second step of a change. Removes replaced names, since in shard 0 a learner's name would
    /// count for more than a voter's; other former voters stay as learners.
    fn finish(old: &[BTreeSet<NodeId>], last: &BTreeSet<NodeId>) -> Change {
        let numbers: BTreeSet<u64> = last.iter().map(|id| number_of(*id)).collect();
        let stays = |id: &NodeId| numbers.contains(&number_of(*id));
        assert!(!last.is_empty(), "a change leaves voters");
        match old.iter().flatten().all(stays) {
            true => Change::Rename(last.clone()),
            false => Change::Vote(last.clone()),
        }
    }

    /// Adds a learner. Removes learners with its number.
    pub(crate) fn learn(&self, node: NodeId) -> Change {
        let same = |id: &&NodeId| number_of(**id) == number_of(node);
        Change::Learn { node, instead_of: self.learners.iter().filter(same).copied().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u64, mark: u64) -> NodeId {
        mark << 16 | number
    }

    fn members(voters: &[&[NodeId]], learners: &[NodeId]) -> Members {
        Members {
            voters: voters.iter().map(|ids| ids.iter().copied().collect()).collect(),
            learners: learners.iter().copied().collect(),
        }
    }

    fn is_as(members: &Members, plan: &Plan) -> bool {
        matches!(&members.voters[..], [voters] if *voters == plan.voters) && members.learners == plan.learners
    }

    const OLD: [NodeId; 3] = [id(1, 7), id(2, 7), id(3, 7)];
    const NEW: [NodeId; 3] = [id(1, 7), id(2, 7), id(3, 9)];

    fn learn(node: NodeId, instead_of: &[NodeId]) -> Option<Change> {
        Some(Change::Learn { node, instead_of: instead_of.iter().copied().collect() })
    }

    #[test]
    fn a_new_name_takes_the_place_of_the_old_one() {
        let first = members(&[&OLD], &[id(3, 9)]);
        for shard in 0..4 {
            let plan = first.plan(shard);
            assert_eq!((&plan.voters, plan.learners.len()), (&NEW.into(), 0));
            let steps = [
                (members(&[&OLD], &[]), learn(id(3, 9), &[])),
                (members(&[&OLD], &[id(3, 9)]), Some(Change::Rename(NEW.into()))),
                (members(&[&OLD, &NEW], &[]), Some(Change::Rename(NEW.into()))),
                (members(&[&NEW], &[id(3, 7)]), Some(Change::Forget([id(3, 7)].into()))),
                (members(&[&NEW], &[]), None),
            ];
            for (shard, step) in steps {
                assert_eq!(shard.next(&plan), step);
                assert_eq!(is_as(&shard, &plan), step.is_none());
            }
        }
        // Shard 0 waits for the names in all others, not for their voters.
        let plan = members(&[&OLD], &[id(3, 9), id(4, 5)]).plan(3);
        let named = |voters: &[&[NodeId]], learners: &[NodeId]| members(voters, learners).has_names_of(&plan);
        assert!(named(&[&NEW], &[id(3, 7), id(4, 5)]));
        assert!(!named(&[&OLD], &[id(3, 9), id(4, 5)]) && !named(&[&OLD], &[id(4, 5)]));
        assert!(!named(&[&OLD, &NEW], &[id(4, 5)]));
        let done = members(&[&NEW], &[]);
        assert!(is_as(&done, &done.plan(0)) && is_as(&done, &done.plan(5)) && !done.has(id(3, 7)));
    }

    #[test]
    fn a_node_that_loses_its_disk_twice_gets_its_last_name() {
        let between = members(&[&OLD], &[id(3, 9)]);
        assert_eq!(Some(between.learn(id(3, 4))), learn(id(3, 4), &[id(3, 9)]));
        let plan = members(&[&OLD], &[id(3, 4)]).plan(1);
        // A shard that has the intermediate name, as a learner or as a voter.
        assert_eq!(between.next(&plan), learn(id(3, 4), &[id(3, 9)]));
        assert_eq!(members(&[&NEW], &[id(3, 7)]).next(&plan), learn(id(3, 4), &[id(3, 7)]));
    }

    #[test]
    fn shards_move_to_a_node_that_joins() {
        let first = members(&[&OLD], &[id(4, 5)]);
        assert!(is_as(&first, &first.plan(0)), "shard 0 keeps its voters");
        let plans: Vec<Plan> = (1..257).map(|shard| first.plan(shard)).collect();
        for (plan, shard) in plans.iter().zip(1..) {
            assert_eq!((plan.voters.len(), plan.learners.len()), (3, 1));
            let lead = line(&[1, 2, 3, 4], shard).next().unwrap();
            assert!(plan.voters.iter().any(|id| number_of(*id) == lead), "its preferred leader votes");
        }
        for node in OLD.into_iter().chain([id(4, 5)]) {
            let votes = plans.iter().filter(|plan| plan.voters.contains(&node)).count();
            assert!((180..205).contains(&votes), "{votes} of 192");
        }
        let plan = plans.iter().find(|plan| plan.learners.contains(&id(1, 7))).unwrap();
        let mut shard = members(&[&OLD], &[]);
        assert_eq!(shard.next(plan), learn(id(4, 5), &[]));
        shard.learners.insert(id(4, 5));
        assert_eq!(shard.next(plan), Some(Change::Vote(plan.voters.clone())));
        let half = Members { voters: vec![OLD.into(), plan.voters.clone()], learners: BTreeSet::new() };
        assert_eq!(half.next(plan), Some(Change::Vote(plan.voters.clone())), "a former voter stays a member");
        let shard = Members { voters: vec![plan.voters.clone()], learners: [id(1, 7)].into() };
        assert_eq!(shard.next(plan), None);
        // The node loses its disk meanwhile.
        let plan = members(&[&OLD], &[id(4, 6)]).plan(3);
        let shard = members(&[&[id(1, 7), id(2, 7), id(4, 5)]], &[id(3, 7), id(4, 6)]);
        assert_eq!(shard.next(&plan), Some(Change::Rename([id(1, 7), id(2, 7), id(4, 6)].into())));
    }

    /// Of two nodes to readmit one is down: the other gets its vote back.
    #[test]
    fn a_node_that_is_down_does_not_keep_another_from_its_vote() {
        let (third, second) = (id(3, 9), id(2, 8));
        let shard = members(&[&OLD], &[third, second]);
        let Some(Change::Rename(both)) = shard.next(&shard.plan(0)) else { panic!("both should vote") };
        assert_eq!(both, [id(1, 7), second, third].into());
        let one = shard.renamed(&both, |id| id == third);
        assert_eq!(one, NEW.into());
        assert_eq!(shard.renamed(&both, |_| false), OLD.into());
        let after = Members { voters: vec![one], learners: [second].into() };
        assert!(after.is_as_for(&after.plan(0), third) && !after.is_as_for(&after.plan(0), second));
        assert!(after.has_only_name(third) && !after.has_only_name(second));
        let half = members(&[&OLD, &NEW], &[]);
        assert!(!half.is_as_for(&half.plan(0), third), "the old name still votes");
    }

    /// Of two new voters one is down: the other replaces a voter that is down.
    #[test]
    fn a_ready_node_votes_while_another_is_down() {
        let [first, third, fourth, fifth] = [id(1, 7), id(3, 7), id(4, 5), id(5, 6)];
        let (second, renamed) = (id(2, 7), id(2, 8));
        let shard = members(&[&[first, third, fourth]], &[renamed, fifth]);
        let plan = BTreeSet::from([first, renamed, fifth]);
        let all = |_| true;
        assert_eq!(shard.voting(&plan, all, all), plan);
        assert_eq!(shard.voting(&plan, |_| false, all), shard.voters[0]);
        assert_eq!(
            shard.voting(&plan, |id| id == renamed, |id| id != third),
            [first, renamed, fourth].into()
        );
        assert_eq!(
            shard.voting(&plan, |id| id == renamed, |id| id != fourth),
            [first, renamed, third].into()
        );
        // The node whose disk is lost makes room for one that joined, though it may come back under
        // its new name.
        let shard = members(&[&[first, second, fourth]], &[renamed, third, fifth]);
        let plan = BTreeSet::from([first, renamed, fifth]);
        assert_eq!(shard.voting(&plan, |id| id == fifth, |id| id != second), [first, fourth, fifth].into());
        // Its new name replaces its own voter, not another.
        assert_eq!(shard.voting(&plan, |id| id == renamed, all), [first, renamed, fourth].into());
    }

    #[test]
    fn a_shard_that_has_not_begun_needs_no_change() {
        assert_eq!(Members::default().next(&members(&[&OLD], &[]).plan(1)), None);
        assert_eq!(Members::default().plan(1).voters.len(), 0);
    }
}
