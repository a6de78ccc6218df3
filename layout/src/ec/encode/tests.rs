//! Encoding: lengths of every kind, windows of every size, and members that are not what they
//! should be.

use proptest::prelude::*;

use super::*;
use crate::ec::fixture::{self, draft, noise, whole};
use crate::ec::footer::{Footer, TRAILER_BYTES, Trailer};
use crate::ec::profile::Profile;
use crate::limits::{BLOCK_BYTES, COLUMN_BYTES, IMAGE_BYTES_MAX};

fn noisy(lengths: &[Option<usize>]) -> Vec<Option<Vec<u8>>> {
    lengths.iter().enumerate().map(|(slot, bytes)| bytes.map(|bytes| noise(slot as u64 + 1, bytes))).collect()
}

#[test]
fn parity_is_the_longest_member_in_whole_columns() {
    for (lengths, payload) in [
        ([Some(1), Some(64), None, Some(0)], 64),
        ([Some(0), None, None, None], 0),
        ([Some(65), Some(64), Some(63), Some(1)], 128),
        ([Some(BLOCK_BYTES), Some(BLOCK_BYTES + 1), None, None], BLOCK_BYTES + 64),
    ] {
        let group = whole(Profile::FourPlusTwo, &lengths);
        assert_eq!(group.shape.payload_bytes(), payload as u64);
        assert!(group.images[4..].iter().all(|parity| parity.len() == payload));
        for (slot, image) in group.images.iter().enumerate() {
            assert_eq!(group.shape.bytes(slot), image.len() as u64);
            if let Some((_, sum)) = group.shape.image(slot) {
                assert_eq!(sum, ImageSum::of(image));
            }
        }
    }
}

#[test]
fn the_size_of_windows_is_no_part_of_the_format() {
    let members =
        noisy(&[Some(3 * BLOCK_BYTES + 17), Some(5 * BLOCK_BYTES), None, Some(2 * BLOCK_BYTES - 1)]);
    let made_with =
        |window| fixture::encode(draft(Profile::FourPlusTwo, &members), &members, window).unwrap();
    let (first, payloads) = made_with(0);
    for window in [BLOCK_BYTES, 2 * BLOCK_BYTES + 1, 4 * BLOCK_BYTES, usize::MAX] {
        let (other, others) = made_with(window);
        assert_eq!(other.shape, first.shape);
        assert_eq!(other.footers, first.footers);
        assert!(others == payloads);
    }
}

#[test]
fn the_footer_vouches_for_every_block() {
    let group = whole(Profile::FourPlusTwo, &[Some(3 * BLOCK_BYTES + 17), Some(9), None, Some(BLOCK_BYTES)]);
    for (parity, bytes) in group.footers.iter().enumerate() {
        let file = group.shape.payload_bytes() + bytes.len() as u64;
        let trailer = Trailer::decode(bytes.last_chunk::<TRAILER_BYTES>().unwrap(), file).unwrap();
        assert_eq!(trailer.footer_bytes(), bytes.len());
        let footer = Footer::decode(trailer, bytes).unwrap();
        assert_eq!((footer.parity, &footer.shape), (parity, &group.shape));
        for (image, sums) in group.images.iter().zip(&footer.sums) {
            let blocks = image.chunks(BLOCK_BYTES).enumerate();
            assert!(blocks.into_iter().all(|(at, block)| sums.check(at as u64, block)));
        }
    }
}

