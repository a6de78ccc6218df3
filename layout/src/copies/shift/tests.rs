//! Tests of moving a copy step by step.

use proptest::prelude::*;

use super::super::tests::{copies, place};
use super::*;

fn shift(from: u32, to: u32) -> Shift {
    Shift { from: DataServerId(from), to: DataServerId(to), copies: 2, rests: false }
}

fn places(count: u32) -> Vec<Place> {
    (1..=count).map(|id| place(id, &format!("h{id}"))).collect()
}

#[test]
fn a_home_moves_in_three_steps() {
    let (one, places) = (shift(1, 3), places(4));
    let added = copies(1, &[(2, false), (3, true)]);
    assert_eq!(one.next(&copies(1, &[(2, false)]), &places, 0), Step::Change(added.clone()));
    assert_eq!(one.next(&added, &places, 0), Step::Wait);
    let whole = copies(1, &[(2, false), (3, false)]);
    let moved = copies(3, &[(2, false)]);
    assert_eq!(one.next(&whole, &places, 0), Step::Change(moved.clone()));
    assert_eq!(one.next(&moved, &places, 0), Step::Done);
    let backup = shift(2, 3);
    assert_eq!(backup.next(&whole, &places, 0), Step::Change(copies(1, &[(3, false)])));
}

#[test]
fn a_server_that_keeps_it_already_is_not_counted_twice() {
    let (one, places) = (shift(1, 2), places(4));
    let both = copies(1, &[(2, false)]);
    let Step::Change(more) = one.next(&both, &places, 0) else { panic!("no server is added") };
    assert_eq!((more.home, more.backups.len()), (DataServerId(1), 2));
    assert_eq!(one.next(&both, &places[..2], 0), Step::Never, "there is no other server");
    let rests = Shift { rests: true, ..one };
    assert_eq!(rests.next(&both, &places, 0), Step::Change(more));
    assert_eq!(rests.next(&both, &places[..2], 0), Step::Change(copies(2, &[])));
}

#[test]
fn a_full_set_moves_only_at_rest() {
    let (full, places) = (copies(1, &[(2, false), (3, false)]), places(4));
    let one = Shift { copies: 3, ..shift(1, 4) };
    assert_eq!(one.next(&full, &places, 0), Step::Never);
    let rests = Shift { rests: true, ..one };
    assert_eq!(rests.next(&full, &places, 0), Step::Change(copies(1, &[(2, false), (4, true)])));
    let backup = Shift { from: DataServerId(2), ..rests };
    assert_eq!(backup.next(&full, &places, 0), Step::Change(copies(1, &[(3, false), (4, true)])));
}

#[test]
fn nothing_moves_while_one_is_away() {
    let (one, mut places) = (shift(1, 3), places(3));
    let set = copies(1, &[(2, false)]);
    places[1].up = false;
    assert_eq!(one.next(&set, &places, 0), Step::Wait);
    places[1].up = true;
    places[2].fit = false;
    assert_eq!(one.next(&set, &places, 0), Step::Never, "it takes nothing");
}

#[test]
fn copies_that_were_not_wished_for_go() {
    let mut places = places(3);
    let three = copies(1, &[(2, false), (3, false)]);
    places[2].free_bytes = 5;
    assert_eq!(surplus(&three, &places, 2), Some(copies(1, &[(2, false)])), "the fullest");
    places[1].domain.host = "h1".to_owned();
    assert_eq!(surplus(&three, &places, 2), Some(copies(1, &[(3, false)])), "not the one that stands apart");
    assert_eq!(surplus(&three, &places, 3), None);
    assert_eq!(surplus(&copies(1, &[(2, false), (3, true)]), &places, 2), None);
    places[0].up = false;
    assert_eq!(surplus(&three, &places, 2), None);
}

proptest! {
    /// From any set, with those that are filled being filled: it ends, and of a hot extent there
    /// are as many whole copies all along.
    #[test]
    fn it_ends_with_as_many_copies(
        (from, to, wished, size) in (0..5_u32, 0..5_u32, 1..=3_usize, 1..=3_usize),
        first: u8, rests: bool, rotation: u64,
    ) {
        let places = places(5);
        let at = |turn: usize| ((usize::from(first) + turn) % 5) as u32 + 1;
        let backups: Vec<(u32, bool)> = (1..size).map(|turn| (at(turn), false)).collect();
        let mut now = copies(at(0), &backups);
        let one = Shift { from: DataServerId(from + 1), to: DataServerId(to + 1), copies: wished, rests };
        let least = size.min(wished);
        for steps in 0.. {
            prop_assert!(steps < 8, "{now:?}");
            match one.next(&now, &places, rotation) {
                Step::Done => {
                    prop_assert!(from == to || !now.servers().contains(&one.from));
                    break;
                }
                Step::Never => break,
                Step::Wait => now.backups.iter_mut().for_each(|(_, filling)| *filling = false),
                Step::Change(next) => {
                    let whole = now.backups.contains(&(next.home, false));
                    prop_assert!(next.home == now.home || (whole && !next.servers().contains(&now.home)));
                    prop_assert!(next.servers().len() <= COPIES_MAX);
                    now = next;
                    let whole = 1 + now.backups.iter().filter(|(_, filling)| !filling).count();
                    prop_assert!(rests || least <= whole, "{now:?}");
                }
            }
        }
    }
}
