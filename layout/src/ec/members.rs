//! Who is in a group: which waiting images, and which data servers get its parity.
//!
//! Each image of a group is on another data server. No zone, rack or host holds more than `m`
//! images of a group, if the cluster has enough of them: then losing any one of them loses nothing.
//! Where it has not, zones are given up first, hosts last. Domains are nested: two racks of one
//! name in two zones are two racks. Labels that were not given are all alike.
//!
//! Such sets of servers are a matroid (a laminar one): adding servers that fit, in any order, gives
//! as many as there can be. So the members can be chosen first, for their age and length, and the
//! parity always finds its place after.
//!
//! Images of like length go together: parity is as long as the longest. Among those the servers
//! with most of them waiting come first, so that no server is left with a queue of its own in the
//! end: taking the longest queues makes as many full groups as can be. An image that waited too
//! long takes what there is: others no longer than it, and empty members for the rest; the longest
//! begins, for it can take all others. What is short in spite of all that is joined later
//! ([`join`]).
//!
//! INVARIANT: the same arguments give the same answer.
//! Spec: docs/formats/group.md §7; for matroids Oxley, Matroid Theory §1.

mod cluster;
mod join;

use std::cmp::Reverse;

use crate::data_server::DataServerId;
use crate::ec::footer::FOOTER_BYTES_MAX;
use crate::ec::group::ImageId;
use crate::ec::profile::Profile;
use crate::limits::{GROUP_LENGTH_PERCENT, GROUP_WAITING_MAX};

use cluster::{Caps, Cluster, Place, Places, counts, fits};
pub use cluster::{Labels, Server};
pub use join::{Joined, Parted, Short, join, part};

/// An image that is in no group yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which one.
    pub image: ImageId,
    /// The data server that has it.
    pub home: DataServerId,
    /// Bytes of its file.
    pub bytes: u64,
    /// It has waited so long that a short group is better than waiting on.
    pub overdue: bool,
}

/// A group to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which of the waiting images are members, by their places in the list; `None` is an empty
    /// member.
    pub members: Vec<Option<usize>>,
    /// The data servers of the parity images.
    pub parity: Vec<DataServerId>,
    /// How the group is spread.
    pub spread: Spread,
}

/// How many images of a group are in the zone, rack and host that have most of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// In one zone.
    pub zone: usize,
    /// In one rack.
    pub rack: usize,
    /// On one host.
    pub host: usize,
}

impl Spread {
    /// The spread of a group whose images are at these places.
    #[must_use]
    pub fn of<'a>(places: impl IntoIterator<Item = &'a Labels>) -> Self {
        Self::of_places(&Places::default().number_all(places))
    }

    fn of_places(places: &[Place]) -> Self {
        let most = |level: usize| {
            let together = places.iter().map(|place| counts(place, places)[level]);
            together.max().unwrap_or(0)
        };
        let spread = Self { zone: most(0), rack: most(1), host: most(2) };
        assert!(spread.host <= spread.rack && spread.rack <= spread.zone, "domains are nested");
        spread
    }
}

/// Chooses the next group; `None` if there is nothing to do but wait.
///
/// `waiting` are the images without a group, those that wait longest first; only the first
/// [`GROUP_WAITING_MAX`] are looked at. `rotation` moves by one with each group, so that equal
/// servers take turns.
#[must_use]
pub fn choose(profile: Profile, waiting: &[Waiting], servers: &[Server], rotation: u64) -> Option<Choice> {
    let waiting = &waiting[..waiting.len().min(GROUP_WAITING_MAX)];
    let cluster = Cluster::new(profile, servers, rotation);
    let homes: Vec<Option<usize>> = waiting.iter().map(|image| cluster.find(image.home)).collect();
    let queue = Queue { waiting, homes };
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    let late_bytes = |at: &usize| waiting[*at].overdue.then_some(waiting[*at].bytes);
    order.sort_by_key(|at| Reverse(late_bytes(at)));
    order.into_iter().find_map(|first| queue.around(profile, &cluster, first))
}

/// Chooses a data server for one image of a group whose other images are on `kept`: for repair, or
/// to empty a server.
///
/// `None` if no server has room, or all have an image of the group. A group that lies worse than it
/// could is no reason to leave an image unrepaired, so caps that the others broke already are given
/// up. Servers of `kept` that are not up count as standing nowhere.
#[must_use]
pub fn replace(
    profile: Profile,
    kept: &[DataServerId],
    bytes: u64,
    servers: &[Server],
    rotation: u64,
) -> Option<DataServerId> {
    let cluster = Cluster::new(profile, servers, rotation);
    let mut chosen: Vec<usize> = kept.iter().filter_map(|id| cluster.find(*id)).collect();
    let added = cluster.caps.iter().any(|(caps, _)| cluster.add(&mut chosen, 1, bytes, caps));
    let found = chosen.pop().filter(|_| added).map(|at| cluster.sites[at].id);
    assert!(found.is_none_or(|id| !kept.contains(&id)), "each image of a group has its own server");
    found
}

