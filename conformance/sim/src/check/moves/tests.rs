//! Histories of moves that are in order, and ones that are not.

use super::*;
use crate::check::linearizable::{Acted, Verdict, check};

const P: u64 = 100;
const Q: u64 = 200;

fn holds(acts: &[(u64, u64, MoveAct, Option<MoveAnswer>)]) -> bool {
    let acted = |(asked_ns, answered_ns, act, answer): &(u64, u64, MoveAct, Option<MoveAnswer>)| Acted {
        client: 0,
        asked_ns: *asked_ns,
        answer: answer.clone().map(|answer| (*answered_ns, answer)),
        act: *act,
    };
    let history: Vec<_> = acts.iter().map(acted).collect();
    match check(&Group { parents: vec![P, Q] }, &history) {
        Verdict::Holds => true,
        Verdict::Broken(_) => false,
        Verdict::TooHard(why) => panic!("{why}"),
    }
}

/// One act after the other.
fn in_turn(acts: &[(MoveAct, MoveAnswer)]) -> bool {
    let timed =
        acts.iter().zip(0_u64..).map(|((act, answer), at)| (2 * at, 2 * at + 1, *act, Some(answer.clone())));
    holds(&timed.collect::<Vec<_>>())
}

fn found(id: u64, directory: bool) -> MoveAnswer {
    MoveAnswer::Found { id, directory }
}

#[test]
fn a_directory_that_moves_is_in_one_place() {
    let made = (MoveAct::Mkdir((P, 0)), MoveAnswer::Made(Some(7)));
    let moved = (MoveAct::Rename((P, 0), (Q, 1)), MoveAnswer::Done);
    let new = (MoveAct::Lookup((Q, 1)), found(7, true));
    let above = |id| (MoveAct::Up(7), MoveAnswer::Under(id));
    assert!(in_turn(&[made.clone(), above(P), moved.clone(), new.clone(), above(Q)]));
    assert!(!in_turn(&[made.clone(), moved.clone(), (MoveAct::Lookup((P, 0)), found(7, true))]), "in both");
    assert!(
        !in_turn(&[made.clone(), moved.clone(), (MoveAct::List(Q), MoveAnswer::Listed(vec![]))]),
        "in none"
    );
    assert!(!in_turn(&[made, moved, above(P)]), "an old `..`");
}

/// Who sees the new place may not see the old one behind it, though the move is still under way.
#[test]
fn half_a_move_is_not_seen() {
    let made = (0, 1, MoveAct::Mkdir((P, 0)), Some(MoveAnswer::Made(Some(7))));
    let moved = (2, 20, MoveAct::Rename((P, 0), (Q, 1)), Some(MoveAnswer::Done));
    let see = |at, spot, answer| (at, at + 1, MoveAct::Lookup(spot), Some(answer));
    let (old, new) = ((P, 0), (Q, 1));
    let begun = [made, moved];
    let behind = |acts: &[_]| holds(&[&begun[..], acts].concat());
    assert!(behind(&[see(4, old, found(7, true)), see(6, new, found(7, true))]));
    assert!(!behind(&[see(4, new, found(7, true)), see(6, old, found(7, true))]), "in both");
    assert!(!behind(&[see(4, old, MoveAnswer::Missing), see(6, new, MoveAnswer::Missing)]), "in none");
}

#[test]
fn no_directory_gets_into_itself() {
    let made = [
        (MoveAct::Mkdir((P, 0)), MoveAnswer::Made(Some(7))),
        (MoveAct::Mkdir((7, 0)), MoveAnswer::Made(Some(8))),
    ];
    let into = |answer| (MoveAct::Rename((P, 0), (8, 2)), answer);
    assert!(in_turn(&[&made[..], &[into(MoveAnswer::Loop)]].concat()));
    assert!(!in_turn(&[&made[..], &[into(MoveAnswer::Done)]].concat()));
    // Two that are moved into each other at once: one of them is refused.
    let made = [
        (0, 1, MoveAct::Mkdir((P, 0)), Some(MoveAnswer::Made(Some(7)))),
        (2, 3, MoveAct::Mkdir((Q, 0)), Some(MoveAnswer::Made(Some(8)))),
    ];
    let one = |answer| (4, 9, MoveAct::Rename((P, 0), (8, 1)), Some(answer));
    let other = |answer| (4, 9, MoveAct::Rename((Q, 0), (7, 1)), Some(answer));
    assert!(holds(&[&made[..], &[one(MoveAnswer::Done), other(MoveAnswer::Loop)]].concat()));
    assert!(!holds(&[&made[..], &[one(MoveAnswer::Done), other(MoveAnswer::Done)]].concat()));
}

