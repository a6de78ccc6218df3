//! Which size a modelled Linux host believes.

use super::*;

const QUIET: Around =
    Around { order: ChangeOrder::Undefined, writebacks: false, layoutcommit: false, writers: true };

/// A file of 100 bytes with change 7, whose attributes are of generation 10.
fn cached() -> (Attributes, Generations) {
    let mut generations = Generations(10);
    let mut attributes = Attributes::default();
    let told = Told { generation: 10, size: Some(100), change: Some(7) };
    attributes.refresh(told, QUIET, &mut generations);
    assert_eq!(attributes.size(), 100);
    (attributes, generations)
}

#[test]
fn a_smaller_size_is_taken_when_nothing_is_dirty() {
    let (mut attributes, mut generations) = cached();
    let told = Told { generation: generations.next(), size: Some(60), change: Some(7) };
    attributes.refresh(told, Around { writebacks: true, ..QUIET }, &mut generations);
    assert_eq!(attributes.size(), 100, "pages are dirty");
    let told = Told { generation: generations.next(), ..told };
    attributes.refresh(told, Around { layoutcommit: true, ..QUIET }, &mut generations);
    assert_eq!(attributes.size(), 60, "a LAYOUTCOMMIT that is due does not protect it");
}

#[test]
fn a_larger_size_is_taken_even_when_pages_are_dirty() {
    let (mut attributes, mut generations) = cached();
    let told = Told { generation: generations.next(), size: Some(160), change: Some(8) };
    attributes.refresh(told, Around { writebacks: true, ..QUIET }, &mut generations);
    assert_eq!(attributes.size(), 160);
}

/// An OPEN's reply that was sampled before a data server's answer, and comes behind it.
#[test]
fn an_older_rpc_passes_a_barrier_only_where_change_is_monotonic() {
    for (order, size) in [(ChangeOrder::Undefined, 200), (ChangeOrder::Monotonic, 100)] {
        let (mut attributes, mut generations) = cached();
        let around = Around { order, ..QUIET };
        let open = Told { generation: generations.next(), size: Some(100), change: Some(9) };
        attributes.extend(200);
        attributes.written(200, around, &mut generations);
        attributes.refresh(open, around, &mut generations);
        assert_eq!(attributes.size(), size, "{order:?}");
    }
}

/// The barrier of a LAYOUTCOMMIT is as new as its answer, whenever its size was sampled.
#[test]
fn what_layoutcommit_says_is_taken_whenever_it_was_sampled() {
    let (mut attributes, mut generations) = cached();
    let sampled = Told { generation: generations.next(), size: Some(100), change: Some(9) };
    attributes.extend(200);
    attributes.written(200, QUIET, &mut generations);
    attributes.completed(sampled, QUIET, &mut generations);
    assert_eq!(attributes.size(), 100);
}

#[test]
fn a_reply_of_unknown_age_that_differs_makes_the_size_stale() {
    let (mut attributes, mut generations) = cached();
    let around = Around { writers: false, ..QUIET };
    let told = Told { generation: 5, size: Some(60), change: Some(6) };
    attributes.refresh(told, around, &mut generations);
    assert_eq!((attributes.size(), attributes.size_is_stale()), (100, true));
    let told = Told { generation: generations.next(), size: Some(100), change: Some(7) };
    attributes.refresh(told, around, &mut generations);
    assert!(!attributes.size_is_stale());
}

#[test]
fn a_truncation_keeps_what_older_rpcs_say_away() {
    let (mut attributes, mut generations) = cached();
    let open = Told { generation: generations.next(), size: Some(100), change: Some(7) };
    let told = Told { generation: generations.next(), size: Some(40), change: Some(8) };
    attributes.set(Some(40), told, QUIET, &mut generations);
    attributes.refresh(open, QUIET, &mut generations);
    assert_eq!(attributes.size(), 40);
}
