//! Admits connections, and chooses the one to close when all places are taken.
//!
//! While places are free every connection enters. Then a new connection replaces an unproven one
//! (`Connection::prove`): the oldest, of the address with the most connections. Without such a one
//! it replaces the oldest of the address with the most, if that address keeps more than the
//! newcomer's. So one address cannot lock out the others, and a working client loses its place
//! last.
//!
//! Decides only. INVARIANT: at most `places_max` connections are inside; none closes while a place
//! is free.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The connections that are in. `T` closes one.
pub(crate) struct Door<T> {
    places_max: usize,
    taken: usize,
    inside: BTreeMap<IpAddr, BTreeMap<u64, T>>,
}

/// What becomes of one more connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// There is a place.
    Enter,
    /// It gets the place of this one, which is to be closed.
    Replaces(T),
    /// It goes: its own address has most, and all of its connections are of use.
    Full,
}

impl<T> Door<T> {
    /// No connection is in. No place is no door: there is one at least.
    pub(crate) fn new(places_max: usize) -> Self {
        Self { places_max: places_max.max(1), taken: 0, inside: BTreeMap::new() }
    }

    /// Decides about one more from an address. Who is replaced is not in any more.
    pub(crate) fn decide(&mut self, from: IpAddr, is_proven: impl Fn(&T) -> bool) -> Verdict<T> {
        if self.taken < self.places_max {
            return Verdict::Enter;
        }
        let own = self.inside.get(&from).map_or(0, BTreeMap::len);
        // The least id is the oldest.
        let unproven =
            |all: &BTreeMap<u64, T>| all.iter().find(|(_, one)| !is_proven(one)).map(|(id, _)| *id);
        let of_no_use = self
            .inside
            .iter()
            .filter(|(address, all)| own < all.len() || **address == from)
            .filter_map(|(address, all)| Some((all.len(), *address, unproven(all)?)))
            .max_by_key(|(count, ..)| *count);
        let of_most = || {
            let (address, all) = self.inside.iter().max_by_key(|(_, all)| all.len())?;
            let oldest = all.keys().next().filter(|_| own + 1 < all.len())?;
            Some((all.len(), *address, *oldest))
        };
        let Some((_, address, id)) = of_no_use.or_else(of_most) else { return Verdict::Full };
        Verdict::Replaces(self.leave(address, id).expect("it was found a moment ago"))
    }

    /// Takes one in that was told to enter.
    pub(crate) fn enter(&mut self, from: IpAddr, id: u64, one: T) {
        assert!(self.taken < self.places_max, "it was decided that there is a place");
        let before = self.inside.entry(from).or_default().insert(id, one);
        assert!(before.is_none(), "ids are of one connection");
        self.taken += 1;
    }

    /// One is gone; `None` if it was replaced before.
    pub(crate) fn leave(&mut self, from: IpAddr, id: u64) -> Option<T> {
        let all = self.inside.get_mut(&from)?;
        let one = all.remove(&id)?;
        if all.is_empty() {
            self.inside.remove(&from);
        }
        self.taken -= 1;
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));

    /// The second value says whether it has proven itself.
    fn door(of: &[(IpAddr, bool)]) -> Door<(u64, bool)> {
        let mut door = Door::new(of.len());
        for (id, (from, proven)) in (0..).zip(of) {
            assert_eq!(door.decide(*from, |one: &(u64, bool)| one.1), Verdict::Enter);
            door.enter(*from, id, (id, *proven));
        }
        door
    }

    fn goes(of: &[(IpAddr, bool)], from: IpAddr) -> Option<u64> {
        match door(of).decide(from, |one: &(u64, bool)| one.1) {
            Verdict::Replaces((id, _)) => Some(id),
            Verdict::Full => None,
            Verdict::Enter => panic!("all places are taken"),
        }
    }

    #[test]
    fn one_address_keeps_no_other_out() {
        assert_eq!(goes(&[(A, false), (A, false), (A, false)], B), Some(0));
        assert_eq!(goes(&[(A, true), (A, false), (A, true)], B), Some(1), "what works goes last");
        assert_eq!(goes(&[(A, true), (A, true), (A, true)], B), Some(0), "the oldest");
        assert_eq!(goes(&[(B, true), (A, false), (A, false)], C), Some(1));
    }

    #[test]
    fn an_address_that_has_most_replaces_its_own() {
        assert_eq!(goes(&[(A, false), (A, false), (B, false)], A), Some(0));
        assert_eq!(goes(&[(A, true), (A, true), (B, false)], A), None, "not the place of another one");
    }

    #[test]
    fn who_has_as_many_takes_no_proven_place() {
        assert_eq!(goes(&[(A, true), (A, true), (B, true)], B), None);
        assert_eq!(goes(&[(A, true), (A, false), (B, true)], B), Some(1));
        assert_eq!(goes(&[(A, true), (B, true)], C), None);
        assert_eq!(goes(&[(A, true), (A, true), (B, false)], C), Some(2), "it is of no use yet");
    }

    #[test]
    fn a_place_is_free_again_once() {
        let mut door = door(&[(A, false), (A, false)]);
        assert_eq!(door.leave(A, 0), Some((0, false)));
        assert_eq!(door.leave(A, 0), None);
        assert_eq!(door.decide(B, |one: &(u64, bool)| one.1), Verdict::Enter);
        door.enter(B, 2, (2, true));
        assert_eq!(door.decide(C, |one: &(u64, bool)| one.1), Verdict::Replaces((1, false)));
        door.enter(C, 3, (3, false));
    }
}
