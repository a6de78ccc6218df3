//! What an extent keeps of a segment, and what it forgets.

mod orders;

use super::*;

const NAME: ExtentId = ExtentId { ino: 1, index: 2 };

fn act(kind: Kind, epoch: u64, sequence: u64, offset: u32) -> Act {
    let length = match kind {
        Kind::Write => 10,
        Kind::Fence | Kind::Epoch => 0,
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
    let epoch = Act { sequence: 3, ..act(Kind::Epoch, 4, 0, 0) };
    assert_eq!(rest, Keep { acts: vec![act(Kind::Cut, 4, 3, 5), epoch], ..Keep::default() });
    assert_eq!(extent.keep(NAME, 3, 0), Some(Keep::default()));
}

/// The highest fence is kept, and no epoch that is none becomes one.
#[test]
fn a_fence_is_kept_beside_a_higher_epoch() {
    let records =
        [(act(Kind::Fence, 3, 1, 0), 1), (act(Kind::Cut, 4, 2, 5), 1), (act(Kind::Fence, 2, 3, 0), 1)];
    let (mut extent, _) = extent_of(&records);
    assert_eq!((extent.fence_epoch, extent.epoch), (Epoch(3), Epoch(4)));
    let kept = extent.keep(NAME, 1, 3).unwrap();
    let epoch = Act { sequence: 3, ..act(Kind::Epoch, 4, 0, 0) };
    assert_eq!(kept.acts, [act(Kind::Cut, 4, 2, 5), epoch, act(Kind::Fence, 3, 0, 0)]);
    let mut shifts = Vec::new();
    kept.acts.iter().for_each(|act| extent.relocate(act, 1, at(9), &mut shifts));
    assert_eq!(extent.lose_segment(1, 3, &mut shifts), Lost::Nothing);
    assert_eq!(extent.fence_at, Some((Epoch(3), 9)));
    // One that is the epoch as well takes one record, and so does what a DROP says.
    extent.apply(&act(Kind::Fence, 6, 7, 0), at(10), &mut shifts);
    assert_eq!(extent.keep(NAME, 10, 1).unwrap().acts, [Act { sequence: 7, ..act(Kind::Fence, 6, 0, 0) }]);
    extent.apply(&act(Kind::Drop, 8, 9, 0), at(11), &mut shifts);
    extent.writers[0] = 1;
    let kept = extent.keep(NAME, 11, 1).unwrap().acts;
    assert_eq!(kept, [act(Kind::Drop, 8, 9, 0), act(Kind::Epoch, 8, 0, 0)]);
}

/// A tombstone that comes back when its last segment goes fences as before.
#[test]
fn a_fence_above_the_cut_is_said_again() {
    let (mut extent, mut shifts) = (extent_of(&[(act(Kind::Drop, 2, 1, 0), 1)]).0, Vec::new());
    assert_eq!(extent.lost_marks(NAME), [extent.cut_mark(NAME)]);
    assert!(extent.cut_mark(NAME).fences());
    extent.fence_epoch = Epoch(5);
    extent.apply(&act(Kind::Write, 5, 3, 0), at(2), &mut shifts);
    assert_eq!(extent.lose_segment(1, 1, &mut shifts), Lost::CutEpoch);
    assert_eq!(extent.lost_marks(NAME), [extent.cut_mark(NAME), act(Kind::Fence, 5, 0, 0)]);
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
    assert_eq!(kept.acts, [act(Kind::Drop, 2, 3, 0), act(Kind::Epoch, 2, 0, 0)]);
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

fn image_act(epoch: u64, sequence: u64, content: u32) -> Act {
    act(Kind::Image, epoch, sequence, content)
}

#[test]
fn an_image_hides_what_is_older_and_nothing_else() {
    let (extent, sums) = extent_of(&[
        (act(Kind::Write, 1, 1, 0), 1),
        (act(Kind::Write, 1, 2, 100), 1),
        (act(Kind::Write, 1, 4, 5), 2),
        (image_act(1, 3, 110), 3),
    ]);
    let base = extent.base.clone().unwrap();
    assert_eq!((base.sequence, base.content_bytes, base.at, base.image), (3, 110, at(3), None));
    assert_eq!(
        (extent.pieces.data_bytes(), extent.pieces.image_bytes(), extent.pieces.end()),
        (10, 100, 110)
    );
    let one = RECORD_WEIGHT_BYTES as i64;
    assert_eq!(sums, [(2, one + 10), (3, one + 64 + one + one)].into(), "the image, its hole, the epoch");
    assert_eq!(extent.keep(NAME, 1, 2), Some(Keep::default()), "all of it is in the image");
    // A newer image hides all of the older one; an older one, or the same again, changes nothing.
    let (mut extent, mut shifts) = (extent, Vec::new());
    for (content, segment) in [(50, 4), (60, 5)] {
        extent.apply(&image_act(1, 9, content), at(segment), &mut shifts);
        extent.apply(&image_act(1, 2, 70), at(6), &mut shifts);
        let base = extent.base.clone().unwrap();
        assert_eq!((base.sequence, base.content_bytes, base.at.segment), (9, 50, 4));
        assert_eq!((extent.pieces.held(), extent.pieces.end()), (50, 50));
    }
}

#[test]
fn an_image_of_which_nothing_shows_is_no_base() {
    for end in [act(Kind::Cut, 2, 5, 0), act(Kind::Drop, 2, 5, 0)] {
        let records = [(image_act(1, 3, 20), 1), (end, 2)];
        let (extent, sums) = extent_of(&records);
        assert_eq!((extent.base.as_ref(), extent.pieces.held()), (None, 0));
        assert!(!sums.contains_key(&1));
        let backward: Vec<_> = records.iter().rev().copied().collect();
        assert_eq!(extent_of(&backward).0.base, None);
    }
    // Written over altogether: only the hole behind it is left, and that is a CUT's as well.
    let write = Act { length: 20, ..act(Kind::Write, 1, 4, 0) };
    let (extent, _) = extent_of(&[(image_act(1, 3, 20), 1), (write, 2)]);
    assert_eq!(extent.base, None);
    assert_eq!(extent.keep(NAME, 1, 1).unwrap().acts, [act(Kind::Cut, 0, 3, 20)]);
}

#[test]
fn an_image_is_copied_once_with_its_hole() {
    let image = image_act(1, 3, 30);
    let (mut extent, mut shifts) = (extent_of(&[(image, 1), (act(Kind::Write, 1, 4, 10), 2)]).0, Vec::new());
    let kept = extent.keep(NAME, 1, 1).unwrap();
    assert_eq!((kept.image, kept.data, kept.acts), (Some((image, at(1))), vec![], vec![]));
    extent.relocate(&image, 1, at(7), &mut shifts);
    assert_eq!(extent.keep(NAME, 1, 1), Some(Keep::default()));
    assert_eq!(extent.base.as_ref().unwrap().at, at(7));
    assert_eq!(extent.lose_segment(1, 1, &mut shifts), Lost::Nothing);
    assert_eq!((extent.pieces.image_bytes(), extent.pieces.end()), (20, 30));
}

/// A sequence that was given must not be given again, also where its record says nothing else.
#[test]
fn the_newest_sequence_is_kept_alone() {
    let mark = act(Kind::Cut, 0, 9, EXTENT_BYTES);
    // On a replica records come in any order: the epoch is said by the younger one.
    let (mut extent, mut shifts) = (extent_of(&[(mark, 1), (act(Kind::Write, 1, 8, 0), 2)]).0, Vec::new());
    assert_eq!(extent.bare_newest(), Some(9));
    let kept = extent.keep(NAME, 1, 1).unwrap();
    let epoch = Act { sequence: 9, ..act(Kind::Epoch, 1, 0, 0) };
    assert_eq!(kept.acts, [extent.cut_mark(NAME), epoch]);
    kept.acts.iter().for_each(|act| extent.relocate(act, 1, at(5), &mut shifts));
    assert_eq!(extent.lose_segment(1, 1, &mut shifts), Lost::Nothing);
    assert_eq!(extent.bare_newest(), Some(9));
    // A younger act takes over.
    extent.apply(&act(Kind::Write, 1, 10, 0), at(6), &mut shifts);
    assert_eq!(extent.bare_newest(), None);
    assert!(extent.keep(NAME, 5, 2).unwrap().acts.iter().all(|act| act.sequence < 9));
}
