//! Joins groups that are not full: deadlines make short groups, and members die.
//!
//! The living members move together, by the same log entry that makes any group; it removes their
//! old groups. Where two groups cannot be joined because members of both are on one data server,
//! one of those members is recreated on another data server first; a later scan finds that they
//! fit.
//!
//! Spec: docs/protocol/seal.md §3, §7.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use layout::DataServerId;
use layout::ec::members::{self, Parted, Server as Site, Short};
use layout::ec::{Group, GroupId, Profile};
use mds_namespace::op::seal::SealedAs;
use mds_namespace::op::seal::{may_move, slot_of};
use mds_namespace::sealed::{self, ExtentImage};
use mds_namespace::{FsError, View, op, shard_of};

use super::pool::Candidate;
use super::{profile, sites};
use super::{remake, sealer};
use crate::balance::ImageMove;
use crate::limits::{GROUPS_AT_ONCE_MAX, JOINS_AT_ONCE_MAX, SHORT_GROUPS_MAX};
use crate::server::Server;

/// The living members of a group, as candidates for another group.
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

/// Groups that are not full, as found by one scan.
pub(super) struct Shorts {
    /// The code of extents that have none of their own.
    cluster: Option<Profile>,
    seals: bool,
    /// By shard and code, [`SHORT_GROUPS_MAX`] of each at most.
    found: BTreeMap<(u16, Profile), Vec<Found>>,
}

/// A group that is not full.
struct Found {
    group: GroupId,
    /// Its living members.
    all: Vec<Candidate>,
    /// Indices of the members that may move to another data server.
    movable: Vec<usize>,
    /// The data servers of its other images.
    others: Vec<DataServerId>,
}

impl Found {
    fn short(&self) -> Short {
        Short {
            homes: self.all.iter().map(|one| one.home).collect(),
            longest_bytes: self.all.iter().map(|one| one.member.bytes).max().unwrap_or(0),
            others: self.others.clone(),
            movable: self.movable.clone(),
        }
    }
}

impl Shorts {
    /// Accepts groups of the codes that new groups get now.
    pub(super) fn new(server: &Server) -> Self {
        let cluster = profile(server, server.now_ms());
        Self { cluster, seals: server.config.seal, found: BTreeMap::new() }
    }

    /// Adds a group with room for more members. A group whose members would get another code now
    /// stays as it is.
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
        if !all.iter().all(|one| one.code.or(self.cluster) == Some(profile)) {
            return Ok(());
        }
        let mut movable = Vec::new();
        for (at, one) in all.iter().enumerate() {
            let slot = slot_of(group, one.member.image);
            if let Some(slot) = slot
                && may_move(view, group, alive, slot)?
            {
                movable.push(at);
            }
        }
        let homes: Vec<DataServerId> = all.iter().map(|one| one.home).collect();
        let others = group.homes().iter().flatten().copied().filter(|id| !homes.contains(id)).collect();
        let group = group.shape().group();
        self.found.entry(kind).or_default().push(Found { group, all, movable, others });
        Ok(())
    }

    /// Begins to join groups, up to the limit, and alternates between the codes. Returns whether
    /// any was begun.
    pub(super) fn join(self, server: &Arc<Server>) -> bool {
        let sites = sites(server, server.now_ms());
        let mut turns: VecDeque<_> = self.found.into_iter().collect();
        let mut begun = 0;
        while let Some(((shard, profile), mut found)) = turns.pop_front() {
            if JOINS_AT_ONCE_MAX <= begun {
                break;
            }
            if join_two(server, profile, &mut found, &sites) || part_two(server, profile, &mut found, &sites)
            {
                begun += 1;
                turns.push_back(((shard, profile), found));
            }
        }
        0 < begun
    }
}

/// Begins to join two groups, and takes them from `found`. False if no two fit, or the limit is
/// reached.
fn join_two(server: &Arc<Server>, profile: Profile, found: &mut Vec<Found>, sites: &[Site]) -> bool {
    let shorts: Vec<Short> = found.iter().map(Found::short).collect();
    let mut pool = server.sealing.pool.lock();
    let room = pool.groups() < GROUPS_AT_ONCE_MAX.min(JOINS_AT_ONCE_MAX);
    let Some(joined) = members::join(profile, &shorts, &pool.loaded(sites), pool.rotation()).filter(|_| room)
    else {
        return false;
    };
    let [one, other] = joined.pair;
    // The later one first: its removal does not move the other.
    let mut all = found.swap_remove(other).all;
    all.append(&mut found.swap_remove(one).all);
    if let Some(making) = pool.join(profile, all, joined.parity) {
        drop(pool);
        tracing::debug!(%profile, "joining two short groups");
        tokio::spawn(sealer::make(Arc::clone(server), making));
    }
    true
}

/// Begins to move a member where no two groups fit as they are, and takes its group from `found`.
/// False if no move helps, or other moves are under way.
fn part_two(server: &Arc<Server>, profile: Profile, found: &mut Vec<Found>, sites: &[Site]) -> bool {
    let shorts: Vec<Short> = found.iter().map(Found::short).collect();
    let parted = {
        let pool = server.sealing.pool.lock();
        let idle = pool.remaking() == 0 && pool.groups() == 0;
        members::part(profile, &shorts, &pool.loaded(sites)).filter(|_| idle)
    };
    let Some(Parted { group: at, member, to }) = parted else { return false };
    let Found { group, all, .. } = found.swap_remove(at);
    let Candidate { member, home: from, .. } = all[member];
    let view = server.view().ok();
    let record = view.and_then(|view| sealed::group(view.namespace(), group).ok().flatten());
    let Some(slot) = record.and_then(|record| slot_of(&record, member.image)) else { return false };
    let one = ImageMove { group, slot, from, to, bytes: member.bytes };
    tracing::debug!(%profile, %group, from = from.0, to = to.0, "moving a member so that its group can be joined");
    let server = Arc::clone(server);
    tokio::spawn(async move { remake::relocate(&server, &one).await });
    true
}
