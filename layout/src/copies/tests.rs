//! Tests of who becomes primary and who becomes replica.

use proptest::prelude::*;

use super::*;

pub(super) fn place(id: u32, host: &str) -> Place {
    let domain = Domain { host: host.to_owned(), ..Domain::default() };
    Place { id: DataServerId(id), domain, free_bytes: 1 << 40, fit: true, up: true, dead: false }
}

fn ids(numbers: &[u32]) -> Vec<DataServerId> {
    numbers.iter().map(|number| DataServerId(*number)).collect()
}

fn dead(id: u32) -> Place {
    Place { fit: false, up: false, dead: true, ..place(id, "") }
}

pub(super) fn copies(home: u32, backups: &[(u32, bool)]) -> Copies {
    Copies {
        home: DataServerId(home),
        backups: backups.iter().map(|(id, f)| (DataServerId(*id), *f)).collect(),
    }
}

const TWO: Wish = Wish { copies: 2, ..Wish::NONE };

#[test]
fn copies_stand_apart() {
    let places = [place(1, "a"), place(2, "a"), place(3, "b"), place(4, "b")];
    for rotation in 0..8 {
        let chosen = choose_backups(&places, &ids(&[1]), 1, rotation);
        assert!(chosen == ids(&[3]) || chosen == ids(&[4]), "{chosen:?}");
    }
    let two: std::collections::BTreeSet<_> =
        (0..8).map(|rotation| choose_backups(&places, &ids(&[1]), 1, rotation)).collect();
    assert_eq!(two.len(), 2, "equal ones take turns");
    let zone = |mut place: Place, zone: &str| {
        place.domain.zone = zone.to_owned();
        place
    };
    let places = [zone(place(1, "a"), "x"), zone(place(2, "b"), "x"), zone(place(3, "a"), "y")];
    assert_eq!(choose_backups(&places, &ids(&[1]), 2, 0), ids(&[3, 2]), "another zone before another host");
}

/// One at 90 % gets fewer than one at 10 %, an empty one not everything, a full one nothing.
#[test]
fn who_has_less_room_gets_fewer_copies() {
    let mut places: Vec<Place> = (1..=5).map(|id| place(id, "")).collect();
    for (place, percent) in places.iter_mut().zip([50, 10, 90, 100, 0]) {
        place.free_bytes = (1 << 40) * percent / 100;
    }
    let mut counts = [0; 6];
    for rotation in 0..1000 {
        counts[choose_backups(&places, &ids(&[1]), 1, rotation)[0].0 as usize] += 1;
    }
    assert!(counts[3] <= counts[4] && 4 * counts[2] < counts[3] && 0 < counts[2], "{counts:?}");
    assert!(counts[4] < 600 && counts[1] + counts[5] == 0, "{counts:?}");
}

#[test]
fn one_host_is_better_than_one_copy() {
    let places = [place(1, "a"), place(2, "a")];
    assert_eq!(choose_backups(&places, &ids(&[1]), 2, 0), ids(&[2]));
    assert_eq!(choose_backups(&places[..1], &ids(&[1]), 1, 0), []);
}

#[test]
fn the_freest_comes_first_and_the_full_never() {
    let mut places = [place(1, ""), place(2, ""), place(3, "")];
    places[1].free_bytes = 0;
    places[2].free_bytes = 1 << 20;
    assert_eq!(choose_backups(&places, &ids(&[1]), 2, 0), ids(&[3]));
}

#[test]
fn a_replica_takes_the_place_of_a_dead_primary() {
    let places = [dead(1), place(2, ""), place(3, "")];
    let next = plan(&copies(1, &[(2, false)]), &places, &TWO, 0).unwrap();
    assert_eq!(next, copies(2, &[(3, true)]));
}

#[test]
fn what_is_being_filled_does_not_become_primary() {
    let places = [dead(1), place(2, ""), place(3, "")];
    assert_eq!(plan(&copies(1, &[(2, true)]), &places, &TWO, 0), None);
    let next = plan(&copies(1, &[(2, true), (3, false)]), &places, &TWO, 0).unwrap();
    assert_eq!(next, copies(3, &[(2, true)]));
}

