//! The lists against BLAKE3 of the whole, and against everything that is not the image.

use proptest::prelude::*;

use super::*;

fn image(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

fn sums_of(image: &[u8]) -> Sums {
    let mut summing = Summing::default();
    // Windows of three blocks: where they are cut must not matter.
    for window in image.chunks(3 * BLOCK_BYTES) {
        summing.update(window);
    }
    summing.finish()
}

const LENGTHS: [usize; 12] = [
    0,
    1,
    1023,
    BLOCK_BYTES - 1,
    BLOCK_BYTES,
    BLOCK_BYTES + 1,
    2 * BLOCK_BYTES,
    3 * BLOCK_BYTES,
    3 * BLOCK_BYTES + 777,
    4 * BLOCK_BYTES,
    5 * BLOCK_BYTES + 1,
    17 * BLOCK_BYTES + 12345,
];

#[test]
fn the_whole_is_plain_blake3() {
    for bytes in LENGTHS {
        let image = image(bytes);
        let sums = sums_of(&image);
        assert_eq!(sums.whole(), ImageSum(*blake3::hash(&image).as_bytes()), "{bytes} bytes");
        assert_eq!(sums.list().len() as u64, list_bytes(bytes as u64));
        assert_eq!(Sums::read(bytes as u64, sums.whole(), sums.list()).as_ref(), Ok(&sums));
    }
}

#[test]
fn each_block_checks_in_its_place_only() {
    for bytes in LENGTHS {
        let image = image(bytes);
        let sums = sums_of(&image);
        let blocks: Vec<&[u8]> = image.chunks(BLOCK_BYTES).collect();
        for (at, block) in blocks.iter().enumerate() {
            assert!(sums.check(at as u64, block));
            assert!(!sums.check(at as u64 + 1, block));
            assert!(!sums.check(at as u64, &block[1..]));
            let mut altered = block.to_vec();
            altered[block.len() / 2] ^= 0x10;
            assert!(!sums.check(at as u64, &altered));
        }
        assert!(!sums.check(blocks.len() as u64, &[]));
        assert!(!sums.check(u64::MAX, &[0]));
    }
}

#[test]
fn lists_that_do_not_add_up_are_refused() {
    let image = image(3 * BLOCK_BYTES + 5);
    let (bytes, sums) = (image.len() as u64, sums_of(&image));
    for at in 0..sums.list().len() {
        let mut list = sums.list().to_vec();
        list[at] ^= 1;
        assert_eq!(Sums::read(bytes, sums.whole(), &list), Err(ListError));
    }
    let list = sums.list();
    assert_eq!(Sums::read(bytes, sums.whole(), &list[..list.len() - 32]), Err(ListError));
    assert_eq!(Sums::read(bytes, sums.whole(), &list[..list.len() - 1]), Err(ListError));
    assert_eq!(Sums::read(bytes, sums.whole(), &[]), Err(ListError));
    // The same number of blocks, another length: the tree is the same, the last block's length is
    // not.
    let longer = Sums::read(bytes + 1, sums.whole(), list).unwrap();
    assert!(!longer.check(3, &image[3 * BLOCK_BYTES..]));
    for bytes in [u64::MAX, IMAGE_BYTES_MAX + 1, u64::MAX - BLOCK + 1] {
        assert_eq!(Sums::read(bytes, sums.whole(), list), Err(ListError));
    }
}

proptest! {
    #[test]
    fn garbage_is_no_list(bytes: u64, whole: [u8; 32], list in proptest::collection::vec(any::<u8>(), 0..200)) {
        // An image of one block has no list; anything longer needs one that adds up.
        let read = Sums::read(bytes, ImageSum(whole), &list);
        prop_assert_eq!(read.is_ok(), bytes <= BLOCK && list.is_empty());
    }
}
