//! Groups that are not full become one with others: deadlines make short groups, and members die.
//!
//! The living members move together, by the same entry of the log that makes any group; it removes the groups they leave.
//!
//! Spec: docs/protocol/seal.md §3, §7.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use layout::ec::members::{self, Server as Site, Short};
use layout::ec::{Group, Profile};
use mds_namespace::op::seal::SealedAs;
use mds_namespace::sealed::ExtentImage;
use mds_namespace::{FsError, View, op, shard_of};

use super::pool::Candidate;
use super::sealer;
use super::{profile, sites};
use crate::limits::{GROUPS_AT_ONCE_MAX, JOINS_AT_ONCE_MAX, SHORT_GROUPS_MAX};
use crate::server::Server;

/// The living members of a group, as they would be in another one.
pub(super) fn candidates(
    view: &dyn View,
    group: &Group,
    alive: &[(usize, ExtentImage)],
) -> Result<Vec<Candidate>, FsError> {
    let mut all = Vec::with_capacity(alive.len());
    for (slot, image) in alive {
        let (Some(member), Some(home)) = (group.shape().members()[*slot], group.homes()[*slot]) else {
            continue;
        };
        let code = op::extent::extent(view, member.extent)?.and_then(|record| record.code);
        let from = Some(group.shape().group().0);
        let ExtentImage { epoch, sequence, content_bytes, root, .. } = *image;
        let sealed_as = SealedAs { epoch, sequence, content_bytes, root, from };
        all.push(Candidate { member, home, sealed_as, code });
    }
    Ok(all)
}

/// Groups that are not full, as one look finds them.
pub(super) struct Shorts {
    /// The code of extents that have none of their own.
    cluster: Option<Profile>,
    seals: bool,
    /// By shard and code, [`SHORT_GROUPS_MAX`] of each at most.
    found: BTreeMap<(u16, Profile), Vec<Vec<Candidate>>>,
}

impl Shorts {
    /// For groups like those that are made now.
    pub(super) fn new(server: &Server) -> Self {
        let cluster = profile(server, server.now_ms());
        Self { cluster, seals: server.config.seal, found: BTreeMap::new() }
    }

    /// Takes note of a group that has room for others. One of which a member would go under another code now stays as it is.
    pub(super) fn note(
        &mut self,
        view: &dyn View,
        group: &Group,
        alive: &[(usize, ExtentImage)],
    ) -> Result<(), FsError> {
        let profile = group.shape().profile();
        let kind = (shard_of(group.shape().group().0), profile);
        let noted = self.found.get(&kind).map_or(0, Vec::len);
        if !self.seals || alive.is_empty() || profile.data() <= alive.len() || SHORT_GROUPS_MAX <= noted {
            return Ok(());
        }
        let all = candidates(view, group, alive)?;
        if all.iter().all(|one| one.code.or(self.cluster) == Some(profile)) {
            self.found.entry(kind).or_default().push(all);
        }
        Ok(())
    }

    /// Begins to make groups one, as many as may be at once, and in turn of each code. Whether any was begun.
    pub(super) fn join(self, server: &Arc<Server>) -> bool {
        let sites = sites(server, server.now_ms());
        let mut turns: VecDeque<_> = self.found.into_iter().collect();
        let mut begun = 0;
        while let Some(((shard, profile), mut found)) = turns.pop_front() {
            if begun < JOINS_AT_ONCE_MAX && join_two(server, profile, &mut found, &sites) {
                begun += 1;
                turns.push_back(((shard, profile), found));
            }
        }
        0 < begun
    }
}

/// Begins to make two groups one, and takes them from those that were found. False if there are no two that fit, or no room for more.
fn join_two(server: &Arc<Server>, profile: Profile, found: &mut Vec<Vec<Candidate>>, sites: &[Site]) -> bool {
    let short = |all: &Vec<Candidate>| Short {
        homes: all.iter().map(|one| one.home).collect(),
        longest_bytes: all.iter().map(|one| one.member.bytes).max().unwrap_or(0),
    };
    let shorts: Vec<Short> = found.iter().map(short).collect();
    let mut pool = server.sealing.pool.lock();
    let room = pool.groups() < GROUPS_AT_ONCE_MAX.min(JOINS_AT_ONCE_MAX);
    let Some(joined) = members::join(profile, &shorts, &pool.loaded(sites), pool.rotation()).filter(|_| room)
    else {
        return false;
    };
    let [one, other] = joined.pair;
    // The later one first: its place does not move the other's.
    let mut all = found.swap_remove(other);
    all.append(&mut found.swap_remove(one));
    if let Some(making) = pool.join(profile, all, joined.parity) {
        drop(pool);
        tracing::debug!(%profile, "two short groups are made into one");
        tokio::spawn(sealer::make(Arc::clone(server), making));
    }
    true
}
