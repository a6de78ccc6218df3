//! Any records in any order, with any segments emptied, against an array of bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::pieces::Step;

/// The model looks at this much of the extent.
const SPAN: u32 = 48;

/// What a byte is: the act that says it, and where in it, if it is no hole.
type Cell = (u64, Option<(Kind, u32)>);

#[derive(Clone, Debug)]
struct Written {
    act: Act,
    segment: u64,
}

/// Where the model's record with this sequence begins: what is read can be told from it.
fn place(written: &Written) -> Location {
    Location { segment: written.segment, offset: 4096 * (1 + written.act.sequence), payload_len: 64 }
}

fn written() -> impl Strategy<Value = Vec<Written>> {
    let one = (0..SPAN, 1..SPAN, prop_oneof![6 => Just(0u8), 2 => Just(1), 3 => Just(2), 1 => Just(3)]);
    prop::collection::vec(one, 1..20).prop_map(|all| {
        let acts = (1u64..).zip(all).map(|(number, (offset, length, kind))| {
            let (sequence, length) = (2 * number, length.min(SPAN - offset));
            let act = match kind {
                0 => Act { length, ..act(Kind::Write, 1, sequence, offset) },
                1 => act(Kind::Cut, 1, sequence, offset),
                // Sealed some time ago: what came meanwhile lies above.
                2 => {
                    let sealed = number.saturating_sub(u64::from(length % 4)).max(1);
                    act(Kind::Image, 1, 2 * sealed + 1, offset.max(1))
                }
                _ => act(Kind::Cut, 0, sequence, EXTENT_BYTES),
            };
            Written { act, segment: number / 3 }
        });
        // Two images of one act would contradict each other.
        let mut seen = std::collections::BTreeSet::new();
        acts.filter(|one| one.act.kind != Kind::Image || seen.insert(one.act.sequence)).collect()
    })
}

fn cells(all: &[Written]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = vec![(0, None); SPAN as usize];
    for Written { act, .. } in all {
        let (from, to) = match act.kind {
            Kind::Image => (0, SPAN),
            _ => (act.offset.min(SPAN), act.offset.saturating_add(act.length).min(SPAN)),
        };
        for at in from..to {
            let said = match act.kind {
                Kind::Write => Some((Kind::Write, at - act.offset)),
                Kind::Image => (at < act.offset).then_some((Kind::Image, at)),
                _ => None,
            };
            let cell = &mut cells[at as usize];
            if cell.0 < act.sequence {
                *cell = (act.sequence, said);
            }
        }
    }
    cells
}

fn extent_in(order: &[&Written]) -> Extent {
    let (mut extent, mut shifts) = (Extent::default(), Vec::new());
    order.iter().for_each(|one| extent.apply(&one.act, place(one), &mut shifts));
    check_weights(&extent, &shifts);
    extent
}

/// The shifts add up to what is there.
fn check_weights(extent: &Extent, shifts: &[Shift]) {
    let mut sums: BTreeMap<u64, i64> = BTreeMap::new();
    shifts.iter().for_each(|(segment, by)| *sums.entry(*segment).or_default() += by);
    sums.retain(|_, sum| *sum != 0);
    assert_eq!(sums, extent.weights());
}

fn check(extent: &Extent, cells: &[Cell]) {
    for at in 0..SPAN {
        let step = extent.pieces.read(at, 1, 8)[0];
        let (sequence, said) = cells[at as usize];
        match (step, said) {
            (Step::Zeros(1), None) => {}
            (Step::Data { at: place, skip, .. }, Some((Kind::Write, expected))) => {
                assert_eq!((place.offset / 4096 - 1, skip), (sequence, expected), "byte {at}");
            }
            (Step::Image { offset, length: 1 }, Some((Kind::Image, _))) => {
                assert_eq!((offset, extent.base.as_ref().unwrap().sequence), (at, sequence), "byte {at}");
            }
            _ => panic!("byte {at}: {step:?}, not {said:?} of {sequence}"),
        }
    }
    let end = cells.iter().rposition(|cell| cell.1.is_some()).map_or(0, |at| at + 1);
    let held = cells.iter().filter(|cell| cell.1.is_some()).count();
    assert_eq!((extent.pieces.end() as usize, extent.pieces.held() as usize), (end, held));
    assert_eq!(extent.base.is_some(), 0 < extent.pieces.image_bytes());
}

/// Empties a segment as compaction does; `all` becomes what is then in the journal.
fn empty(extent: &mut Extent, all: &mut Vec<Written>, segment: u64, to: u64) {
    let records = all.iter().filter(|one| one.segment == segment).count() as u32;
    let Some(keep) = extent.keep(NAME, segment, records) else { return };
    let mut shifts: Vec<Shift> = extent.weights().into_iter().collect();
    let mut copy = |extent: &mut Extent, act: Act, skip: Option<(Location, u32)>| {
        // A copy begins where what is left of its original did.
        let mut at = place(&Written { act, segment: to });
        if let Some((_, skip)) = skip {
            at.offset += u64::from(skip);
        }
        extent.relocate(&act, segment, at, &mut shifts);
        all.push(Written { act, segment: to });
    };
    for act in keep.acts.into_iter().chain(keep.image.map(|(act, _)| act)) {
        copy(extent, act, None);
    }
    for (offset, piece) in keep.data {
        let Source::Data { at, skip } = piece.source else { panic!("{piece:?} is no data") };
        let length = piece.length;
        let act = Act { length, ..act(Kind::Write, 1, piece.sequence, offset) };
        copy(extent, act, Some((at, skip)));
    }
    assert_eq!(extent.keep(NAME, segment, records), Some(Keep::default()), "all was copied");
    extent.lose_segment(segment, records, &mut shifts);
    all.retain(|one| one.segment != segment);
    check_weights(extent, &shifts);
}

/// Which bytes are there, and from where, without the places that copying changes.
fn shape(extent: &Extent) -> Vec<(u32, u32, u64, u8)> {
    let mut shape: Vec<(u32, u32, u64, u8)> = Vec::new();
    for (offset, piece) in extent.pieces.iter().filter(|(_, piece)| piece.source != Source::Hole) {
        let source = u8::from(piece.source == Source::Image);
        match shape.last_mut() {
            Some(last) if last.0 + last.1 == offset && (last.2, last.3) == (piece.sequence, source) => {
                last.1 += piece.length;
            }
            _ => shape.push((offset, piece.length, piece.sequence, source)),
        }
    }
    shape
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_order_says_the_same(all in written().prop_shuffle()) {
        check(&extent_in(&all.iter().collect::<Vec<_>>()), &cells(&all));
    }

    #[test]
    fn emptied_segments_leave_the_rest_as_it_was(
        all in written(),
        victims in prop::collection::vec(0u64..7, 1..4),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut all = all;
        let order: Vec<&Written> = all.iter().collect();
        let mut extent = extent_in(&order);
        let (before, newest) = (shape(&extent), extent.sequence);
        for (number, victim) in (100..).zip(victims) {
            empty(&mut extent, &mut all, victim, number);
            prop_assert_eq!(shape(&extent), before.clone());
        }
        // Read again from what is left, in another order.
        let turn = turn.index(all.len().max(1));
        let length = all.len();
        all.rotate_left(turn.min(length));
        let again = extent_in(&all.iter().collect::<Vec<_>>());
        prop_assert_eq!(shape(&again), before);
        prop_assert_eq!((again.sequence, again.pieces.end()), (newest, extent.pieces.end()));
    }
}
