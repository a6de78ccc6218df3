//! Parts of content that lies in several pieces.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use ds_image::limits::FRAME_BYTES;

/// The frames of a range that begins at one.
pub(super) fn frames_of(range: Range<u32>) -> impl Iterator<Item = u16> {
    assert!((range.start as usize).is_multiple_of(FRAME_BYTES), "the range begins at a frame");
    let frame = |at: u32| u16::try_from((at as usize).div_ceil(FRAME_BYTES)).expect("inside an extent");
    frame(range.start)..frame(range.end)
}

/// The `length` bytes behind the first `skip`; the pieces hold so many.
pub(super) fn part(pieces: Vec<Bytes>, mut skip: usize, length: usize) -> Vec<Bytes> {
    let mut left = length;
    let mut parts = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        let before = piece.split_to(skip.min(piece.len()));
        skip -= before.len();
        piece.truncate(left);
        left -= piece.len();
        if !piece.is_empty() {
            parts.push(piece);
        }
    }
    parts
}

/// All pieces as one.
pub(super) fn joined<'a>(pieces: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut all = BytesMut::new();
    pieces.for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_pieces() {
        let pieces =
            || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"fgh")];
        for (skip, length) in [(0, 8), (0, 2), (1, 3), (3, 2), (4, 4), (7, 1), (5, 0)] {
            assert_eq!(part(pieces(), skip, length).concat(), b"abcdefgh"[skip..skip + length]);
        }
    }

    #[test]
    fn frames_of_ranges() {
        let frames = |range: Range<u32>| frames_of(range).collect::<Vec<u16>>();
        assert_eq!(frames(0..65_536), [0]);
        assert_eq!(frames(65_536..131_073), [1, 2]);
        assert_eq!(frames(1023 << 16..64 << 20), [1023]);
    }
}
