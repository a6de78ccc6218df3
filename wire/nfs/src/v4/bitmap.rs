//! `bitmap4`: a set of small numbers (attributes, operations, notifications).
//!
//! Any length up to eight words is accepted, and words behind the third are dropped: nothing we
//! know has such a number, and a request for what is not known is not an error. Where it is one
//! (SETATTR), `decode_reporting` tells.
//!
//! INVARIANT: written without trailing zero words, so equal sets have equal bytes.
//! Spec: RFC 8881 §3.3.7.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::limits::{BITMAP_WORDS_KEPT, BITMAP_WORDS_MAX};

/// A set of numbers below 96.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bitmap {
    words: [u32; BITMAP_WORDS_KEPT],
}

impl Bitmap {
    /// No numbers.
    pub const EMPTY: Self = Self { words: [0; BITMAP_WORDS_KEPT] };
    /// The first number that a set cannot hold.
    pub const NUMBER_END: u32 = 32 * BITMAP_WORDS_KEPT as u32;

    /// The set of these numbers. Usable in constants.
    ///
    /// # Panics
    /// If a number is not below [`NUMBER_END`](Self::NUMBER_END).
    #[must_use]
    pub const fn of(numbers: &[u32]) -> Self {
        let mut words = [0; BITMAP_WORDS_KEPT];
        let mut index = 0;
        while index < numbers.len() {
            words[(numbers[index] / 32) as usize] |= 1 << (numbers[index] % 32);
            index += 1;
        }
        Self { words }
    }

    /// The set whose bits these words hold.
    #[must_use]
    pub const fn from_words(words: [u32; BITMAP_WORDS_KEPT]) -> Self {
        Self { words }
    }

    /// The words, least numbers first.
    #[must_use]
    pub const fn words(&self) -> [u32; BITMAP_WORDS_KEPT] {
        self.words
    }

    /// Whether the number is in the set. A number that a set cannot hold never is.
    #[must_use]
    pub const fn contains(&self, number: u32) -> bool {
        number < Self::NUMBER_END && self.words[(number / 32) as usize] & (1 << (number % 32)) != 0
    }

    /// Puts a number in.
    ///
    /// # Panics
    /// If the number is not below [`NUMBER_END`](Self::NUMBER_END).
    pub const fn insert(&mut self, number: u32) {
        self.words[(number / 32) as usize] |= 1 << (number % 32);
    }

    /// Takes a number out.
    pub const fn remove(&mut self, number: u32) {
        if number < Self::NUMBER_END {
            self.words[(number / 32) as usize] &= !(1 << (number % 32));
        }
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The numbers in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// The numbers in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// The numbers in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    /// Whether every number of this set is in the other.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        let words = self.words;
        (0u32..).step_by(32).zip(words).flat_map(|(base, word)| Bits { word }.map(move |bit| base + bit))
    }

    /// Reads a set, and says whether a number that it cannot hold was in it.
    ///
    /// # Errors
    /// [`XdrError::TooLong`] above [`BITMAP_WORDS_MAX`] words; [`XdrError::Short`].
    pub fn decode_reporting(r: &mut Reader) -> Result<(Self, bool), XdrError> {
        let count = r.count(BITMAP_WORDS_MAX)?;
        let mut set = Self::EMPTY;
        let mut dropped = false;
        for index in 0..count {
            let word = r.u32()?;
            match set.words.get_mut(index) {
                Some(slot) => *slot = word,
                None => dropped |= word != 0,
            }
        }
        Ok((set, dropped))
    }

    fn combine(&self, other: &Self, join: impl Fn(u32, u32) -> u32) -> Self {
        let mut words = self.words;
        for (word, with) in words.iter_mut().zip(other.words) {
            *word = join(*word, with);
        }
        Self { words }
    }
}

/// The set bits of one word, ascending.
struct Bits {
    word: u32,
}

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.word == 0 {
            return None;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(bit)
    }
}

impl FromIterator<u32> for Bitmap {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = Self::EMPTY;
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

impl std::fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Decode for Bitmap {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Self::decode_reporting(r).map(|(set, _)| set)
    }
}

impl Encode for Bitmap {
    fn encode(&self, w: &mut Writer) {
        let count = self.words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        w.count(count);
        for word in &self.words[..count] {
            w.u32(*word);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn encoded(set: &Bitmap) -> Bytes {
        let mut w = Writer::new();
        set.encode(&mut w);
        w.into_bytes()
    }

    /// Bit n is bit n mod 32, from the least, of word n / 32; no word follows the last that has a
    /// bit.
    #[test]
    fn golden_bytes_without_trailing_zero_words() {
        assert_eq!(encoded(&Bitmap::EMPTY), [0u8, 0, 0, 0].as_slice());
        let set = Bitmap::of(&[1, 3, 33]);
        assert_eq!(encoded(&set), [0u8, 0, 0, 2, 0, 0, 0, 0x0a, 0, 0, 0, 2].as_slice());
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 3, 33]);
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn longer_bitmaps_are_read_and_cut() {
        let mut w = Writer::new();
        w.count(5);
        [2, 0, 1, 0, 8].into_iter().for_each(|word| w.u32(word));
        let mut r = Reader::new(w.into_bytes());
        assert_eq!(Bitmap::decode_reporting(&mut r), Ok((Bitmap::of(&[1, 64]), true)));
        assert_eq!(r.finish(), Ok(()));

        let mut w = Writer::new();
        w.count(9);
        (0..9).for_each(|_| w.u32(0));
        assert_eq!(
            Bitmap::decode(&mut Reader::new(w.into_bytes())),
            Err(XdrError::TooLong { len: 9, max: BITMAP_WORDS_MAX })
        );
    }

    #[test]
    fn set_algebra() {
        let a = Bitmap::of(&[0, 31, 32, 95]);
        let b = Bitmap::of(&[31, 95, 64]);
        assert_eq!(a.intersect(&b), Bitmap::of(&[31, 95]));
        assert_eq!(a.union(&b), Bitmap::of(&[0, 31, 32, 64, 95]));
        assert_eq!(a.difference(&b), Bitmap::of(&[0, 32]));
        assert!(Bitmap::of(&[31]).is_subset(&b));
        assert!(!a.contains(96));
    }
}
