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
    /// What the group says of it.
    pub(crate) member: Member,
    /// The data server that has it.
    pub(crate) home: DataServerId,
    /// How it was sealed.
    pub(crate) sealed_as: SealedAs,
    /// The code of its extent; `None` is the cluster's.
    pub(crate) code: Option<Profile>,
}

/// What images of one group have in common: the shard that keeps their extents, and the code of these.
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
    /// When it began to wait.
    pub(crate) since_ms: u64,
    /// When it was last said to be there.
    pub(crate) shown_ms: u64,
    /// Groups with it that came to nothing.
    pub(crate) failures: u32,
    /// Of these, those that came to nothing since, because a data server had too much to do.
    pub(crate) refusals: u32,
    /// Not before this time.
    pub(crate) next_ms: u64,
}

/// Members of a group that is to be made, and the data servers of its parity.
#[derive(Clone, Debug)]
pub(crate) struct Making {
    pub(crate) profile: Profile,
    /// An empty member is `None`.
    pub(crate) members: Vec<Option<Candidate>>,
    pub(crate) parity: Vec<DataServerId>,
    pub(crate) places: Vec<Waiter>,
}
