//! The choice of servers for further copies: far apart from each other, and with room.
//!
//! Spec: docs/protocol/replicate.md.

use crate::data_server::DataServerId;
use crate::limits::EXTENT_BYTES;
use crate::placement::{Candidate, choose};

/// What is lost together: servers that share one of these should not keep copies of the same
/// extent. Empty is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Domain {
    /// A building, a room, a power supply.
    pub zone: String,
    /// A rack.
    pub rack: String,
    /// A machine.
    pub host: String,
}

impl Domain {
    /// How far apart two servers are: 3 in other zones, 2 in other racks, 1 on other hosts, 0 on
    /// the same host. What is not known sets nothing apart.
    #[must_use]
    pub fn distance(&self, other: &Self) -> u32 {
        let differ = |ours: &str, theirs: &str| !ours.is_empty() && !theirs.is_empty() && ours != theirs;
        if differ(&self.zone, &other.zone) {
            3
        } else if differ(&self.rack, &other.rack) {
            2
        } else {
            u32::from(differ(&self.host, &other.host))
        }
    }
}

/// A data server as a choice of replicas looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which one.
    pub id: DataServerId,
    /// Where it stands.
    pub domain: Domain,
    /// Bytes it can still take.
    pub free_bytes: u64,
    /// It has a lease, takes writes, and no server complains of it.
    pub fit: bool,
    /// It has a lease.
    pub up: bool,
    /// Its lease has surely run out.
    pub dead: bool,
}

/// Chooses `count` servers for copies beside those on `taken`: the farthest from what is chosen, of
/// equal ones in turn, more often those with more room. Fewer if there are no more that are fit.
///
/// `rotation` moves by one with each extent placed.
#[must_use]
pub fn choose_backups(
    places: &[Place],
    taken: &[DataServerId],
    count: usize,
    rotation: u64,
) -> Vec<DataServerId> {
    let mut with: Vec<&Place> = places.iter().filter(|place| taken.contains(&place.id)).collect();
    let mut chosen = Vec::new();
    let mut left: Vec<&Place> = places
        .iter()
        .filter(|place| place.fit && !taken.contains(&place.id) && 0 < place.free_bytes)
        .collect();
    while chosen.len() < count {
        let rank = |place: &Place| {
            let apart = with.iter().map(|other| place.domain.distance(&other.domain)).min().unwrap_or(3);
            (EXTENT_BYTES <= place.free_bytes, apart)
        };
        let best = left.iter().map(|place| rank(place)).max();
        let equal: Vec<Candidate> = left
            .iter()
            .filter(|place| Some(rank(place)) == best)
            .map(|place| Candidate { id: place.id, free_bytes: place.free_bytes, up: true })
            .collect();
        // The fuller ones get fewer, not none: else an empty one that comes would get all that is
        // new.
        let Some(id) = choose(&equal, rotation) else { break };
        let at = left.iter().position(|place| place.id == id).expect("it was one of them");
        with.push(left.remove(at));
        chosen.push(id);
    }
    assert!(chosen.len() <= count, "no more servers than are missing");
    debug_assert!(chosen.iter().all(|id| !taken.contains(id)), "copies lie on other servers");
    chosen
}
