//! Why a data server may not serve although it reports: its disk has failed, or its store lacks
//! something.
//!
//! Spec: docs/protocol/control.md §2.

use wire_nfs::control::heartbeat::JournalEnd;

/// A data server's disk has failed: it has ended its own lease before it reported that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What its disk answered.
    pub(crate) reason: String,
    /// When it was reported first, by the monotonic clock.
    pub(crate) since_ms: u64,
    /// The start that has failed is the one that registered here, so no other start can hold a
    /// lease.
    pub(crate) is_of_known_start: bool,
}

/// A store that lacks something that it had acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// How far its journal goes.
    pub(crate) found: JournalEnd,
    /// How far it went.
    pub(crate) mark: JournalEnd,
}

impl std::fmt::Display for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { found, mark } = self;
        let (at, was) = ((found.segment, found.offset), (mark.segment, mark.offset));
        write!(f, "its journal ends at {}:{}, and went to {}:{}", at.0, at.1, was.0, was.1)
    }
}
