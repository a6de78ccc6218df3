//! The copies of an extent: which further data servers keep its bytes, which of them may become its home, and what has to
//! change when servers come and go.
//!
//! A decision over what is known, nothing else: whoever asks says which servers are up. The metadata servers make what is
//! decided here real with one command of their log.
//!
//! INVARIANT: only a backup that holds everything (is not being filled) ever becomes home.
//! Spec: docs/protocol/replicate.md.

mod leave;
mod shift;

use serde::{Deserialize, Serialize};

use crate::data_server::DataServerId;
use crate::epoch::Epoch;
use crate::limits::EXTENT_BYTES;
use crate::placement::{Candidate, choose};

pub use leave::leave;
pub use shift::{Shift, Step, surplus};

/// Backups of one extent at most.
pub const BACKUPS_MAX: usize = 2;
/// Copies of an extent at most, the home's included.
pub const COPIES_MAX: usize = 1 + BACKUPS_MAX;

/// A data server that keeps a further copy of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Backup {
    /// Which one.
    pub server: DataServerId,
    /// The extent's epoch when it became a backup this time.
    pub since: Epoch,
    /// It does not hold everything yet.
    pub filling: bool,
}

/// What is lost together: servers that share one of these should not keep copies of the same extent. Empty is unknown.
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
    /// How far apart two servers are: 3 in other zones, 2 in other racks, 1 on other hosts, 0 on the same host. What is not
    /// known sets nothing apart.
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

/// A data server as a choice of backups looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which one.
    pub id: DataServerId,
    /// Where it stands.
    pub domain: Domain,
    /// Bytes it can still take.
    pub free_bytes: u64,
    /// It has a lease, takes writes, and nobody complains of it.
    pub fit: bool,
    /// It has a lease.
    pub up: bool,
    /// Its lease has surely run out.
    pub dead: bool,
}

/// Chooses `count` servers for copies beside those on `taken`: the farthest from what is chosen, of equal ones in turn, more often those with more
/// room.
/// Fewer if there are no more that are fit.
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
        // The fuller ones get fewer, not none: else an empty one that comes would get all that is new.
        let Some(id) = choose(&equal, rotation) else { break };
        let at = left.iter().position(|place| place.id == id).expect("it was one of them");
        with.push(left.remove(at));
        chosen.push(id);
    }
    chosen
}

/// The copies of an extent as they are, or as they should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Who serves it.
    pub home: DataServerId,
    /// Who else keeps it: server, and whether it is still being filled.
    pub backups: Vec<(DataServerId, bool)>,
}

impl Copies {
    /// All servers of the set.
    #[must_use]
    pub fn servers(&self) -> Vec<DataServerId> {
        std::iter::once(self.home).chain(self.backups.iter().map(|(server, _)| *server)).collect()
    }
}

/// What is asked for beside what the servers' state asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Copies in all, the home's included.
    pub copies: usize,
    /// The home says that it cannot reach this backup: it goes. A home that says so is alive, with a lease or without.
    pub lost: Option<DataServerId>,
    /// Backups whose server is dead go, too.
    pub bury: bool,
}

/// What the copies of an extent should be; `None` if they are as good as can be now.
///
/// A dead home gives way to a backup that holds everything and is up. Without one the extent waits for its home: whoever else
/// holds a part of it may lack bytes that were promised. With a home that is neither up nor dead nothing changes, unless it has
/// lost a backup that is not up either: a home that has something to cut or forget gets no lease before that is done, and cannot do
/// it while it waits for that backup.
#[must_use]
pub fn plan(now: &Copies, places: &[Place], wish: &Wish, rotation: u64) -> Option<Copies> {
    let place = |id: DataServerId| places.iter().find(|place| place.id == id);
    let up = |id| place(id).is_some_and(|place| place.up);
    let dead = |id| place(id).is_none_or(|place| place.dead);
    let mut next = now.clone();
    let home_asks = wish.lost.is_some_and(|lost| !up(lost));
    if home_asks {
        // What it has is whole, since it is still home.
    } else if dead(now.home) {
        let heir = now.backups.iter().find(|(server, filling)| !filling && up(*server))?;
        next.home = heir.0;
        next.backups.retain(|(server, _)| *server != next.home);
    } else if !up(now.home) {
        return None;
    }
    let promoted = next.home != now.home;
    next.backups
        .retain(|(server, _)| wish.lost != Some(*server) && !((wish.bury || promoted) && dead(*server)));
    let missing = wish.copies.min(COPIES_MAX).saturating_sub(1 + next.backups.len());
    let mut taken = next.servers();
    taken.extend(wish.lost);
    next.backups.extend(choose_backups(places, &taken, missing, rotation).into_iter().map(|id| (id, true)));
    (next != *now).then_some(next)
}

#[cfg(test)]
mod tests;