#[test]
fn a_member_that_was_altered_is_found() {
    let members = noisy(&[Some(BLOCK_BYTES + 9), Some(2 * BLOCK_BYTES)]);
    for (slot, at) in [(0, 0), (0, BLOCK_BYTES + 8), (1, BLOCK_BYTES)] {
        let mut altered = members.clone();
        altered[slot].as_mut().unwrap()[at] ^= 1;
        let error = fixture::encode(draft(Profile::TwoPlusOne, &members), &altered, 0).unwrap_err();
        assert_eq!(error, EncodeError::Altered { image: fixture::id(slot) });
    }
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let members = noisy(&[Some(100), Some(BLOCK_BYTES + 1)]);
    let (long, short) = (noise(1, BLOCK_BYTES), noise(2, 100));
    let mut encoder = Encoder::new(draft(Profile::TwoPlusOne, &members), BLOCK_BYTES).unwrap();
    let mut parity = vec![0; BLOCK_BYTES];
    let wrong = |slot, got, expected| Err(EncodeError::Window { slot, got, expected });
    assert_eq!(encoder.push(&[&long, &long], &mut [&mut parity]), wrong(0, BLOCK_BYTES, 100));
    assert_eq!(
        encoder.push(&[&short, &long[1..]], &mut [&mut parity]),
        wrong(1, BLOCK_BYTES - 1, BLOCK_BYTES)
    );
    let less = BLOCK_BYTES - COLUMN_BYTES;
    assert_eq!(encoder.push(&[&short, &long], &mut [&mut parity[..less]]), wrong(2, less, BLOCK_BYTES));
    assert_eq!(encoder.push(&[&short], &mut [&mut parity]), Err(EncodeError::Cover));
    assert_eq!(encoder.push(&[&short, &long], &mut []), Err(EncodeError::Cover));
    // Nothing of that counted.
    assert_eq!(encoder.window(), Some(Window { offset: 0, bytes: BLOCK_BYTES }));
    encoder.push(&[&short, &long], &mut [&mut parity]).unwrap();
    assert_eq!(encoder.window(), Some(Window { offset: BLOCK_BYTES as u64, bytes: COLUMN_BYTES }));
    assert_eq!(encoder.finish().unwrap_err(), EncodeError::Cover);
}

#[test]
fn there_is_no_window_behind_the_last() {
    let members = noisy(&[Some(1), None]);
    let mut encoder = Encoder::new(draft(Profile::TwoPlusOne, &members), 0).unwrap();
    let (byte, mut parity) = (noise(1, 1), [0; COLUMN_BYTES]);
    encoder.push(&[&byte, &[]], &mut [&mut parity]).unwrap();
    assert_eq!(encoder.window(), None);
    assert_eq!(encoder.push(&[&[], &[]], &mut [&mut parity]), Err(EncodeError::Cover));
    assert!(encoder.finish().is_ok());
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_held() {
    let mut hostile = draft(Profile::TwoPlusOne, &noisy(&[Some(1), Some(2)]));
    for bytes in [IMAGE_BYTES_MAX + 1, u64::from(u32::MAX), u64::MAX - 63, u64::MAX] {
        hostile.members[1].as_mut().unwrap().bytes = bytes;
        let error = Encoder::new(hostile.clone(), usize::MAX).unwrap_err();
        assert_eq!(error, EncodeError::Group(GroupError::ImageLength { got: bytes }));
    }
}

#[test]
fn copies_are_groups_too() {
    let group = whole(Profile::TwoCopies, &[Some(BLOCK_BYTES + 7)]);
    assert_eq!(group.images[0], group.images[1]);
    assert!(group.footers.is_empty(), "a copy is the image, byte for byte");
    let alone = whole(Profile::OneCopy, &[Some(33)]);
    assert_eq!((alone.images.len(), alone.shape.slots()), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Parity columns are the code of the members' columns, whatever the lengths.
    #[test]
    fn lengths_of_any_kind(lengths in proptest::collection::vec(proptest::option::of(0..3 * BLOCK_BYTES), 4)) {
        prop_assume!(lengths.iter().any(Option::is_some));
        let group = whole(Profile::FourPlusTwo, &lengths);
        let bytes = usize::try_from(group.shape.payload_bytes()).unwrap();
        let data: Vec<&[u8]> = group.images[..4].iter().map(Vec::as_slice).collect();
        let mut parity = vec![vec![0; bytes]; 2];
        let mut made: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        Profile::FourPlusTwo.codec().open(Profile::FourPlusTwo).encode(&data, &mut made);
        prop_assert!(parity[..] == group.images[4..]);
    }
}
