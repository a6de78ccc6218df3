//! Histories that are in order, and ones that are not.

use super::*;
use crate::check::linearizable::{Acted, Verdict, check};

fn acted(
    client: usize,
    asked_ns: u64,
    answered_ns: u64,
    act: NameAct,
    answer: NameAnswer,
) -> Acted<NameAct, NameAnswer> {
    Acted { client, asked_ns, answer: Some((answered_ns, answer)), act }
}

fn unknown(asked_ns: u64, act: NameAct) -> Acted<NameAct, NameAnswer> {
    Acted { client: 9, asked_ns, answer: None, act }
}

#[test]
fn a_plain_history_holds() {
    let history = [
        acted(0, 1, 2, NameAct::Create(0), NameAnswer::Made(Some(7))),
        acted(1, 3, 4, NameAct::Rename(0, 1), NameAnswer::Done),
        acted(0, 5, 6, NameAct::List, NameAnswer::Listed(vec![(1, 7)])),
        acted(0, 7, 8, NameAct::Remove(0), NameAnswer::Missing),
    ];
    assert!(matches!(check(&Directory, &history), Verdict::Holds));
}

#[test]
fn a_stale_read_is_found() {
    let history = [
        acted(0, 1, 2, NameAct::Create(0), NameAnswer::Made(Some(7))),
        acted(1, 3, 4, NameAct::Lookup(0), NameAnswer::Missing),
    ];
    assert!(matches!(check(&Directory, &history), Verdict::Broken(_)));
}

#[test]
fn what_ran_twice_is_found() {
    let history = [
        acted(0, 1, 2, NameAct::Create(0), NameAnswer::Made(Some(7))),
        acted(0, 3, 4, NameAct::Remove(0), NameAnswer::Missing),
    ];
    assert!(matches!(check(&Directory, &history), Verdict::Broken(_)));
}

#[test]
fn what_may_have_happened_explains_much_but_not_all() {
    let seen = NameAnswer::Found { id: 7, directory: false };
    let mut history = vec![
        unknown(1, NameAct::Create(0)),
        acted(0, 5, 6, NameAct::Lookup(0), NameAnswer::Missing),
        acted(0, 7, 8, NameAct::Lookup(0), seen),
    ];
    assert!(matches!(check(&Directory, &history), Verdict::Holds));
    history.push(acted(0, 9, 10, NameAct::Lookup(0), NameAnswer::Found { id: 8, directory: false }));
    assert!(matches!(check(&Directory, &history), Verdict::Broken(_)));
}
