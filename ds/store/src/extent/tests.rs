//! What an extent keeps of a segment, and what it forgets.

use super::*;

const NAME: ExtentId = ExtentId { ino: 1, index: 2 };

fn act(kind: Kind, epoch: u64, sequence: u64, offset: u32) -> Act {
    let length = match kind {
        Kind::Write => 10,
        Kind::Fence => 0,
        Kind::Cut | Kind::Drop | Kind::Image => EXTENT_BYTES - offset,
    };
    Act { kind, extent: NAME, epoch: Epoch(epoch), sequence, offset, length }
}

fn at(segment: u64) -> Location {
    Location { segment, offset: 4096, payload_len: 10 }
}

fn extent_of(records: &[(Act, u64)]) -> (Extent, std::collections::BTreeMap<u64, i64>) {
    let (mut extent, mut shifts) = (Extent::default(), Vec::new());
    records.iter().for_each(|(act, segment)| extent.apply(act, at(*segment), &mut shifts));
    let mut sums = std::collections::BTreeMap::new();
    shifts.iter().for_each(|(segment, by)| *sums.entry(*segment).or_insert(0) += by);
    sums.retain(|_, sum| *sum != 0);
    (extent, sums)
}

#[test]
fn records_add_up_in_any_order() {
    let records = [
        (act(Kind::Write, 1, 1, 0), 1),
        (act(Kind::Fence, 3, 2, 0), 2),
        (act(Kind::Cut, 4, 3, 5), 3),
        (act(Kind::Write, 5, 4, 20), 4),
    ];
    let (forward, _) = extent_of(&records);
    let backward: Vec<_> = records.iter().rev().copied().collect();
    let (backward, _) = extent_of(&backward);
    for extent in [&forward, &backward] {
        assert_eq!((extent.epoch, extent.cut_epoch, extent.sequence), (Epoch(5), Epoch(4), 4));
        assert_eq!((extent.pieces.end(), extent.pieces.held()), (30, 15));
        assert_eq!((extent.records, extent.tombstone), (4, false));
        assert_eq!((extent.epoch_at, extent.cut_at), (Some((Epoch(5), 4)), Some(3)));
    }
    assert_eq!(forward.pieces, backward.pieces);
}

#[test]
fn what_a_segment_alone_says_is_kept() {
    let (extent, sums) = extent_of(&[(act(Kind::Write, 1, 1, 0), 1), (act(Kind::Cut, 4, 3, 5), 2)]);
    let one = RECORD_WEIGHT_BYTES as i64;
    assert_eq!(sums, [(1, one + 5), (2, 3 * one)].into());
    let data = extent.keep(NAME, 1, 1).unwrap();
    assert_eq!((data.data.len(), data.acts.len()), (1, 0));
    let rest = extent.keep(NAME, 2, 1).unwrap();
    let fence = Act { sequence: 3, ..act(Kind::Fence, 4, 0, 0) };
    assert_eq!(rest, Keep { acts: vec![act(Kind::Cut, 4, 3, 5), fence], ..Keep::default() });
    assert_eq!(extent.keep(NAME, 3, 0), Some(Keep::default()));
}

#[test]
fn copies_take_over() {
    let (mut extent, _) = extent_of(&[(act(Kind::Write, 1, 1, 0), 1), (act(Kind::Cut, 4, 3, 5), 1)]);
    let keep = extent.keep(NAME, 1, 2).unwrap();
    let mut shifts = Vec::new();
    for act in &keep.acts {
        extent.relocate(act, 1, at(9), &mut shifts);
    }
    let (offset, piece) = keep.data[0];
    let copy = Act { length: piece.length, ..act(Kind::Write, 4, piece.sequence, offset) };
    extent.relocate(&copy, 1, at(9), &mut shifts);
    assert_eq!(extent.keep(NAME, 1, 2), Some(Keep::default()));
    assert_eq!(extent.lose_segment(1, 2, &mut shifts), Lost::Nothing);
    assert_eq!((extent.records, extent.pieces.held()), (3, 5));
    let gone: i64 = shifts.iter().filter(|(segment, _)| *segment == 1).map(|(_, by)| by).sum();
    assert_eq!(gone, -(4 * RECORD_WEIGHT_BYTES as i64 + 5));
}

#[test]
fn a_tombstone_goes_with_its_last_segment() {
    let (mut extent, _) = extent_of(&[(act(Kind::Write, 1, 1, 0), 1), (act(Kind::Drop, 2, 3, 0), 2)]);
    assert!(extent.tombstone);
    // The older WRITE in segment 1 must stay hidden.
    let kept = extent.keep(NAME, 2, 1).unwrap();
    let fence = act(Kind::Fence, 2, 0, 0);
    assert_eq!(kept.acts, [act(Kind::Drop, 2, 3, 0), fence]);
    let mut shifts = Vec::new();
    assert_eq!(extent.lose_segment(1, 1, &mut shifts), Lost::Nothing);
    assert_eq!(extent.keep(NAME, 2, 1), None);
    extent.writers[0] = 1;
    assert!(extent.keep(NAME, 2, 1).is_some(), "a WRITE is about to bring it back");
    extent.writers[0] = 0;
    assert_eq!(extent.lose_segment(2, 1, &mut shifts), Lost::Everything);
}

#[test]
fn a_tombstone_that_comes_back_at_the_last_moment_keeps_its_cut_epoch() {
    let (mut extent, _) = extent_of(&[(act(Kind::Write, 1, 1, 0), 1), (act(Kind::Drop, 2, 3, 0), 1)]);
    assert_eq!(extent.keep(NAME, 1, 2), None);
    let mut shifts = Vec::new();
    extent.apply(&act(Kind::Write, 2, 4, 0), at(2), &mut shifts);
    assert_eq!(extent.lose_segment(1, 2, &mut shifts), Lost::CutEpoch);
    extent.apply(&extent.cut_mark(NAME), at(2), &mut shifts);
    assert_eq!((extent.cut_epoch, extent.cut_at), (Epoch(2), Some(2)));
    assert_eq!((extent.pieces.held(), extent.cut_keep), (10, 0), "the record that says it again cut nowhere");
}

#[test]
fn a_dropped_extent_comes_back_with_a_write() {
    let (extent, _) = extent_of(&[
        (act(Kind::Write, 1, 1, 0), 1),
        (act(Kind::Drop, 2, 3, 0), 1),
        (act(Kind::Write, 3, 4, 100), 1),
    ]);
    assert!(!extent.tombstone);
    assert_eq!((extent.pieces.held(), extent.pieces.end()), (10, 110));
}
