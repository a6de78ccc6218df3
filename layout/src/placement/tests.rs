//! Tests of the choice of a primary.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

fn server(id: u32, free_bytes: u64) -> Candidate {
    Candidate { id: DataServerId(id), free_bytes, up: true }
}

fn count_over(candidates: &[Candidate], turns: u64) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for rotation in 0..turns {
        *counts.entry(choose(candidates, rotation).unwrap().0).or_default() += 1;
    }
    counts
}

#[test]
fn equal_servers_take_turns() {
    let all: Vec<_> = (1..=4).map(|id| server(id, 50 * GIB - u64::from(id) * 1000)).collect();
    let chosen: Vec<u32> = (0..8).map(|rotation| choose(&all, rotation).unwrap().0).collect();
    assert_eq!(chosen, [1, 2, 3, 4, 1, 2, 3, 4]);
}

#[test]
fn a_half_full_server_gets_about_half() {
    let all = [server(1, 80 * GIB), server(2, 40 * GIB)];
    let counts = count_over(&all, 1000);
    assert!(600 < counts[&1], "{counts:?}");
    assert!(300 < counts[&2], "{counts:?}");
}

#[test]
fn down_and_full_servers_are_left_out() {
    let down = Candidate { up: false, ..server(1, 90 * GIB) };
    let all = [down, server(2, 0), server(3, GIB)];
    assert_eq!(count_over(&all, 50).keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(choose(&all[..2], 0), None);
    assert_eq!(choose(&[], 7), None);
}

#[test]
fn the_last_bytes_are_used() {
    let all = [server(1, EXTENT_BYTES - 1), server(2, 0)];
    assert_eq!(choose(&all, 5), Some(DataServerId(1)));
    let roomier = [server(1, EXTENT_BYTES - 1), server(2, EXTENT_BYTES)];
    assert_eq!(count_over(&roomier, 20).len(), 1);
}

#[test]
fn order_does_not_matter() {
    let one = [server(1, 9 * GIB), server(2, 5 * GIB), server(3, 8 * GIB)];
    let two = [one[2], one[0], one[1]];
    for rotation in 0..100 {
        assert_eq!(choose(&one, rotation), choose(&two, rotation));
    }
}

proptest! {
    /// A server that is chosen is up and has room; each that has room gets a turn; the freest never
    /// gets fewest.
    #[test]
    fn choice_is_fit(free in proptest::collection::vec(0..200u64, 1..12), rotation: u64) {
        let all: Vec<_> =
            free.iter().zip(0..).map(|(gib, id)| server(id, gib * GIB)).collect();
        match choose(&all, rotation) {
            Some(id) => prop_assert!(EXTENT_BYTES <= all[id.0 as usize].free_bytes),
            None => prop_assert!(free.iter().all(|gib| *gib == 0)),
        }
        if free.iter().any(|gib| *gib != 0) {
            let counts = count_over(&all, 12 * PLACEMENT_STEPS);
            prop_assert_eq!(counts.len(), free.iter().filter(|gib| **gib != 0).count());
        }
    }
}
