//! Tests of how copies leave servers that are to be empty.

use proptest::prelude::*;

use super::*;
use crate::copies::Domain;

fn place(id: u32, fit: bool) -> Place {
    let domain = Domain { host: format!("h{id}"), ..Domain::default() };
    Place { id: DataServerId(id), domain, free_bytes: 1 << 40, fit, up: true, dead: false }
}

/// Servers 1 to `count`, all up.
fn places(count: u32, leaving: &[u32]) -> Vec<Place> {
    (1..=count).map(|id| place(id, !leaving.contains(&id))).collect()
}

fn copies(home: u32, backups: &[(u32, bool)]) -> Copies {
    let backups = backups.iter().map(|(id, filling)| (DataServerId(*id), *filling)).collect();
    Copies { home: DataServerId(home), backups }
}

fn next(now: &Copies, count: u32, leaving: &[u32], wished: usize) -> Option<Copies> {
    let ids: Vec<DataServerId> = leaving.iter().map(|id| DataServerId(*id)).collect();
    leave(now, &places(count, leaving), &ids, wished, 0)
}

#[test]
fn another_is_filled_before_one_leaves() {
    let two = copies(1, &[(2, false)]);
    assert_eq!(next(&two, 3, &[], 2), None);
    for leaving in [1, 2] {
        let filling = copies(1, &[(2, false), (3, true)]);
        assert_eq!(next(&two, 3, &[leaving], 2), Some(filling.clone()));
        assert_eq!(next(&filling, 3, &[leaving], 2), None, "not before it holds everything");
    }
    let whole = copies(1, &[(2, false), (3, false)]);
    assert_eq!(next(&whole, 3, &[2], 2), Some(copies(1, &[(3, false)])));
    assert_eq!(next(&whole, 3, &[1], 2), Some(copies(2, &[(3, false)])));
    assert_eq!(next(&copies(1, &[]), 2, &[1], 1), Some(copies(1, &[(2, true)])));
    assert_eq!(next(&copies(1, &[(2, false)]), 2, &[1], 1), Some(copies(2, &[])));
}

#[test]
fn a_full_set_changes_one_for_another() {
    let three = copies(1, &[(2, false), (3, false)]);
    assert_eq!(next(&three, 4, &[3], 3), Some(copies(1, &[(2, false), (4, true)])));
    assert_eq!(next(&three, 4, &[1], 3), Some(copies(2, &[(3, false), (4, true)])));
    assert_eq!(next(&copies(1, &[(2, false), (4, true)]), 4, &[1], 3), None, "one at a time");
}

#[test]
fn as_many_as_stay_will_do() {
    assert_eq!(next(&copies(1, &[(2, false)]), 2, &[1], 2), Some(copies(2, &[])));
    assert_eq!(next(&copies(1, &[]), 1, &[1], 1), None, "no server stays");
}

#[test]
fn a_home_that_is_down_is_not_this_ones_business() {
    let mut all = places(3, &[1]);
    all[0].up = false;
    assert_eq!(leave(&copies(1, &[(2, false)]), &all, &[DataServerId(1)], 2, 0), None);
    let mut all = places(3, &[1]);
    all[1].up = false;
    let now = copies(1, &[(2, false), (3, false)]);
    assert_eq!(leave(&now, &all, &[DataServerId(1)], 2, 0), None, "who stays is not there");
}

proptest! {
    /// Step by step everybody who is leaving leaves, and the copies that hold everything never
    /// become fewer than they were and are wished, but by one where the set is full.
    #[test]
    fn a_server_becomes_empty(
        count in 2u32..7, home in 1u32..7, backups in proptest::collection::btree_set(1u32..7, 0..3),
        leaving in proptest::collection::btree_set(1u32..7, 1..4), wished in 1usize..4, rotation: u64,
    ) {
        prop_assume!(home <= count);
        let leaving: Vec<u32> = leaving.into_iter().collect();
        prop_assume!((1..=count).any(|id| !leaving.contains(&id)));
        let backups: Vec<(u32, bool)> =
            backups.into_iter().filter(|id| *id != home && *id <= count).map(|id| (id, false)).collect();
        let ids: Vec<DataServerId> = leaving.iter().map(|id| DataServerId(*id)).collect();
        let places = places(count, &leaving);
        let wanted = wished.min(places.iter().filter(|place| !ids.contains(&place.id)).count());
        let mut now = copies(home, &backups);
        // A set that no server leaves is not filled up here.
        let moves = now.servers().iter().any(|id| ids.contains(id));
        for _ in 0..12 {
            let Some(next) = leave(&now, &places, &ids, wished, rotation) else { break };
            let whole = |set: &Copies| 1 + set.backups.iter().filter(|(_, filling)| !filling).count();
            let full = now.servers().len() == COPIES_MAX;
            prop_assert!(whole(&now).min(wanted) <= whole(&next) + usize::from(full));
            prop_assert!(next.home == now.home || now.backups.contains(&(next.home, false)));
            let mut servers = next.servers();
            servers.sort_unstable();
            servers.dedup();
            prop_assert_eq!(servers.len(), next.servers().len());
            prop_assert!(servers.len() <= COPIES_MAX);
            now = next;
            now.backups.iter_mut().for_each(|(_, filling)| *filling = false);
        }
        prop_assert!(now.servers().iter().all(|id| !ids.contains(id)), "{:?}", now);
        prop_assert!(!moves || wanted <= now.servers().len());
    }
}