#[test]
fn a_primary_that_may_still_hold_a_lease_stays() {
    let places = [Place { dead: false, ..dead(1) }, place(2, ""), place(3, "")];
    assert_eq!(plan(&copies(1, &[(2, false)]), &places, &TWO, 0), None);
}

#[test]
fn a_lost_replica_is_replaced_or_the_set_shrinks() {
    let places = [place(1, ""), place(2, ""), place(3, "")];
    let lost = Wish { lost: Some(DataServerId(2)), ..TWO };
    assert_eq!(plan(&copies(1, &[(2, false)]), &places, &lost, 0), Some(copies(1, &[(3, true)])));
    assert_eq!(plan(&copies(1, &[(2, false)]), &places[..2], &lost, 0), Some(copies(1, &[])));
    assert_eq!(plan(&copies(1, &[]), &places[..2], &TWO, 0), Some(copies(1, &[(2, true)])), "refilled later");
}

/// It has something to cut before it gets a lease, and cannot while it waits for the replica. While
/// that is up it is the one that can serve.
#[test]
fn a_primary_without_a_lease_loses_a_replica_that_is_not_up_either() {
    let lost = Wish { lost: Some(DataServerId(2)), ..TWO };
    for home in [dead(1), Place { dead: false, ..dead(1) }] {
        let places = [home.clone(), dead(2)];
        assert_eq!(plan(&copies(1, &[(2, false)]), &places, &lost, 0), Some(copies(1, &[])));
        assert_eq!(plan(&copies(1, &[(2, false)]), &places, &TWO, 0), None, "only if it says so");
        let up = [home, place(2, "")];
        assert_eq!(plan(&copies(1, &[(2, true)]), &up, &lost, 0), None);
    }
}

#[test]
fn a_dead_replica_is_buried_when_it_is_time() {
    let places = [place(1, ""), dead(2), place(3, "")];
    assert_eq!(plan(&copies(1, &[(2, false)]), &places, &TWO, 0), None);
    let bury = Wish { bury: true, ..TWO };
    assert_eq!(plan(&copies(1, &[(2, false)]), &places, &bury, 0), Some(copies(1, &[(3, true)])));
}

proptest! {
    /// Whatever is up: the new set has no server twice, its primary held everything, no
    /// replica is called full that was not, and the same question has no second answer.
    #[test]
    fn a_plan_is_sound(
        states in proptest::collection::vec((0u8..3, 0u64..3), 1..6),
        home in 1u32..6, backups in proptest::collection::btree_map(1u32..6, any::<bool>(), 0..3),
        wanted in 1usize..4, lost in proptest::option::of(1u32..6), bury: bool, rotation: u64,
    ) {
        let places: Vec<Place> = (1u32..).zip(&states).map(|(id, (state, free))| Place {
            fit: *state == 0, up: *state == 0, dead: *state == 2, free_bytes: *free << 30, ..place(id, "")
        }).collect();
        let backups: Vec<(u32, bool)> = backups.into_iter().filter(|(id, _)| *id != home).collect();
        let now = copies(home, &backups);
        let lost = lost.filter(|id| *id != home).map(DataServerId);
        let wish = Wish { copies: wanted, lost, bury, ..Wish::NONE };
        if let Some(next) = plan(&now, &places, &wish, rotation) {
            let mut servers = next.servers();
            servers.sort_unstable();
            servers.dedup();
            prop_assert_eq!(servers.len(), next.servers().len());
            prop_assert!(next.backups.len() <= BACKUPS_MAX);
            prop_assert!(next.home == now.home || now.backups.contains(&(next.home, false)));
            for (server, filling) in &next.backups {
                prop_assert!(*filling || now.backups.contains(&(*server, false)));
            }
            prop_assert!(lost.is_none_or(|lost| next.backups.iter().all(|(server, _)| *server != lost)));
            prop_assert_eq!(plan(&next, &places, &wish, rotation), None);
        }
    }
}
