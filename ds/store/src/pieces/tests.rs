//! The interval map against an array of (sequence, byte identity), in any order of records.

use proptest::prelude::*;

use super::*;

const SPAN: u32 = 64;

fn location(number: u64) -> Location {
    Location { segment: number / 4, offset: 64 * number, payload_len: SPAN }
}

fn data(number: u64, length: u32) -> Piece {
    let at = location(number);
    Piece { length, sequence: number, segment: at.segment, source: Source::Data { at, skip: 0 } }
}

/// What each byte should be: sequence, location and skip of the winner; `None` skip is a hole.
#[derive(Clone, Default)]
struct Model(Vec<Option<(u64, Option<u32>)>>);

impl Model {
    fn overlay(&mut self, offset: u32, piece: Piece) {
        self.0.resize(SPAN as usize, None);
        for at in offset..(offset + piece.length).min(SPAN) {
            let cell = &mut self.0[at as usize];
            if cell.is_none_or(|(sequence, _)| sequence < piece.sequence) {
                let skip = matches!(piece.source, Source::Data { .. }).then_some(at - offset);
                *cell = Some((piece.sequence, skip));
            }
        }
    }
}

fn check(pieces: &Pieces, model: &Model) {
    for at in 0..SPAN {
        let step = pieces.read(at, 1, 8);
        let expected = match model.0[at as usize] {
            Some((sequence, Some(skip))) => {
                let at = location(sequence);
                Step::Data { at, segment: at.segment, skip, length: 1 }
            }
            Some((_, None)) | None => Step::Zeros(1),
        };
        assert_eq!(step, [expected], "byte {at}");
    }
    let is_data = |cell: &Option<(u64, Option<u32>)>| matches!(cell, Some((_, Some(_))));
    assert_eq!(pieces.held() as usize, model.0.iter().filter(|cell| is_data(cell)).count());
    assert_eq!(pieces.end() as usize, model.0.iter().rposition(is_data).map_or(0, |at| at + 1));
    let steps = pieces.read(0, SPAN, usize::MAX);
    let length = |step: &Step| match step {
        Step::Zeros(length) | Step::Data { length, .. } | Step::Image { length, .. } => *length,
    };
    assert_eq!(steps.iter().map(length).sum::<u32>(), SPAN);
}

fn weights(pieces: &Pieces) -> std::collections::BTreeMap<u64, i64> {
    let mut sums = std::collections::BTreeMap::new();
    pieces.iter().for_each(|(_, piece)| *sums.entry(piece.segment).or_insert(0) += piece.weight() as i64);
    sums
}

fn records() -> impl Strategy<Value = Vec<(u32, u32, bool)>> {
    prop::collection::vec((0..SPAN, 1..SPAN, prop::bool::weighted(0.2)), 1..24)
}

fn piece_of(number: u64, offset: u32, length: u32, hole: bool) -> Piece {
    if hole {
        let source = Source::Hole;
        return Piece { length: EXTENT_BYTES - offset, sequence: number, segment: number / 4, source };
    }
    data(number, length.min(SPAN - offset))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_gives_the_newest_bytes(records in records(), order in any::<prop::sample::Index>(), twice: bool) {
        let mut numbered: Vec<_> = (1u64..).zip(records).collect();
        let turn = order.index(numbered.len());
        numbered.rotate_left(turn);
        let (mut pieces, mut model, mut sums) = (Pieces::default(), Model::default(), std::collections::BTreeMap::new());
        for (number, (offset, length, hole)) in numbered.iter().chain(numbered.iter().filter(|_| twice)) {
            let piece = piece_of(*number, *offset, *length, *hole);
            let mut shifts = Vec::new();
            pieces.overlay(*offset, piece, &mut shifts);
            model.overlay(*offset, piece);
            shifts.iter().for_each(|(segment, by)| *sums.entry(*segment).or_insert(0) += by);
        }
        check(&pieces, &model);
        sums.retain(|_, sum| *sum != 0);
        prop_assert_eq!(sums, weights(&pieces));
    }

    #[test]
    fn moved_records_read_from_their_copies(records in records(), victim in 0u64..3) {
        let (mut pieces, mut model) = (Pieces::default(), Model::default());
        for (number, (offset, length, hole)) in (1u64..).zip(records) {
            let piece = piece_of(number, offset, length, hole);
            pieces.overlay(offset, piece, &mut Vec::new());
            model.overlay(offset, piece);
        }
        let held = pieces.held();
        for (offset, piece) in pieces.of_segment(victim) {
            let copy = Piece { segment: 99, ..piece };
            let mut shifts = Vec::new();
            pieces.relocate(offset, victim, copy, &mut shifts);
            prop_assert_eq!(shifts.iter().map(|(_, by)| by).sum::<i64>(), 0);
        }
        prop_assert!(pieces.of_segment(victim).is_empty());
        prop_assert_eq!(pieces.held(), held);
    }
}

/// A copy that arrives after newer bytes were laid over part of its original moves only what still
/// shows.
#[test]
fn a_late_copy_does_not_bury_newer_bytes() {
    let mut pieces = Pieces::default();
    pieces.overlay(0, data(1, 40), &mut Vec::new());
    pieces.overlay(10, data(8, 10), &mut Vec::new());
    let copy_at = Location { segment: 7, offset: 4096, payload_len: 40 };
    let source = Source::Data { at: copy_at, skip: 0 };
    pieces.relocate(0, 0, Piece { length: 40, sequence: 1, segment: 7, source }, &mut Vec::new());
    let steps = pieces.read(0, 40, 8);
    assert_eq!(
        steps,
        [
            Step::Data { at: copy_at, segment: 7, skip: 0, length: 10 },
            Step::Data { at: location(8), segment: 2, skip: 0, length: 10 },
            Step::Data { at: copy_at, segment: 7, skip: 20, length: 20 },
        ]
    );
}

#[test]
fn a_read_of_too_many_pieces_comes_back_short() {
    let mut pieces = Pieces::default();
    (0..8).for_each(|number| pieces.overlay(number * 4, data(u64::from(number) + 1, 4), &mut Vec::new()));
    assert_eq!(pieces.read(0, 32, 3).len(), 3);
    assert_eq!(pieces.read(2, 8, 3).len(), 3);
}

/// A READ may ask for nothing, inside a piece, at its edges, and where nothing is.
#[test]
fn no_bytes_are_no_step() {
    let mut pieces = Pieces::default();
    pieces.overlay(8, data(1, 8), &mut Vec::new());
    for at in [0, 8, 12, 16, EXTENT_BYTES] {
        assert_eq!(pieces.read(at, 0, 8), [], "at {at}");
    }
}