/// The images that wait, and the site of each one's data server, if that is up.
struct Queue<'a> {
    waiting: &'a [Waiting],
    homes: Vec<Option<usize>>,
}

impl Queue<'_> {
    /// The best group with this image in it.
    fn around(&self, profile: Profile, cluster: &Cluster, first: usize) -> Option<Choice> {
        let home = self.homes[first]?;
        let fewest = if self.waiting[first].overdue { 1 } else { profile.data() };
        for members in (fewest..=profile.data()).rev() {
            let images = members + profile.parity();
            for (caps, _) in cluster.caps.iter().filter(|(_, rank)| images <= *rank) {
                let (picked, mut chosen) = self.pick(cluster, (first, home), members, caps);
                if picked.len() < members {
                    // Within looser caps there might be more, but the cluster can do better than
                    // that.
                    break;
                }
                let longest = picked.iter().map(|at| self.waiting[*at].bytes).max().unwrap_or(0);
                let room = longest.saturating_add(FOOTER_BYTES_MAX as u64);
                if cluster.add(&mut chosen, profile.parity(), room, caps) {
                    let is_once = |at: usize| !chosen[..at].contains(&chosen[at]);
                    debug_assert!((0..chosen.len()).all(is_once), "no server gets two images");
                    let id_of = |at: &usize| cluster.sites[*at].id;
                    let parity: Vec<_> = chosen[members..].iter().map(id_of).collect();
                    assert_eq!(parity.len(), profile.parity(), "each parity image has a server");
                    let spread = Spread::of_places(&cluster.places(&chosen));
                    let empty = std::iter::repeat_n(None, profile.data() - members);
                    let members = picked.into_iter().map(Some).chain(empty).collect();
                    return Some(Choice { members, parity, spread });
                }
            }
        }
        None
    }

    /// Up to `members` images on as many servers, the first one among them: spread widest, then
    /// likest in length, then from the server where most wait, then oldest. With the images' places
    /// in the queue, their servers'.
    fn pick(
        &self,
        cluster: &Cluster,
        (first, home): (usize, usize),
        members: usize,
        caps: &Caps,
    ) -> (Vec<usize>, Vec<usize>) {
        let (mut picked, mut chosen) = (vec![first], vec![home]);
        let anchor = &self.waiting[first];
        let mut queued = vec![0_usize; cluster.sites.len()];
        for (at, home) in self.homes.iter().enumerate() {
            home.filter(|_| goes_with(anchor, &self.waiting[at]))
                .into_iter()
                .for_each(|home| queued[home] += 1);
        }
        while picked.len() < members {
            let places = cluster.places(&chosen);
            let keys = self.homes.iter().enumerate().filter_map(|(at, home)| {
                let home =
                    home.filter(|home| !chosen.contains(home) && goes_with(anchor, &self.waiting[at]))?;
                let counts = counts(&cluster.sites[home].place, &places);
                let unlike = unlike(anchor, &self.waiting[at]);
                fits(&counts, caps).then_some((counts, unlike, Reverse(queued[home]), at, home))
            });
            let Some((_, _, _, at, home)) = keys.min() else { break };
            picked.push(at);
            chosen.push(home);
        }
        assert_eq!(picked.len(), chosen.len(), "each picked image has its server");
        (picked, chosen)
    }
}

/// Whether an image may join a first one. None may make the parity much longer; a much shorter one
/// only if the first has waited too long.
fn goes_with(first: &Waiting, other: &Waiting) -> bool {
    let percent_of = |bytes: u64| u128::from(bytes) * u128::from(GROUP_LENGTH_PERCENT);
    let not_longer = percent_of(other.bytes) <= u128::from(first.bytes) * 100;
    let not_shorter = percent_of(first.bytes) <= u128::from(other.bytes) * 100;
    not_longer && (not_shorter || first.overdue)
}

/// How unlike two images are in length, in steps of what may differ within a group.
fn unlike(first: &Waiting, other: &Waiting) -> u64 {
    let step = u128::from(first.bytes) * u128::from(100 - GROUP_LENGTH_PERCENT) / 100;
    u64::try_from(u128::from(first.bytes.abs_diff(other.bytes)) / (step + 1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
