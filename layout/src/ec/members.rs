//! Who is in a group: which waiting images, and which data servers get its parity.
//!
//! Each image of a group is on another data server. No zone, rack or host holds more than `m` images of a group, if the
//! cluster has enough of them: then losing any one of them loses nothing. Where it has not, zones are given up first, hosts
//! last. Domains are nested: two racks of one name in two zones are two racks. Labels that nobody gave are all alike.
//!
//! Such sets of servers are a matroid (a laminar one): whoever adds a server that fits, in any order, gets as many as there
//! can be. So the members can be chosen first, for their age and length, and the parity always finds its place after.
//!
//! Images of like length go together: parity is as long as the longest. Among those the servers with most of them waiting come
//! first, so that no server is left with a queue of its own in the end: taking the longest queues makes as many full groups as can
//! be. An image that waited too long takes what there is: others no longer than it, and empty members for the rest; the longest
//! begins, for it can take all others. What is short in spite of all that is joined later ([`join`]).
//!
//! INVARIANT: the same arguments give the same answer.
//! Spec: docs/formats/group.md §7; for matroids Oxley, Matroid Theory §1.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::data_server::DataServerId;
use crate::ec::footer::FOOTER_BYTES_MAX;
use crate::ec::group::ImageId;
use crate::ec::profile::Profile;
use crate::limits::{GROUP_LENGTH_PERCENT, GROUP_WAITING_MAX, PLACEMENT_STEPS, WORKS_ENOUGH};

/// Where a data server stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// Fails as a whole, rarely: a building, a power feed.
    pub zone: String,
    /// Fails as a whole: a switch, a power strip.
    pub rack: String,
    /// The machine. Several data servers may share it.
    pub host: String,
}

/// A data server that may hold images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Which one.
    pub id: DataServerId,
    /// Where it stands.
    pub labels: Labels,
    /// Bytes it can still take.
    pub free_bytes: u64,
    /// It has a lease, and is not being emptied.
    pub up: bool,
    /// Images that are being made on it now. Each counts as one step of [`PLACEMENT_STEPS`] that is
    /// full, and one that makes [`WORKS_ENOUGH`] comes behind all others: groups which are made at
    /// once do not all choose the server that was emptiest before them.
    pub works: u64,
}

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
    /// Which of the waiting images are members, by their places in the list; `None` is an empty member.
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
        let places: Vec<Place> = Places::default().number_all(places);
        let most = |level: usize| places.iter().map(|place| counts(place, &places)[level]).max().unwrap_or(0);
        Self { zone: most(0), rack: most(1), host: most(2) }
    }
}

/// Chooses the next group; `None` if there is nothing to do but wait.
///
/// `waiting` are the images without a group, those that wait longest first; only the first
/// [`GROUP_WAITING_MAX`] are looked at. `rotation` moves by one with each group, so that equal servers take turns.
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

/// Chooses a data server for one image of a group whose other images are on `kept`: for repair, or to empty a server.
///
/// `None` if no server has room, or all have an image of the group. A group that lies worse than it could is no reason to
/// leave an image unrepaired, so caps that the others broke already are given up. Servers of `kept` that are not up count
/// as standing nowhere.
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
    chosen.pop().filter(|_| added).map(|at| cluster.sites[at].id)
}

/// Numbers for a server's zone, rack and host. Who shares a host shares the rest.
type Place = [usize; 3];
type Caps = [usize; 3];

/// Gives numbers to domains.
#[derive(Default)]
struct Places<'a> {
    numbers: BTreeMap<[Option<&'a str>; 3], usize>,
}

impl<'a> Places<'a> {
    fn number(&mut self, labels: &'a Labels) -> Place {
        let (zone, rack, host) = (Some(&*labels.zone), Some(&*labels.rack), Some(&*labels.host));
        [[zone, None, None], [zone, rack, None], [zone, rack, host]].map(|domain| {
            let next = self.numbers.len();
            *self.numbers.entry(domain).or_insert(next)
        })
    }

    fn number_all(mut self, all: impl IntoIterator<Item = &'a Labels>) -> Vec<Place> {
        all.into_iter().map(|labels| self.number(labels)).collect()
    }
}

/// A server that is up.
struct Site {
    id: DataServerId,
    place: Place,
    free_bytes: u64,
    works: u64,
}

/// The servers that are up, and how tightly groups may be capped on them.
struct Cluster {
    /// By id.
    sites: Vec<Site>,
    freest_bytes: u64,
    rotation: usize,
    /// Tightest first, each with how many images a group within it could have.
    caps: Vec<(Caps, usize)>,
}

