//! Images that may become members of a group, and a group that is to be made.
//!
//! Spec: docs/protocol/seal.md §3.

use layout::DataServerId;
use layout::ec::{Member, Profile};
use mds_namespace::op::seal::SealedAs;
use mds_namespace::shard_of;

/// An image that may become a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its record in the group.
    pub(crate) member: Member,
    /// The data server that has it.
    pub(crate) home: DataServerId,
    /// How it was sealed.
    pub(crate) sealed_as: SealedAs,
    /// The code of its extent; `None` is the cluster's.
    pub(crate) code: Option<Profile>,
}

/// Common property of the images of one group: the shard that keeps their extents, and the code of
/// these.
pub(crate) type Kind = (u16, Option<Profile>);

impl Candidate {
    pub(crate) fn kind(&self) -> Kind {
        (self.shard(), self.code)
    }

    /// The shard that keeps its extent, and will keep its group.
    pub(crate) fn shard(&self) -> u16 {
        shard_of(self.member.extent.ino)
    }
}

/// A candidate that waits, and what became of groups with it so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) candidate: Candidate,
    /// Start of the wait.
    pub(crate) since_ms: u64,
    /// Time of the last report by its data server.
    pub(crate) shown_ms: u64,
    /// Number of its groups that failed.
    pub(crate) failures: u32,
    /// Number of failures since then that a busy data server caused.
    pub(crate) refusals: u32,
    /// Earliest time of the next attempt.
    pub(crate) next_ms: u64,
}

/// Members of a group to be made, and the data servers of its parity.
#[derive(Clone, Debug)]
pub(crate) struct Making {
    pub(crate) profile: Profile,
    /// An empty member is `None`.
    pub(crate) members: Vec<Option<Candidate>>,
    pub(crate) parity: Vec<DataServerId>,
    pub(crate) places: Vec<Waiter>,
}
