//! The rule, and the table it looks into.

use env::memory::SeededEntropy;

use super::*;

fn known(verdict: Verdict, age_s: u64, asked: bool) -> Option<Known> {
    Some(Known { verdict, age_s, asked })
}

fn question(tag: u32) -> Question {
    Question { name: HolderName { ino: 7, tag, writes: true }, issued: 3 }
}

/// Spec: docs/formats/ds_handle.md, What a data server does with it.
#[test]
fn fresh_confirmed_refused() {
    use Judged::{Ask, Gone, Good, GoodSoonAsked};
    let (young, ripe, last, old) = (0, HANDLE_RENEW_STEPS, HANDLE_FRESH_STEPS, HANDLE_FRESH_STEPS + 1);
    for (age_steps, known, expected) in [
        (young, None, Good),
        (ripe, None, GoodSoonAsked),
        (last, known(Verdict::None, 1, true), Good),
        (old, None, Ask),
        (old, known(Verdict::None, 1, true), Ask),
        (u32::MAX, None, Ask),
        (old, known(Verdict::Held, 0, false), Good),
        (old, known(Verdict::Held, HELD_RENEW_S - 1, false), Good),
        (old, known(Verdict::Held, HELD_RENEW_S, false), GoodSoonAsked),
        (old, known(Verdict::Held, HELD_RENEW_S, true), Good),
        (old, known(Verdict::Held, HELD_S_MAX - 1, true), Good),
        (old, known(Verdict::Held, HELD_S_MAX, true), Ask),
        (old, known(Verdict::Held, HELD_S_MAX, false), Ask),
        (last, known(Verdict::Held, HELD_S_MAX, false), GoodSoonAsked),
        (young, known(Verdict::Gone, 0, false), Gone),
        (old, known(Verdict::Gone, GONE_S_MAX - 1, false), Gone),
        (old, known(Verdict::Gone, GONE_S_MAX - 1, true), Gone),
        (old, known(Verdict::Gone, GONE_S_MAX, false), Ask),
    ] {
        assert_eq!(judge(age_steps, known), expected, "{age_steps} steps old, {known:?}");
    }
}

#[test]
fn what_was_said_is_found_again_and_ages() {
    let holders = Holders::new(&SeededEntropy::new(1));
    let old = HANDLE_FRESH_STEPS + 1;
    let judged = |tag, now_s| holders.judge(&question(tag), old, now_s);
    assert_eq!(judged(1, 100), Judged::Ask);
    holders.note(&question(1), true, 100);
    holders.note(&question(2), false, 100);
    assert_eq!((judged(1, 100), judged(2, 100), judged(3, 100)), (Judged::Good, Judged::Gone, Judged::Ask));
    assert_eq!(judged(1, 99), Judged::Good, "another thread read the clock a moment before");
    let soon_s = 100 + HELD_RENEW_S;
    assert_eq!(judged(1, soon_s), Judged::GoodSoonAsked);
    assert!(holders.begin_to_ask(&question(1), soon_s));
    assert!(!holders.begin_to_ask(&question(1), soon_s), "one asks");
    assert_eq!(judged(1, soon_s), Judged::Good);
    holders.give_up(&question(1));
    assert_eq!(judged(1, soon_s), Judged::GoodSoonAsked, "there was no answer");
    assert_eq!(judged(1, 100 + HELD_S_MAX), Judged::Ask);
    // Another metadata server's clock may go back.
    assert_eq!(holders.judge(&question(2), 0, 100), Judged::Gone, "it is not young again");
    assert_eq!(judged(2, 100 + GONE_S_MAX), Judged::Ask);
    holders.note(&question(2), true, 100 + GONE_S_MAX);
    assert_eq!(judged(2, 100 + GONE_S_MAX), Judged::Good);
}

#[test]
fn a_grant_that_is_not_said_anything_of_is_another() {
    let holders = Holders::new(&SeededEntropy::new(1));
    holders.note(&question(1), true, 5);
    let old = HANDLE_FRESH_STEPS + 1;
    let Question { name, issued } = question(1);
    for other in [
        Question { issued: issued + 1, name },
        Question { name: HolderName { writes: false, ..name }, issued },
        Question { name: HolderName { ino: 8, ..name }, issued },
    ] {
        assert_eq!(holders.judge(&other, old, 5), Judged::Ask, "{other:?}");
    }
}

#[test]
fn the_table_has_room_for_what_it_promises() {
    let holders = Holders::new(&SeededEntropy::new(1));
    let count = u32::try_from(HOLDERS_KNOWN_MAX / 4).unwrap();
    for tag in 0..count {
        holders.note(&question(tag), tag % 2 == 0, 7);
    }
    let old = HANDLE_FRESH_STEPS + 1;
    let mut forgotten = 0;
    for tag in 0..count {
        match holders.judge(&question(tag), old, 7) {
            Judged::Ask => forgotten += 1,
            judged => assert_eq!(judged == Judged::Good, tag % 2 == 0, "{tag}"),
        }
    }
    assert!(forgotten < count / 100, "a quarter full it forgets {forgotten} of {count}");
}