impl Cluster {
    fn new(profile: Profile, servers: &[Server], rotation: u64) -> Self {
        let mut up: Vec<&Server> = servers.iter().filter(|server| server.up).collect();
        up.sort_unstable_by_key(|server| server.id);
        up.dedup_by_key(|server| server.id);
        let places = Places::default().number_all(up.iter().map(|server| &server.labels));
        let site = |(server, place): (&&Server, Place)| {
            let Server { id, free_bytes, works, .. } = **server;
            Site { id, place, free_bytes, works }
        };
        let sites: Vec<Site> = up.iter().zip(places).map(site).collect();
        let most = profile.losses_tolerated();
        let caps: [Caps; 4] =
            [[most; 3], [usize::MAX, most, most], [usize::MAX, usize::MAX, most], [usize::MAX; 3]];
        let rank = |caps: Caps| {
            let mut within: Vec<Place> = Vec::new();
            for site in &sites {
                if within.len() < profile.images() && fits(&counts(&site.place, &within), &caps) {
                    within.push(site.place);
                }
            }
            (caps, within.len())
        };
        let caps = caps.into_iter().map(rank).collect();
        let freest_bytes = sites.iter().map(|site| site.free_bytes).max().unwrap_or(0);
        let turns = sites.len().max(1) as u64;
        let rotation = usize::try_from(rotation % turns).expect("below the number of servers");
        Self { sites, freest_bytes, rotation, caps }
    }

    fn find(&self, id: DataServerId) -> Option<usize> {
        self.sites.binary_search_by_key(&id, |site| site.id).ok()
    }

    fn places(&self, chosen: &[usize]) -> Vec<Place> {
        chosen.iter().map(|at| self.sites[*at].place).collect()
    }

    /// Adds servers that have room to the chosen ones: where there are fewest images, then where
    /// most is free and least under way, in turn.
    /// Whether there were enough; if not, nothing is added.
    fn add(&self, chosen: &mut Vec<usize>, count: usize, bytes: u64, caps: &Caps) -> bool {
        let before = chosen.len();
        for _ in 0..count {
            let places = self.places(chosen);
            let room = |(at, site): &(usize, &Site)| bytes <= site.free_bytes && !chosen.contains(at);
            let keys = self.sites.iter().enumerate().filter(room).map(|(at, site)| {
                let used = (PLACEMENT_STEPS - self.step_of(site.free_bytes)).saturating_add(site.works);
                let turn = (at + self.sites.len() - self.rotation) % self.sites.len();
                (counts(&site.place, &places), WORKS_ENOUGH <= site.works, used, turn, at)
            });
            let Some((.., best)) = keys.filter(|(counts, ..)| fits(counts, caps)).min() else {
                chosen.truncate(before);
                return false;
            };
            chosen.push(best);
        }
        true
    }

    /// From 0 to [`PLACEMENT_STEPS`], the freest server's.
    fn step_of(&self, free_bytes: u64) -> u64 {
        let step =
            u128::from(free_bytes) * u128::from(PLACEMENT_STEPS) / u128::from(self.freest_bytes.max(1));
        u64::try_from(step).map_or(PLACEMENT_STEPS, |step| step.min(PLACEMENT_STEPS))
    }
}

/// The images that wait, and the site of each one's home, if that is up.
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
                    // Within looser caps there might be more, but the cluster can do better than that.
                    break;
                }
                let longest = picked.iter().map(|at| self.waiting[*at].bytes).max().unwrap_or(0);
                let room = longest.saturating_add(FOOTER_BYTES_MAX as u64);
                if cluster.add(&mut chosen, profile.parity(), room, caps) {
                    let parity = chosen[members..].iter().map(|at| cluster.sites[*at].id).collect();
                    let places = cluster.places(&chosen);
                    let most = |level: usize| places.iter().map(|place| counts(place, &places)[level]).max();
                    let most = |level: usize| most(level).unwrap_or(0);
                    let spread = Spread { zone: most(0), rack: most(1), host: most(2) };
                    let empty = std::iter::repeat_n(None, profile.data() - members);
                    let members = picked.into_iter().map(Some).chain(empty).collect();
                    return Some(Choice { members, parity, spread });
                }
            }
        }
        None
    }

    /// Up to `members` images on as many servers, the first one among them: spread widest, then likest in length, then from
    /// the server where most wait, then oldest. With the images' places in the queue, their servers'.
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
        (picked, chosen)
    }
}

/// Whether an image may join a first one. None may make the parity much longer; a much shorter one only if the first has
/// waited too long.
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

/// How many of these places are in the zone, rack and host of one.
fn counts(place: &Place, places: &[Place]) -> [usize; 3] {
    let count = |level: usize| places.iter().filter(|other| other[level] == place[level]).count();
    [count(0), count(1), count(2)]
}

/// Whether there may be one more in each domain.
fn fits(counts: &[usize; 3], caps: &Caps) -> bool {
    counts.iter().zip(caps).all(|(count, cap)| count < cap)
}

mod join;

pub use join::{Joined, Parted, Short, join, part};

#[cfg(test)]
mod tests;