#[test]
fn what_has_entries_is_not_replaced() {
    let made = [
        (MoveAct::Mkdir((P, 0)), MoveAnswer::Made(Some(7))),
        (MoveAct::Mkdir((Q, 0)), MoveAnswer::Made(Some(8))),
        (MoveAct::Create((8, 0)), MoveAnswer::Made(Some(9))),
    ];
    let onto = |answer| (MoveAct::Rename((P, 0), (Q, 0)), answer);
    let behind = |acts: &[_]| in_turn(&[&made[..], acts].concat());
    assert!(behind(&[onto(MoveAnswer::NotEmpty)]));
    assert!(!behind(&[onto(MoveAnswer::Done)]));
    let emptied = (MoveAct::Remove((8, 0)), MoveAnswer::Done);
    assert!(behind(&[emptied, onto(MoveAnswer::Done), (MoveAct::List(8), MoveAnswer::Gone)]));
}

#[test]
fn links_are_counted() {
    let count = |id, count| (MoveAct::Links(id), MoveAnswer::Count(count));
    let linked = [
        (MoveAct::Create((P, 0)), MoveAnswer::Made(Some(7))),
        (MoveAct::Link(7, (Q, 0)), MoveAnswer::Done),
        (MoveAct::Rename((P, 0), (Q, 0)), MoveAnswer::Done),
    ];
    let behind = |acts: &[_]| in_turn(&[&linked[..], acts].concat());
    assert!(behind(&[count(7, 2), (MoveAct::Lookup((P, 0)), found(7, false))]));
    assert!(!behind(&[count(7, 1)]), "a link onto another of the same file does nothing");
    let one = (MoveAct::Remove((P, 0)), MoveAnswer::Done);
    let last = (MoveAct::Remove((Q, 0)), MoveAnswer::Done);
    assert!(behind(&[
        one.clone(),
        count(7, 1),
        last.clone(),
        count(7, 0),
        (MoveAct::Links(7), MoveAnswer::Gone)
    ]));
    assert!(!behind(&[one.clone(), (MoveAct::Links(7), MoveAnswer::Gone)]));
    assert!(behind(&[one, last, (MoveAct::Link(7, (Q, 1)), MoveAnswer::Missing)]));
    let directory = (MoveAct::Mkdir((P, 1)), MoveAnswer::Made(Some(8)));
    assert!(behind(&[directory.clone(), count(P, 3), count(8, 2)]));
    assert!(!behind(&[directory, count(P, 2)]));
}

#[test]
fn what_may_have_happened_explains_much_but_not_all() {
    let made = (0, 1, MoveAct::Mkdir((P, 0)), Some(MoveAnswer::Made(Some(7))));
    let unknown = (2, 3, MoveAct::Rename((P, 0), (Q, 0)), None);
    let see = |at, spot, answer| (at, at + 1, MoveAct::Lookup(spot), Some(answer));
    let begun = [made, unknown, see(4, (P, 0), found(7, true)), see(6, (Q, 0), found(7, true))];
    assert!(holds(&begun));
    assert!(!holds(&[&begun[..], &[see(8, (P, 0), found(7, true))]].concat()));
    let delayed = (2, 3, MoveAct::Rename((P, 0), (Q, 0)), Some(MoveAnswer::PutOff));
    assert!(!holds(&[begun[0].clone(), delayed, begun[3].clone()]), "DELAY, and yet it was done");
}
