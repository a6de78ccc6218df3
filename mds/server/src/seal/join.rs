//! Groups that are not full become one with others: deadlines make short groups, and members die.
//!
//! The living members move together, by the same entry of the log that makes any group; it removes the groups they leave.
//!
//! Spec: docs/protocol/seal.md §3, §7.

use std::sync::Arc;

use layout::ec::members::{self, Short};
use layout::ec::{Group, Profile};
use mds_namespace::op::seal::SealedAs;
use mds_namespace::sealed::ExtentImage;

use super::pool::Candidate;
use super::sealer;
use super::{profile, sites};
use crate::limits::{GROUPS_AT_ONCE_MAX, JOINS_AT_ONCE_MAX, SHORT_GROUPS_MAX};
use crate::server::Server;

/// The living members of a group, as they would be in another one.
pub(super) fn candidates(group: &Group, alive: &[(usize, ExtentImage)]) -> Vec<Candidate> {
    let one = |(slot, image): &(usize, ExtentImage)| {
        let (member, home) = (group.shape().members()[*slot]?, group.homes()[*slot]?);
        let from = Some(group.shape().group().0);
        let ExtentImage { epoch, sequence, content_bytes, root, .. } = *image;
        Some(Candidate { member, home, sealed_as: SealedAs { epoch, sequence, content_bytes, root, from } })
    };
    alive.iter().filter_map(one).collect()
}

/// Groups that are not full, as one look finds them.
pub(super) struct Shorts {
    profile: Option<Profile>,
    found: Vec<Vec<Candidate>>,
}

impl Shorts {
    /// For groups like those that are made now.
    pub(super) fn new(server: &Server) -> Self {
        let profile = profile(server, server.now_ms()).filter(|_| server.config.seal);
        Self { profile, found: Vec::new() }
    }

    /// Takes note of a group that has room for others; [`SHORT_GROUPS_MAX`] of them at most.
    pub(super) fn note(&mut self, group: &Group, alive: &[(usize, ExtentImage)]) {
        let alike = Some(group.shape().profile()) == self.profile;
        let short = !alive.is_empty() && alive.len() < group.shape().profile().data();
        if alike && short && self.found.len() < SHORT_GROUPS_MAX {
            self.found.push(candidates(group, alive));
        }
    }

    /// Begins to make groups one, as many as may be at once. Whether any was begun.
    pub(super) fn join(mut self, server: &Arc<Server>) -> bool {
        let Some(profile) = self.profile else { return false };
        let sites = sites(server, server.now_ms());
        for begun in 0..JOINS_AT_ONCE_MAX {
            let short = |all: &Vec<Candidate>| Short {
                homes: all.iter().map(|one| one.home).collect(),
                longest_bytes: all.iter().map(|one| one.member.bytes).max().unwrap_or(0),
            };
            let shorts: Vec<Short> = self.found.iter().map(short).collect();
            let mut pool = server.sealing.pool.lock();
            let room = pool.groups() < GROUPS_AT_ONCE_MAX.min(JOINS_AT_ONCE_MAX);
            let Some(joined) = members::join(profile, &shorts, &sites, pool.rotation()).filter(|_| room)
            else {
                return 0 < begun;
            };
            let [one, other] = joined.pair;
            // The later one first: its place does not move the other's.
            let mut all = self.found.swap_remove(other);
            all.append(&mut self.found.swap_remove(one));
            if let Some(making) = pool.join(profile, all, joined.parity) {
                drop(pool);
                tracing::debug!("two short groups are made into one");
                tokio::spawn(sealer::make(Arc::clone(server), making));
            }
        }
        true
    }
}
