//! Mutations that keep to words: what XDR consists of, and what a fuzzer that thinks in bytes
//! rarely hits.
//!
//! A length changed by one, a discriminant set to a small number, a run of words taken out, doubled
//! or moved: each keeps all that follows in its place, so that decoders are led on instead of
//! stopped at the first misplaced byte.

use crate::seed::Numbers;

const WORD_BYTES: usize = 4;
/// Words that lengths, counts, discriminants and special values like to be.
const NOTABLE: [u32; 14] =
    [0, 1, 2, 3, 4, 5, 8, 16, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_fffd, 0xffff_fffe, 0xffff_ffff];

/// Changes `data[..size]` in place by one to four mutations and says how long it is now; at most
/// `size_max`, which is at most `data`'s length. The same `seed` makes the same changes.
pub fn mutate_words(data: &mut [u8], size: usize, size_max: usize, seed: u32) -> usize {
    assert!(size_max <= data.len() && size <= data.len());
    let mut numbers = Numbers::new(u64::from(seed));
    let mut size = size.min(size_max);
    for _ in 0..=numbers.below(4) {
        size = mutate_once(data, size, size_max, &mut numbers);
        assert!(size <= size_max);
    }
    size
}

fn mutate_once(data: &mut [u8], size: usize, size_max: usize, numbers: &mut Numbers) -> usize {
    let words = size / WORD_BYTES;
    if words == 0 {
        return insert(data, size, size_max, 0, numbers);
    }
    let at = numbers.below(words) * WORD_BYTES;
    match numbers.below(8) {
        0 => replace(data, at, |_| NOTABLE[numbers.below(NOTABLE.len())]),
        1 => replace(data, at, |word| word.wrapping_add(1)),
        2 => replace(data, at, |word| word.wrapping_sub(1)),
        3 => {
            let bit = numbers.below(32);
            replace(data, at, |word| word ^ (1 << bit));
        }
        4 => return insert(data, size, size_max, at, numbers),
        5 => return remove(data, size, at, numbers),
        6 => return double(data, size, size_max, at, numbers),
        _ => move_words(data, words, at, numbers),
    }
    size
}

fn replace(data: &mut [u8], at: usize, change: impl FnOnce(u32) -> u32) {
    let bytes = &mut data[at..at + WORD_BYTES];
    let word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    bytes.copy_from_slice(&change(word).to_be_bytes());
}

/// Puts one to four words in.
fn insert(data: &mut [u8], size: usize, size_max: usize, at: usize, numbers: &mut Numbers) -> usize {
    let count = 1 + numbers.below(4);
    let added = count * WORD_BYTES;
    if size_max - size < added {
        return size;
    }
    data.copy_within(at..size, at + added);
    for index in 0..count {
        replace(data, at + index * WORD_BYTES, |_| NOTABLE[numbers.below(NOTABLE.len())]);
    }
    size + added
}

/// Takes some words out.
fn remove(data: &mut [u8], size: usize, at: usize, numbers: &mut Numbers) -> usize {
    let removed = (1 + numbers.below(8)) * WORD_BYTES;
    let end = (at + removed).min(size);
    data.copy_within(end..size, at);
    size - (end - at)
}

/// Puts a run of words in a second time, behind itself.
fn double(data: &mut [u8], size: usize, size_max: usize, at: usize, numbers: &mut Numbers) -> usize {
    let run = ((1 + numbers.below(16)) * WORD_BYTES).min(size - at);
    if size_max - size < run {
        return size;
    }
    data.copy_within(at..size, at + run);
    size + run
}

/// Writes a run of words over another place.
fn move_words(data: &mut [u8], words: usize, at: usize, numbers: &mut Numbers) {
    let to = numbers.below(words) * WORD_BYTES;
    let run = ((1 + numbers.below(8)) * WORD_BYTES).min((words * WORD_BYTES) - at.max(to));
    data.copy_within(at..at + run, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_repeat_and_keep_to_their_room() {
        let mut changed = 0;
        for seed in 0..20_000 {
            let mut numbers = Numbers::new(u64::from(seed));
            let size_max = numbers.below(80);
            let size = numbers.below(80);
            let mut one = [7; 80];
            let mut other = one;
            let sizes = (
                mutate_words(&mut one, size, size_max, seed),
                mutate_words(&mut other, size, size_max, seed),
            );
            assert_eq!(sizes.0, sizes.1);
            assert!(sizes.0 <= size_max);
            assert_eq!(one, other);
            changed += usize::from(sizes.0 != size || one != [7; 80]);
        }
        assert!(18_000 < changed, "{changed}");
    }
}
