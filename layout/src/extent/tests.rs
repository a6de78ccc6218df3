//! Tests of extents and the cutting of ranges.

use proptest::prelude::*;

use super::*;

#[test]
fn first_and_end() {
    let extent = ExtentId::of(7, 3 * EXTENT_BYTES + 5).unwrap();
    assert_eq!(extent, ExtentId { ino: 7, index: 3 });
    assert_eq!(extent.first_byte(), 3 * EXTENT_BYTES);
    assert_eq!(extent.end_byte(), 4 * EXTENT_BYTES);
    assert_eq!(extent.to_string(), "7/3");
}

#[test]
fn the_last_extent_of_all() {
    let last = ExtentId::of(1, FILE_BYTES_MAX - 1).unwrap();
    assert_eq!(last.index, u32::MAX);
    assert_eq!(last.end_byte(), FILE_BYTES_MAX);
    assert_eq!(ExtentId::of(1, FILE_BYTES_MAX), None);
    assert_eq!(ExtentId::of(1, u64::MAX), None);
}

#[test]
fn contains_is_exact() {
    let extent = ExtentId { ino: 1, index: 1 };
    assert!(extent.contains(EXTENT_BYTES, EXTENT_BYTES));
    assert!(extent.contains(EXTENT_BYTES, 0));
    assert!(extent.contains(2 * EXTENT_BYTES, 0));
    assert!(!extent.contains(EXTENT_BYTES - 1, 1));
    assert!(!extent.contains(EXTENT_BYTES + 1, EXTENT_BYTES));
    assert!(!extent.contains(EXTENT_BYTES, u64::MAX));
}

#[test]
fn a_range_over_three_extents() {
    let got: Vec<_> = pieces(9, EXTENT_BYTES - 10, EXTENT_BYTES + 30).collect();
    let at = |index| ExtentId { ino: 9, index };
    assert_eq!(
        got,
        vec![
            (at(0), EXTENT_BYTES - 10, 10),
            (at(1), EXTENT_BYTES, EXTENT_BYTES),
            (at(2), 2 * EXTENT_BYTES, 20),
        ]
    );
}

#[test]
fn empty_and_hostile_ranges() {
    assert_eq!(pieces(1, 5, 0).count(), 0);
    assert_eq!(pieces(1, u64::MAX, u64::MAX).count(), 0);
    let got: Vec<_> = pieces(1, FILE_BYTES_MAX - 1, u64::MAX).collect();
    assert_eq!(got, vec![(ExtentId { ino: 1, index: u32::MAX }, FILE_BYTES_MAX - 1, 1)]);
}

proptest! {
    /// Pieces are adjacent, within their extents, and cover the range.
    #[test]
    fn pieces_cover_the_range(offset in 0..FILE_BYTES_MAX / 2, len in 0..20 * EXTENT_BYTES) {
        let mut next = offset;
        for (extent, piece_offset, piece_len) in pieces(3, offset, len) {
            prop_assert_eq!(piece_offset, next);
            prop_assert!(0 < piece_len);
            prop_assert!(extent.contains(piece_offset, piece_len));
            prop_assert_eq!(ExtentId::of(3, piece_offset), Some(extent));
            next += piece_len;
        }
        prop_assert_eq!(next, offset + len);
    }
}
