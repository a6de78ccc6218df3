//! Golden bytes and hostile input of the ends of parity images.

use proptest::prelude::*;

use super::*;
use crate::ec::fixture::{Whole, whole};
use crate::ec::profile::Profile;

fn sample() -> Whole {
    whole(Profile::TwoPlusOne, &[Some(2 * BLOCK_BYTES + 3), Some(100)])
}

/// Reads the end of a file as a data server does.
fn read(payload: &[u8], footer: &[u8]) -> Result<Footer, FooterError> {
    let file = (payload.len() + footer.len()) as u64;
    let trailer = Trailer::decode(footer.last_chunk().ok_or(FooterError::Magic)?, file)?;
    let from = footer.len().checked_sub(trailer.footer_bytes()).ok_or(FooterError::Lengths)?;
    Footer::decode(trailer, &footer[from..])
}

/// The trailer of docs/formats/group.md §5. It may never change under version 1.
#[test]
fn golden_bytes() {
    let group = sample();
    let footer = &group.footers[0];
    // Three checksums of the long member, none of the short one, three of the parity; the shape;
    // the trailer.
    assert_eq!(footer.len(), 6 * 32 + (16 + 3 * 64) + 64);
    let hex: String = footer[footer.len() - 64..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex[..64], *"53484f414c5041520001000000020040000000c0000000d00000000000000000");
    assert_eq!(hex[64..], *GOLDEN_CHECK);
    assert_eq!(footer[6 * 32..6 * 32 + 208], group.shape.encode());
    let read = read(&group.images[2], footer).unwrap();
    assert_eq!(read.shape, group.shape);
    let lists: Vec<u8> = read.sums.iter().flat_map(Sums::list).copied().collect();
    assert_eq!(lists, footer[..6 * 32]);
}

const GOLDEN_CHECK: &str = "70cfe71c7c306bb0bf4000d77d6b33ae43172003733866c902bd30c5a519dc95";

#[test]
fn every_bit_counts() {
    let group = sample();
    for bit in 0..group.footers[0].len() * 8 {
        let mut altered = group.footers[0].clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&group.images[2], &altered).is_err(), "bit {bit} does not matter");
    }
}

#[test]
fn a_file_of_another_length_is_refused() {
    let group = sample();
    let (payload, footer) = (&group.images[2], &group.footers[0]);
    assert_eq!(read(&payload[1..], footer), Err(FooterError::Lengths));
    assert_eq!(read(payload, &footer[1..]), Err(FooterError::Lengths));
    assert!(read(payload, &footer[..footer.len() - 1]).is_err());
    assert_eq!(read(payload, &[]), Err(FooterError::Magic));
    let trailer =
        Trailer::decode(footer.last_chunk().unwrap(), (payload.len() + footer.len()) as u64).unwrap();
    assert_eq!(Footer::decode(trailer, &footer[1..]), Err(FooterError::Lengths));
    assert_eq!(Footer::decode(trailer, &[]), Err(FooterError::Lengths));
}

/// Each length of the trailer at its worst, beside a file length that fits it: refused before
/// anything is held.
#[test]
fn hostile_lengths_are_refused() {
    let group = sample();
    let trailer: [u8; TRAILER_BYTES] = *group.footers[0].last_chunk().unwrap();
    for at in [12, 16, 20] {
        for value in [u32::MAX, u32::MAX - 63, 1 << 31, 0x0500_0000] {
            let mut hostile = trailer;
            hostile[at..at + 4].copy_from_slice(&value.to_be_bytes());
            let word = |at: usize| u64::from(u32::from_be_bytes(hostile[at..at + 4].try_into().unwrap()));
            let file = word(12) + word(16) + word(20) + TRAILER_BYTES as u64;
            assert_eq!(Trailer::decode(&hostile, file), Err(FooterError::Lengths), "{at}: {value}");
        }
    }
    for file in [0, 63, u64::MAX] {
        assert_eq!(Trailer::decode(&trailer, file), Err(FooterError::Lengths));
    }
}

/// Footers with a right checksum that something broken has made.
#[test]
fn genuine_nonsense_is_refused() {
    let group = sample();
    let sealed = |change: &dyn Fn(&mut [u8])| {
        let mut footer = group.footers[0].clone();
        let check = footer.len() - 32;
        change(&mut footer[..check]);
        let sum = blake3::hash(&footer[..check]);
        footer[check..].copy_from_slice(sum.as_bytes());
        read(&group.images[2], &footer)
    };
    let trailer = group.footers[0].len() - TRAILER_BYTES;
    assert!(sealed(&|_| {}).is_ok());
    assert_eq!(sealed(&|footer| footer[trailer] = b's'), Err(FooterError::Magic));
    assert_eq!(sealed(&|footer| footer[trailer + 9] = 2), Err(FooterError::Version { got: 2 }));
    assert_eq!(sealed(&|footer| footer[trailer + 10] = 1), Err(FooterError::Lists));
    assert_eq!(sealed(&|footer| footer[trailer + 11] = 1), Err(FooterError::Lengths));
    assert_eq!(sealed(&|footer| footer[trailer + 24] = 1), Err(FooterError::Lengths));
    assert_eq!(sealed(&|footer| footer[0] ^= 1), Err(FooterError::Lists));
    assert_eq!(sealed(&|footer| footer[5 * 32] ^= 1), Err(FooterError::Lists));
    // Another sum of the long member, another length of the short one, another version of the
    // shape.
    assert_eq!(sealed(&|footer| footer[6 * 32 + 16 + 32] ^= 1), Err(FooterError::Lists));
    assert!(sealed(&|footer| footer[6 * 32 + 16 + 64 + 29] = 3).is_err());
    assert_eq!(sealed(&|footer| footer[6 * 32] = 2), Err(FooterError::Group(GroupError::Version { got: 2 })));
    // A list that is longer at the shape's cost, and the other way round.
    assert!(sealed(&|footer| (footer[trailer + 19], footer[trailer + 23]) = (0xe0, 0xb0)).is_err());
    assert!(sealed(&|footer| (footer[trailer + 19], footer[trailer + 23]) = (0xa0, 0xf0)).is_err());
}

#[test]
fn the_largest_footer_fits_its_bound() {
    let lists = list_bytes(IMAGE_BYTES_MAX) as usize * GROUP_IMAGES_MAX;
    assert_eq!(lists + SHAPE_BYTES_MAX + TRAILER_BYTES, FOOTER_BYTES_MAX);
    assert_eq!(FOOTER_BYTES_MAX, 400_208, "as docs/formats/group.md says");
}

proptest! {
    #[test]
    fn garbage_is_no_parity_image(bytes in proptest::collection::vec(any::<u8>(), 64..600), file: u64) {
        let mut bytes = bytes;
        prop_assert!(Trailer::decode(bytes.last_chunk().unwrap(), file).is_err());
        let at = bytes.len() - 64;
        bytes[at..at + 10].copy_from_slice(b"SHOALPAR\0\x01");
        if let Ok(trailer) = Trailer::decode(bytes.last_chunk().unwrap(), file) {
            prop_assert!(trailer.footer_bytes() <= FOOTER_BYTES_MAX);
            prop_assert!(Footer::decode(trailer, &bytes).is_err());
        }
    }
}
