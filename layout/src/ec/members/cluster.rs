//! The data servers that a group can be spread over: where they stand, and their room.
//!
//! INVARIANT: sites are in the order of their ids, each once.
//! Spec: docs/formats/group.md §7.

use std::collections::BTreeMap;

use crate::data_server::DataServerId;
use crate::ec::profile::Profile;
use crate::limits::{PLACEMENT_STEPS, WORKS_ENOUGH};

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

/// Numbers for a server's zone, rack and host. Who shares a host shares the rest.
pub(super) type Place = [usize; 3];
pub(super) type Caps = [usize; 3];

/// Gives numbers to domains.
#[derive(Default)]
pub(super) struct Places<'a> {
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

    pub(super) fn number_all(mut self, all: impl IntoIterator<Item = &'a Labels>) -> Vec<Place> {
        all.into_iter().map(|labels| self.number(labels)).collect()
    }
}

/// A server that is up.
pub(super) struct Site {
    pub(super) id: DataServerId,
    pub(super) place: Place,
    pub(super) free_bytes: u64,
    pub(super) works: u64,
}

/// The servers that are up, and how tightly groups may be capped on them.
pub(super) struct Cluster {
    /// By id.
    pub(super) sites: Vec<Site>,
    freest_bytes: u64,
    rotation: usize,
    /// Tightest first, each with how many images a group within it could have.
    pub(super) caps: Vec<(Caps, usize)>,
}

impl Cluster {
    pub(super) fn new(profile: Profile, servers: &[Server], rotation: u64) -> Self {
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
        let caps: Vec<(Caps, usize)> = caps.into_iter().map(rank).collect();
        assert!(caps.is_sorted_by_key(|(_, rank)| *rank), "looser caps admit no fewer images");
        debug_assert!(sites.is_sorted_by(|one, next| one.id < next.id), "by id, each server once");
        let freest_bytes = sites.iter().map(|site| site.free_bytes).max().unwrap_or(0);
        let turns = sites.len().max(1) as u64;
        let rotation = usize::try_from(rotation % turns).expect("below the number of servers");
        Self { sites, freest_bytes, rotation, caps }
    }

    pub(super) fn find(&self, id: DataServerId) -> Option<usize> {
        self.sites.binary_search_by_key(&id, |site| site.id).ok()
    }

    pub(super) fn places(&self, chosen: &[usize]) -> Vec<Place> {
        chosen.iter().map(|at| self.sites[*at].place).collect()
    }

    /// Adds servers that have room to the chosen ones: where there are fewest images, then where
    /// most is free and least under way, in turn.
    /// Whether there were enough; if not, nothing is added.
    pub(super) fn add(&self, chosen: &mut Vec<usize>, count: usize, bytes: u64, caps: &Caps) -> bool {
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
        assert_eq!(chosen.len(), before + count, "as many as were asked for");
        true
    }

    /// From 0 to [`PLACEMENT_STEPS`], the freest server's.
    fn step_of(&self, free_bytes: u64) -> u64 {
        let step =
            u128::from(free_bytes) * u128::from(PLACEMENT_STEPS) / u128::from(self.freest_bytes.max(1));
        u64::try_from(step).map_or(PLACEMENT_STEPS, |step| step.min(PLACEMENT_STEPS))
    }
}

/// How many of these places are in the zone, rack and host of one.
pub(super) fn counts(place: &Place, places: &[Place]) -> [usize; 3] {
    let count = |level: usize| places.iter().filter(|other| other[level] == place[level]).count();
    [count(0), count(1), count(2)]
}

/// Whether there may be one more in each domain.
pub(super) fn fits(counts: &[usize; 3], caps: &Caps) -> bool {
    counts.iter().zip(caps).all(|(count, cap)| count < cap)
}
