//! Who should be in a shard, and what its leader does next about it. Sans-io.
//!
//! Shard 0 says who the nodes are: a node that is to be taken in again is a learner of it, under its new name. In every other shard it
//! takes the place of the voter with its number, and at last in shard 0.
//!
//! INVARIANT: a shard loses a voter only in the change that gives it the one with the same number.
//! Spec: docs/protocol/raft.md §Taking a node in again.

use std::collections::{BTreeMap, BTreeSet};

use crate::raft::NodeId;
use crate::raft::identity::number_of;

/// Who is in a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Those that vote; two sets while one takes the place of the other.
    pub(crate) voters: Vec<BTreeSet<NodeId>>,
    /// Those that are told everything and do not vote.
    pub(crate) learners: BTreeSet<NodeId>,
}

/// What a shard's leader does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Has a node told everything, instead of others with its number.
    Learn { node: NodeId, instead_of: BTreeSet<NodeId> },
    /// Has these vote.
    Vote(BTreeSet<NodeId>),
}

impl Members {
    /// Whether this is one of them.
    pub(crate) fn has(&self, id: NodeId) -> bool {
        self.learners.contains(&id) || self.voters.iter().any(|voters| voters.contains(&id))
    }

    /// Whether it votes, and nothing else is under way.
    pub(crate) fn has_voter(&self, id: NodeId) -> bool {
        matches!(&self.voters[..], [voters] if voters.contains(&id))
    }

    /// Of shard 0: the nodes as every shard should have them, by their numbers.
    pub(crate) fn wanted(&self) -> BTreeMap<u64, NodeId> {
        // Learners last: they take the place of the voter with their number.
        let voters = self.voters.last().into_iter().flatten();
        voters.chain(&self.learners).map(|id| (number_of(*id), *id)).collect()
    }

    /// The next thing to do so that the voters are as they should be.
    pub(crate) fn next(&self, wanted: &BTreeMap<u64, NodeId>) -> Option<Change> {
        let voters = match &self.voters[..] {
            [voters] => voters,
            // A leader was lost between the two steps of a change.
            [.., last] => return Some(Change::Vote(last.clone())),
            [] => return None,
        };
        let target: BTreeSet<NodeId> =
            voters.iter().map(|id| wanted.get(&number_of(*id)).copied().unwrap_or(*id)).collect();
        if target == *voters {
            return None;
        }
        match target.iter().find(|id| !self.has(**id)) {
            Some(node) => Some(self.learn(*node)),
            None => Some(Change::Vote(target)),
        }
    }

    /// Has a node told everything. Whoever had its number and does not vote is forgotten.
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

    const OLD: [NodeId; 3] = [id(1, 7), id(2, 7), id(3, 7)];
    const NEW: [NodeId; 3] = [id(1, 7), id(2, 7), id(3, 9)];

    #[test]
    fn a_new_name_takes_the_place_of_the_old_one() {
        let first = members(&[&OLD], &[id(3, 9)]);
        let wanted = first.wanted();
        assert_eq!(wanted[&3], id(3, 9));
        let mut shard = members(&[&OLD], &[]);
        let learn = Change::Learn { node: id(3, 9), instead_of: BTreeSet::new() };
        assert_eq!(shard.next(&wanted), Some(learn));
        shard.learners.insert(id(3, 9));
        assert_eq!(shard.next(&wanted), Some(Change::Vote(NEW.into())));
        assert_eq!(
            first.next(&wanted),
            Some(Change::Vote(NEW.into())),
            "shard 0 like the others, when they have it"
        );
        assert_eq!(members(&[&OLD, &NEW], &[]).next(&wanted), Some(Change::Vote(NEW.into())), "half done");
        let done = members(&[&NEW], &[]);
        assert_eq!(done.next(&wanted), None);
        assert_eq!(done.next(&done.wanted()), None);
        assert!(
            done.has_voter(id(3, 9))
                && !done.has(id(3, 7))
                && !members(&[&OLD, &NEW], &[]).has_voter(id(3, 9))
        );
    }

    #[test]
    fn who_loses_its_disk_twice_comes_under_its_last_name() {
        let first = members(&[&OLD], &[id(3, 9)]);
        let learn = Change::Learn { node: id(3, 4), instead_of: [id(3, 9)].into() };
        assert_eq!(first.learn(id(3, 4)), learn);
        let first = members(&[&OLD], &[id(3, 4)]);
        // A shard that has the name in between, as one that learns or as one that votes.
        assert_eq!(members(&[&OLD], &[id(3, 9)]).next(&first.wanted()), Some(learn));
        let plain = Change::Learn { node: id(3, 4), instead_of: BTreeSet::new() };
        assert_eq!(members(&[&NEW], &[]).next(&first.wanted()), Some(plain));
    }

    #[test]
    fn nothing_is_done_with_a_shard_that_has_not_begun() {
        assert_eq!(Members::default().next(&members(&[&OLD], &[]).wanted()), None);
        assert_eq!(members(&[&OLD], &[]).next(&BTreeMap::new()), None);
    }
}
