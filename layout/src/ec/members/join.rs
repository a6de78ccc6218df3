//! Which short groups become one.
//!
//! A deadline makes short groups, and members die. Parity of a group costs the same however many
//! members it has, so two groups that fit into one are made into one. Re-encoding reads all members
//! and writes parity again: so it is done only where parity that goes is a good part of what is
//! written.
//!
//! Where members of two groups are on one data server, one of them is moved first ([`part`]): else
//! two groups would stay where one is enough, for good.
//!
//! Spec: docs/protocol/seal.md §7; docs/formats/group.md §7.

use std::cmp::Reverse;

use super::cluster::{Cluster, Server, counts, fits};
use crate::data_server::DataServerId;
use crate::ec::footer::FOOTER_BYTES_MAX;
use crate::ec::profile::Profile;
use crate::limits::JOIN_PARITY_PARTS;

/// What lives in a group that is not full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// The data servers of its living members.
    pub homes: Vec<DataServerId>,
    /// Bytes of the longest of them.
    pub longest_bytes: u64,
    /// The data servers of its other images.
    pub others: Vec<DataServerId>,
    /// Which of its living members may go to another data server, by their places in `homes`.
    pub movable: Vec<usize>,
}

/// A member that goes to another data server, so that two groups can become one after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parted {
    /// The member's group, by its place in the list.
    pub group: usize,
    /// The member, by its place in the group's `homes`.
    pub member: usize,
    /// The data server that it goes to.
    pub to: DataServerId,
}

/// Two groups that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Their places in the list.
    pub pair: [usize; 2],
    /// The data servers of the new group's parity.
    pub parity: Vec<DataServerId>,
}

/// Chooses two groups whose living members fit into one, on different servers and spread as a new
/// group would be; of all such pairs one that fills it best, then those likest in length. `None` if
/// there is none.
///
/// `rotation` moves by one with each group, so that equal servers take turns.
#[must_use]
pub fn join(profile: Profile, groups: &[Short], servers: &[Server], rotation: u64) -> Option<Joined> {
    let cluster = Cluster::new(profile, servers, rotation);
    pairs(profile, groups).into_iter().find_map(|pair| {
        let [one, other] = pair.map(|at| &groups[at]);
        let homes: Vec<DataServerId> = one.homes.iter().chain(&other.homes).copied().collect();
        assert!(homes.len() <= profile.data(), "the members of both groups fit into one");
        let parity = parity(profile, &cluster, &homes, one.longest_bytes.max(other.longest_bytes))?;
        Some(Joined { pair, parity })
    })
}

/// Chooses a member to move where no two groups can become one as they lie: two members of the best
/// pair are on one data server, and with one of them on another server the pair could be
/// [joined](join). `None` if no move helps. Moving an image costs its bytes once; the group that
/// goes had parity of `m` times as many.
#[must_use]
pub fn part(profile: Profile, groups: &[Short], servers: &[Server]) -> Option<Parted> {
    let cluster = Cluster::new(profile, servers, 0);
    pairs(profile, groups).into_iter().find_map(|[one, other]| {
        let moved = |(at, with): (usize, usize)| {
            let (group, with) = (&groups[at], &groups[with]);
            let mut shared =
                group.movable.iter().filter(|member| with.homes.contains(&group.homes[**member]));
            let member = *shared.next()?;
            let fits = |to: &DataServerId| {
                let mut homes: Vec<DataServerId> = group.homes.iter().chain(&with.homes).copied().collect();
                homes[member] = *to;
                let longest_bytes = group.longest_bytes.max(with.longest_bytes);
                parity(profile, &cluster, &homes, longest_bytes).is_some()
            };
            let taken = |id: &DataServerId| group.homes.contains(id) || group.others.contains(id);
            let room = group.longest_bytes.saturating_add(FOOTER_BYTES_MAX as u64);
            let mut sites: Vec<_> = cluster.sites.iter().filter(|site| room <= site.free_bytes).collect();
            sites.sort_by_key(|site| (site.works, Reverse(site.free_bytes), site.id));
            let to = sites.into_iter().map(|site| site.id).filter(|id| !taken(id)).find(fits)?;
            Some(Parted { group: at, member, to })
        };
        [(one, other), (other, one)].into_iter().find_map(moved)
    })
}

/// All pairs that would fit into one group and pay for it, wherever they lie: the best first.
fn pairs(profile: Profile, groups: &[Short]) -> Vec<[usize; 2]> {
    let mut pairs: Vec<(usize, u64, [usize; 2])> = (0..groups.len())
        .flat_map(|one| (one + 1..groups.len()).map(move |other| [one, other]))
        .filter_map(|pair| {
            let (empty, unlike_bytes) = fit(profile, pair.map(|at| &groups[at]))?;
            Some((empty, unlike_bytes, pair))
        })
        .collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(.., pair)| pair).collect()
}

/// How many members would be empty if two groups were one, and how unlike in length they are;
/// `None` if that must not be, or does not pay.
fn fit(profile: Profile, [one, other]: [&Short; 2]) -> Option<(usize, u64)> {
    let empty = profile.data().checked_sub(one.homes.len() + other.homes.len())?;
    let shorter = one.longest_bytes.min(other.longest_bytes);
    let longer = one.longest_bytes.max(other.longest_bytes);
    let pays = longer <= shorter.saturating_mul(JOIN_PARITY_PARTS);
    (pays && !one.homes.is_empty() && !other.homes.is_empty()).then_some((empty, longer - shorter))
}

/// Where the parity of a group with members on these servers would go, if they may be in one.
fn parity(
    profile: Profile,
    cluster: &Cluster,
    homes: &[DataServerId],
    longest_bytes: u64,
) -> Option<Vec<DataServerId>> {
    let homes: Vec<usize> = homes.iter().map(|id| cluster.find(*id)).collect::<Option<_>>()?;
    let images = homes.len() + profile.parity();
    // The tightest caps within which the cluster could hold such a group: it must not lie worse
    // than a new one.
    let (caps, _) = cluster.caps.iter().find(|(_, rank)| images <= *rank)?;
    let mut chosen: Vec<usize> = Vec::with_capacity(images);
    for home in homes {
        let places = cluster.places(&chosen);
        if chosen.contains(&home) || !fits(&counts(&cluster.sites[home].place, &places), caps) {
            return None;
        }
        chosen.push(home);
    }
    let members = chosen.len();
    let room = longest_bytes.saturating_add(FOOTER_BYTES_MAX as u64);
    let added = cluster.add(&mut chosen, profile.parity(), room, caps);
    added.then(|| chosen[members..].iter().map(|at| cluster.sites[*at].id).collect())
}
