//! Ranges against a model that keeps one kind per byte.

use proptest::prelude::*;

use super::*;

const BYTES: usize = 40;

fn span(offset_bytes: u64, length_bytes: u64) -> Span {
    Span::of(Range { offset_bytes, length_bytes }).unwrap()
}

fn held(first: u64, last: u64, exclusive: bool) -> HeldRange {
    HeldRange { first, last, exclusive }
}

#[test]
fn span_takes_what_the_rfc_allows() {
    assert_eq!(Span::of(Range { offset_bytes: 5, length_bytes: 0 }), None);
    assert_eq!(Span::of(Range { offset_bytes: 2, length_bytes: u64::MAX - 1 }), None);
    assert_eq!(span(1, u64::MAX - 1), Span { first: 1, last: u64::MAX - 1 });
    assert_eq!(span(7, u64::MAX), Span { first: 7, last: u64::MAX });
    assert_eq!(held(7, u64::MAX, true).range(), Range { offset_bytes: 7, length_bytes: u64::MAX });
    assert_eq!(held(7, 7, true).range(), Range { offset_bytes: 7, length_bytes: 1 });
}

#[test]
fn lock_splits_and_merges() {
    let ranges = lock(&[], span(10, 10), false);
    assert_eq!(ranges, [held(10, 19, false)]);
    let ranges = lock(&ranges, span(12, 3), true);
    assert_eq!(ranges, [held(10, 11, false), held(12, 14, true), held(15, 19, false)]);
    let ranges = lock(&ranges, span(12, 3), false);
    assert_eq!(ranges, [held(10, 19, false)]);
    let ranges = unlock(&ranges, span(0, u64::MAX));
    assert_eq!(ranges, []);
}

#[test]
fn conflict_follows_kind() {
    let reads = [held(10, 19, false)];
    assert_eq!(conflict(&reads, span(0, 11), false), None);
    assert_eq!(conflict(&reads, span(0, 11), true), Some(reads[0]));
    assert_eq!(conflict(&reads, span(0, 10), true), None);
    assert_eq!(conflict(&[held(3, 3, true)], span(3, u64::MAX), false), Some(held(3, 3, true)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn ranges_match_a_byte_array(
        acts in prop::collection::vec((0..BYTES as u64, 1..BYTES as u64, 0..3u8), 1..40)
    ) {
        let mut model = [None; BYTES];
        let mut ranges = Vec::new();
        for (offset, length, act) in acts {
            let span = span(offset, length.min(BYTES as u64 - offset));
            let cells = &mut model[usize::try_from(span.first).unwrap()..=usize::try_from(span.last).unwrap()];
            ranges = match act {
                0 => unlock(&ranges, span),
                kind => lock(&ranges, span, kind == 1),
            };
            cells.fill(match act { 0 => None, kind => Some(kind == 1) });

            for (byte, expected) in model.iter().enumerate() {
                let at = Span { first: byte as u64, last: byte as u64 };
                let found: Vec<_> = ranges.iter().filter(|range| range.overlaps(at)).collect();
                prop_assert!(found.len() <= 1);
                prop_assert_eq!(found.first().map(|range| range.exclusive), *expected);
                prop_assert_eq!(conflict(&ranges, at, true).is_some(), expected.is_some());
                prop_assert_eq!(conflict(&ranges, at, false).is_some(), *expected == Some(true));
            }
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].last < pair[1].first);
                prop_assert!(pair[0].exclusive != pair[1].exclusive || pair[0].last + 1 < pair[1].first);
            }
        }
    }
}
