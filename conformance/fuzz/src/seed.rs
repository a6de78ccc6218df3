//! Where inputs come from that a decoder accepts: from the decoder itself.
//!
//! Words that look like a message (small numbers, so that lengths, counts and discriminants are
//! often valid) are thrown at a codec until it takes some of them; what it took is written again by
//! the same codec, and that is a seed. So each message has seeds without a file of them,
//! and a new message has them too.
//!
//! INVARIANT: the same seeds on every machine and every run.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

const WORDS_MAX: u64 = 64;
/// Messages tried until the first is found,
const TRIES_MAX: u32 = 400_000;
/// and to find more.
const TRIES_ENOUGH: u32 = 1_500;
/// Seeds looked for in each kind of message.
pub const SEEDS_PER_MESSAGE: usize = 4;

/// A sequence of numbers that is the same everywhere (SplitMix64).
#[derive(Clone, Debug)]
pub struct Numbers {
    state: u64,
}

impl Numbers {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a length fits 64 bits").max(1);
        usize::try_from(self.draw() % end).expect("below a length")
    }
}

/// A word of a plausible message.
fn plausible_word(numbers: &mut Numbers) -> u32 {
    match numbers.below(16) {
        0..9 => numbers.below(4).try_into().expect("below 4"),
        9..12 => numbers.below(24).try_into().expect("below 24"),
        12 | 13 => u32::from_be_bytes(*b"name"),
        14 => u32::MAX,
        _ => u32::from_be_bytes(numbers.draw().to_be_bytes()[..4].try_into().expect("four bytes")),
    }
}

/// Up to [`SEEDS_PER_MESSAGE`] encodings that `decode` takes, the longest that were found.
///
/// `decode` reads one value and gives it back in its wire form, `None` if there is no such message
/// at all.
pub fn search(decode: impl Fn(&mut Reader) -> Result<Option<Bytes>, XdrError>) -> Vec<Bytes> {
    let mut numbers = Numbers::new(0x5eed);
    let mut found: Vec<Bytes> = Vec::new();
    for round in 0..TRIES_MAX {
        if TRIES_ENOUGH <= round && !found.is_empty() {
            break;
        }
        let words = (numbers.draw() % WORDS_MAX).max(u64::from(round == 0));
        let message: Vec<u8> = (0..words).flat_map(|_| plausible_word(&mut numbers).to_be_bytes()).collect();
        let Ok(Some(bytes)) = decode(&mut Reader::new(message.into())) else { continue };
        if found.iter().any(|one| one.len() == bytes.len()) {
            continue;
        }
        found.push(bytes);
        if 4 * SEEDS_PER_MESSAGE <= found.len() {
            break;
        }
    }
    found.sort_by_key(|one| std::cmp::Reverse(one.len()));
    found.truncate(SEEDS_PER_MESSAGE);
    found
}

/// [`search`] for a type.
#[must_use]
pub fn search_type<T: Decode + Encode>() -> Vec<Bytes> {
    search(|r| T::decode(r).map(|value| Some(encoded(&value))))
}

/// The wire form of a value.
pub fn encoded(value: &impl Encode) -> Bytes {
    let mut w = Writer::new();
    value.encode(&mut w);
    w.into_bytes()
}

/// An input: a word that selects (its first bytes), then a message.
#[must_use]
pub fn selected(selector: [u8; 4], message: &[u8]) -> Vec<u8> {
    [&selector, message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_repeat() {
        let list: Vec<u64> = (0..2).map(|_| Numbers::new(1).draw()).collect();
        assert_eq!(list[0], list[1]);
        assert_eq!(list[0], 0x910a_2dec_8902_5cc1, "SplitMix64's first number from 1");
    }

    #[test]
    fn what_is_found_is_accepted() {
        let found = search_type::<Option<[u8; 8]>>();
        assert_eq!(found.iter().map(Bytes::len).collect::<Vec<_>>(), [12, 4]);
    }
}
