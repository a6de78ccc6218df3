//! Moving one copy of an extent from one server to another that was chosen for it: what the copies
//! should be next.
//!
//! INVARIANT: there are never fewer copies that hold everything than are wished, unless an image
//! says all there is.
//! Spec: docs/protocol/admin.md §6.

use super::choice::{Place, choose_backups};
use super::copy_set::{COPIES_MAX, Copies};
use crate::data_server::DataServerId;

/// A copy is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Who keeps it.
    pub from: DataServerId,
    /// Who should.
    pub to: DataServerId,
    /// Copies that are wished in all.
    pub copies: usize,
    /// An image says all there is: one copy fewer for a while endangers nothing.
    pub rests: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is where it should be, or not where it was.
    Done,
    /// Something must happen first: a copy is filled, a server comes back.
    Wait,
    /// It cannot be moved.
    Never,
    /// These copies; the primary hands over if another is named.
    Change(Copies),
}

impl Shift {
    /// The next step, by the copies as they are now.
    #[must_use]
    pub fn next(&self, now: &Copies, places: &[Place], rotation: u64) -> Step {
        let servers = now.servers();
        if !servers.contains(&self.from) || self.from == self.to {
            return Step::Done;
        }
        let place = |id: DataServerId| places.iter().find(|place| place.id == id);
        let up = |id: DataServerId| place(id).is_some_and(|place| place.up);
        if !servers.iter().all(|id| up(*id)) || !up(self.to) {
            return Step::Wait;
        }
        if now.backups.iter().any(|(_, filling)| *filling) {
            return Step::Wait;
        }
        if !servers.contains(&self.to) {
            return if place(self.to).is_some_and(|place| place.fit) { self.add(now) } else { Step::Never };
        }
        let wished = self.copies.clamp(1, COPIES_MAX);
        if servers.len() <= wished {
            // Both of them keep it already: a third one must, before one may go.
            let room = usize::from(servers.len() < COPIES_MAX);
            match choose_backups(places, &servers, room, rotation).first() {
                Some(more) => {
                    let mut next = now.clone();
                    next.backups.push((*more, true));
                    return Step::Change(next);
                }
                None if !self.rests => return Step::Never,
                None => {}
            }
        }
        let mut next = now.clone();
        if next.home == self.from {
            next.home = self.to;
        }
        next.backups.retain(|(id, _)| ![self.from, next.home].contains(id));
        let left = next.servers();
        assert!(!left.contains(&self.from) && left.contains(&self.to), "the copy has moved");
        assert_eq!(left.len() + 1, servers.len(), "one server leaves");
        Step::Change(next)
    }

    /// With the new one, which has nothing yet.
    fn add(&self, now: &Copies) -> Step {
        let mut next = now.clone();
        if now.servers().len() == COPIES_MAX {
            if !self.rests {
                return Step::Never;
            }
            match next.backups.iter().position(|(id, _)| *id == self.from) {
                Some(at) => drop(next.backups.remove(at)),
                None => drop(next.backups.pop()),
            }
        }
        next.backups.push((self.to, true));
        assert!(next.servers().len() <= COPIES_MAX, "a set keeps within its limit");
        Step::Change(next)
    }
}

/// The copies without one, where there are more than are wished: one was to move, and the server
/// that moved it did not end that. `None` if there are not, or if they are not all well. Those that
/// stay stand as far apart as can be; of equal ones the fullest goes.
#[must_use]
pub fn surplus(now: &Copies, places: &[Place], copies: usize) -> Option<Copies> {
    let place = |id: DataServerId| places.iter().find(|place| place.id == id);
    let well = |id: &DataServerId| place(*id).is_some_and(|place| place.up);
    let servers = now.servers();
    let filling = now.backups.iter().any(|(_, filling)| *filling);
    if servers.len() <= copies.max(1) || filling || !servers.iter().all(well) {
        return None;
    }
    let without = |gone: usize| {
        let mut next = now.clone();
        next.backups.remove(gone);
        next
    };
    let apart = |set: &Copies| {
        let domains: Vec<_> = set.servers().iter().filter_map(|id| Some(&place(*id)?.domain)).collect();
        let pairs = domains
            .iter()
            .enumerate()
            .flat_map(|(at, one)| domains[..at].iter().map(move |other| one.distance(other)));
        pairs.min().unwrap_or(u32::MAX)
    };
    let free = |gone: usize| place(now.backups[gone].0).map_or(0, |place| place.free_bytes);
    let best =
        (0..now.backups.len()).max_by_key(|gone| (apart(&without(*gone)), std::cmp::Reverse(free(*gone))))?;
    Some(without(best))
}

#[cfg(test)]
mod tests;
