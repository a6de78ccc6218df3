//! What a ledger takes for held, and what an interruption may do to it.

use std::path::PathBuf;

use super::*;

/// A file of this test, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shoal-ledger-{name}-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn setting(code: &str) -> Setting {
    Setting { code: code.to_owned(), minutes: 2.5, more: vec!["--seal".to_owned(), "--clients".to_owned()] }
}

fn outcome(held: bool) -> Outcome {
    Outcome { held, simulated_s: 350, acts: 1_000, undecided: 1, digest: "00ff".to_owned() }
}

fn open(place: &Place, of: Setting, any_code: bool) -> Ledger {
    Ledger::open(&place.0, of, &(1..10), any_code).unwrap()
}

fn held(ledger: &Ledger) -> Vec<u64> {
    ledger.held().iter().copied().collect()
}

#[test]
fn what_held_is_passed_over_and_what_broke_is_not() {
    let place = Place::new("held");
    let mut ledger = open(&place, setting("a"), false);
    for (seed, is_held) in [(3, true), (4, false), (5, true), (5, true), (12, true)] {
        ledger.add(seed, &outcome(is_held)).unwrap();
    }
    let ledger = open(&place, setting("a"), false);
    assert_eq!(held(&ledger), [3, 5], "4 broke, 12 is not asked for");
    assert_eq!(ledger.sums(), Sums { simulated_s: 700, acts: 2_000, undecided: 2 });
}

#[test]
fn other_code_counts_only_if_it_is_asked_for_and_other_arguments_never() {
    let place = Place::new("code");
    open(&place, setting("a"), false).add(3, &outcome(true)).unwrap();
    let other = open(&place, setting("b"), false);
    assert_eq!(held(&other), [0; 0]);
    assert_eq!(other.elsewhere().get("a"), Some(&1));
    assert_eq!(held(&open(&place, setting("b"), true)), [3]);
    let longer = Setting { minutes: 5.0, ..setting("a") };
    assert_eq!(held(&open(&place, longer, true)), [0; 0]);
    let plain = Setting { more: Vec::new(), ..setting("a") };
    assert_eq!(held(&open(&place, plain, true)), [0; 0]);
}

#[test]
fn a_torn_line_counts_for_nothing_and_spoils_no_other() {
    let place = Place::new("torn");
    let mut ledger = open(&place, setting("a"), false);
    ledger.add(3, &outcome(true)).unwrap();
    ledger.add(4, &outcome(true)).unwrap();
    let whole = std::fs::read(&place.0).unwrap();
    // With its last word it is whole, though the end of the line is gone.
    std::fs::write(&place.0, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(held(&open(&place, setting("a"), false)), [3, 4]);
    for cut in 2..=6 {
        std::fs::write(&place.0, &whole[..whole.len() - cut]).unwrap();
        let mut ledger = open(&place, setting("a"), false);
        assert_eq!(held(&ledger), [3], "{cut} bytes are gone");
        ledger.add(6, &outcome(true)).unwrap();
        assert_eq!(held(&open(&place, setting("a"), false)), [3, 6]);
    }
}

#[test]
fn the_line_is_as_it_is_drawn() {
    let line = "7\theld\ta\t2.5\t--seal --clients\t350\t1000\t1\t00ff\tend\n";
    assert_eq!(print(&setting("a"), 7, &outcome(true)), line);
    assert_eq!(parse(line), Some((setting("a"), 7, outcome(true))));
    assert_eq!(parse(&line.replace("held", "hold")), None);
}

#[test]
fn another_file_is_refused() {
    let place = Place::new("other");
    std::fs::write(&place.0, "something else\n").unwrap();
    assert!(Ledger::open(&place.0, setting("a"), &(1..2), false).is_err());
    assert_eq!(std::fs::read(&place.0).unwrap(), b"something else\n");
}
