//! Which short groups become one.
//!
//! A deadline makes short groups, and members die. Parity of a group costs the same however many members it has, so two groups
//! that fit into one are made into one. Re-encoding reads all members and writes parity anew: so it is done only where parity
//! that goes is a good part of what is written.
//!
//! Spec: docs/protocol/seal.md §7; docs/formats/group.md §7.

use super::{Cluster, Server, counts, fits};
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
}

/// Two groups that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Their places in the list.
    pub pair: [usize; 2],
    /// The data servers of the new group's parity.
    pub parity: Vec<DataServerId>,
}

/// Chooses two groups whose living members fit into one, on different servers and spread as a new group would be; of all
/// such pairs one that fills it best, then those likest in length. `None` if there is none.
///
/// `rotation` moves by one with each group, so that equal servers take turns.
#[must_use]
pub fn join(profile: Profile, groups: &[Short], servers: &[Server], rotation: u64) -> Option<Joined> {
    let cluster = Cluster::new(profile, servers, rotation);
    let mut pairs: Vec<(usize, u64, [usize; 2])> = (0..groups.len())
        .flat_map(|one| (one + 1..groups.len()).map(move |other| [one, other]))
        .filter_map(|pair| {
            let (empty, unlike_bytes) = fit(profile, pair.map(|at| &groups[at]))?;
            Some((empty, unlike_bytes, pair))
        })
        .collect();
    pairs.sort_unstable();
    pairs.into_iter().find_map(|(.., pair)| {
        let parity = parity(profile, &cluster, pair.map(|at| &groups[at]))?;
        Some(Joined { pair, parity })
    })
}

/// How many members would be empty if two groups were one, and how unlike in length they are; `None` if that must not be, or does
/// not pay.
fn fit(profile: Profile, [one, other]: [&Short; 2]) -> Option<(usize, u64)> {
    let empty = profile.data().checked_sub(one.homes.len() + other.homes.len())?;
    let shorter = one.longest_bytes.min(other.longest_bytes);
    let longer = one.longest_bytes.max(other.longest_bytes);
    let pays = longer <= shorter.saturating_mul(JOIN_PARITY_PARTS);
    (pays && !one.homes.is_empty() && !other.homes.is_empty()).then_some((empty, longer - shorter))
}

/// Where the parity of two groups in one would go, if they may be in one.
fn parity(profile: Profile, cluster: &Cluster, [one, other]: [&Short; 2]) -> Option<Vec<DataServerId>> {
    let homes: Vec<usize> =
        one.homes.iter().chain(&other.homes).map(|id| cluster.find(*id)).collect::<Option<_>>()?;
    let images = homes.len() + profile.parity();
    // The tightest caps within which the cluster could hold such a group: it must not lie worse than a new one.
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
    let room = one.longest_bytes.max(other.longest_bytes).saturating_add(FOOTER_BYTES_MAX as u64);
    let added = cluster.add(&mut chosen, profile.parity(), room, caps);
    added.then(|| chosen[members..].iter().map(|at| cluster.sites[*at].id).collect())
}
