//! Bytes that name their origin: each eight-byte word of a write encodes the operation and the
//! place in the file, so that a wrong byte tells which write it comes from, or that it is a hole.
//!
//! INVARIANT: `word` is reversible for a given salt; `origin` is its inverse.

/// Bytes of a word.
const WORD_BYTES: u64 = 8;

/// Spreads the bits of `value` over the whole word (the finalizer of SplitMix64); reversible.
pub(super) fn mix(value: u64) -> u64 {
    let mut bits = value;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The inverse of [`mix`].
fn unmix(bits: u64) -> u64 {
    let mut value = bits ^ (bits >> 31) ^ (bits >> 62);
    value = value.wrapping_mul(0x3196_42B2_D24D_8EC3);
    value ^= (value >> 27) ^ (value >> 54);
    value = value.wrapping_mul(0x96DE_1B17_3F11_9089);
    value ^ (value >> 30) ^ (value >> 60)
}

/// Where a word found in a file comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Origin {
    /// The operation that wrote it.
    pub(super) number: u32,
    /// The offset it was written for; within its record for a record of concurrent appends.
    pub(super) offset: u64,
}

fn word(salt: u64, number: u32, index: u64) -> u64 {
    // Bit 63 keeps every input, and so every word, apart from the zeros of a hole.
    mix((1 << 63 | u64::from(number) << 32 | (index & 0xFFFF_FFFF)) ^ mix(salt))
}

/// Fills `bytes`, which are to lie at `offset`, with what operation `number` writes there.
pub(super) fn fill(bytes: &mut [u8], offset: u64, salt: u64, number: u32) {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let whole = word(salt, number, at / WORD_BYTES).to_be_bytes();
        let skip = (at % WORD_BYTES) as usize;
        let count = (whole.len() - skip).min(rest.len());
        let (piece, more) = rest.split_at_mut(count);
        piece.copy_from_slice(&whole[skip..skip + count]);
        (rest, at) = (more, at + count as u64);
    }
}

/// Which operation, none later than `newest`, wrote these eight bytes, if any of this file did.
pub(super) fn origin(found: [u8; 8], salt: u64, newest: u32) -> Option<Origin> {
    let value = unmix(u64::from_be_bytes(found)) ^ mix(salt);
    let number = u32::try_from(value >> 32 & 0x7FFF_FFFF).ok()?;
    let offset = (value & 0xFFFF_FFFF) * WORD_BYTES;
    (value >> 63 == 1 && number <= newest).then_some(Origin { number, offset })
}

#[cfg(test)]
mod tests {
    use super::{Origin, fill, mix, origin, unmix};

    #[test]
    fn mixing_is_reversible() {
        for value in (0..64).map(|bit| 1_u64 << bit).chain([0, 1234, u64::MAX]) {
            assert_eq!(unmix(mix(value)), value);
        }
    }

    #[test]
    fn a_word_names_its_operation_and_place() {
        let mut bytes = [0; 24];
        fill(&mut bytes, 4096, 99, 17);
        let found = bytes[8..16].try_into().unwrap();
        assert_eq!(origin(found, 99, 20), Some(Origin { number: 17, offset: 4104 }));
        assert_eq!(origin(found, 99, 16), None, "a later operation cannot have written it");
        assert_eq!(origin(found, 98, 20), None, "another file's");
        assert_eq!(origin([0; 8], 99, 20), None);
    }

    #[test]
    fn a_piece_is_part_of_the_whole() {
        let (mut whole, mut piece) = ([0; 64], [0; 13]);
        fill(&mut whole, 1000, 5, 1);
        fill(&mut piece, 1011, 5, 1);
        assert_eq!(piece, whole[11..24]);
    }
}
