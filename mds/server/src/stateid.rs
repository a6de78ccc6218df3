//! Stateids of the log as the wire has them.

use mds_state::StateidValue;
use wire_nfs::v4::Stateid;

/// The wire form of a stateid.
#[must_use]
pub(crate) fn wire_stateid(stateid: StateidValue) -> Stateid {
    Stateid { seqid: stateid.seqid, other: stateid.other }
}
