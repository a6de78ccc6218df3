//! From bytes in order to the bytes of an image, a frame at a time.
//!
//! Takes content and holes, answers what to append to the file. Keeps one frame under way and the
//! index so far, nothing else.
//!
//! INVARIANT: what was answered so far is the header and whole frames; only `finish` makes it an
//! image.
//! Spec: docs/formats/image.md.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::error::WriteError;
use crate::format::footer::Footer;
use crate::format::{header, index};
use crate::frame::{FrameEncoder, is_zero};
use crate::identity::{Identity, ImageInfo};
use crate::limits::{CONTENT_BYTES_MAX, FRAME_BYTES, INDEX_BYTES_MAX};

/// An image being made.
pub(crate) struct Encoder {
    identity: Identity,
    frames: FrameEncoder,
    /// Content of the frame under way, from its start to `position`.
    open: BytesMut,
    /// Content bytes and holes taken so far.
    position: u32,
    index: Vec<u8>,
    stored_bytes: u32,
}

/// What ends an image.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The last frame, if it was not complete before.
    pub(crate) frame: Option<Bytes>,
    /// Index and footer.
    pub(crate) tail: Bytes,
    pub(crate) info: ImageInfo,
}

impl Encoder {
    /// # Errors
    /// When the compressor gets no memory.
    pub(crate) fn new(identity: Identity) -> io::Result<Self> {
        let frames = FrameEncoder::new()?;
        Ok(Self { identity, frames, open: BytesMut::new(), position: 0, index: Vec::new(), stored_bytes: 0 })
    }

    /// What the file begins with.
    pub(crate) fn header(&self) -> Bytes {
        Bytes::copy_from_slice(&header::encode(&self.identity))
    }

    /// Whether `length` bytes may be taken at `offset`.
    ///
    /// # Errors
    /// [`WriteError::Order`], [`WriteError::Range`].
    pub(crate) fn admit(&self, offset: u32, length: usize) -> Result<(), WriteError> {
        if offset < self.position {
            return Err(WriteError::Order { offset, position: self.position });
        }
        let room = (CONTENT_BYTES_MAX as usize).checked_sub(offset as usize);
        if room.is_none_or(|room| room < length) {
            return Err(WriteError::Range { end: u64::from(offset) + length as u64 });
        }
        Ok(())
    }

    /// Moves on over a hole. Answers the frame that it completes, if any is stored.
    pub(crate) fn skip_to(&mut self, offset: u32) -> Option<Bytes> {
        assert!(self.position <= offset && offset <= CONTENT_BYTES_MAX, "the offset was admitted");
        let start = offset as usize / FRAME_BYTES * FRAME_BYTES;
        let mut stored = None;
        if !self.open.is_empty() && self.open_start() != start {
            self.open.resize(FRAME_BYTES, 0);
            stored = self.store_open();
        }
        self.position = offset;
        self.open.resize(offset as usize - start, 0);
        stored
    }

    /// Takes bytes from the front of `data`, up to the end of the frame. Answers the frame, once it
    /// is complete and if it is stored.
    pub(crate) fn take(&mut self, data: &mut Bytes) -> Option<Bytes> {
        assert!(self.admit(self.position, data.len()).is_ok(), "the range was admitted");
        // A frame that arrives in one piece is not copied.
        if self.open.is_empty() && FRAME_BYTES <= data.len() {
            let frame = self.frame_number(self.position as usize);
            self.advance(FRAME_BYTES);
            return self.store(frame, data.split_to(FRAME_BYTES));
        }
        let step = data.len().min(FRAME_BYTES - self.open.len());
        self.open.reserve(FRAME_BYTES - self.open.len());
        self.open.extend_from_slice(&data.split_to(step));
        self.advance(step);
        if self.open.len() == FRAME_BYTES { self.store_open() } else { None }
    }

    /// Ends the content at `content_bytes`: what was not taken before it is a hole.
    pub(crate) fn finish(mut self, content_bytes: u32) -> Ending {
        assert!(self.position <= content_bytes && content_bytes <= CONTENT_BYTES_MAX, "the end was admitted");
        let mut frame = None;
        if !self.open.is_empty() {
            let end = (content_bytes as usize - self.open_start()).min(FRAME_BYTES);
            self.open.resize(end, 0);
            frame = self.store_open();
        }
        let header = header::encode(&self.identity);
        let (footer, bytes) = Footer::seal(&header, &self.index, content_bytes, self.stored_bytes);
        self.index.extend_from_slice(&bytes);
        let info = ImageInfo {
            identity: self.identity,
            content_bytes,
            frames: footer.entries,
            stored_bytes: self.stored_bytes,
            image_bytes: footer.image_bytes(),
            root: footer.root,
        };
        Ending { frame, tail: self.index.into(), info }
    }

    /// Where the frame under way begins.
    fn open_start(&self) -> usize {
        self.position as usize - self.open.len()
    }

    fn frame_number(&self, start: usize) -> u16 {
        assert!(start.is_multiple_of(FRAME_BYTES));
        u16::try_from(start / FRAME_BYTES).expect("at most FRAMES_MAX")
    }

    fn advance(&mut self, bytes: usize) {
        self.position += u32::try_from(bytes).expect("at most a frame");
    }

    fn store_open(&mut self) -> Option<Bytes> {
        // The frame under way may have been filled up behind `position`: its start is that of the
        // frame around it.
        let start = (self.position as usize - 1) / FRAME_BYTES * FRAME_BYTES;
        let frame = self.frame_number(start);
        let content = self.open.split().freeze();
        self.store(frame, content)
    }

    fn store(&mut self, frame: u16, content: Bytes) -> Option<Bytes> {
        if is_zero(&content) {
            return None;
        }
        let stored = self.frames.store(content);
        let length = u32::try_from(stored.bytes.len()).expect("at most a frame");
        self.index.extend_from_slice(&index::encode(frame, stored.form, length, &stored.hash));
        assert!(self.index.len() <= INDEX_BYTES_MAX);
        self.stored_bytes += length;
        Some(stored.bytes)
    }
}

#[cfg(test)]
mod tests {
    use layout::ec::ImageId;
    use layout::{Epoch, ExtentId};

    use super::*;

    fn encoder() -> Encoder {
        let extent = ExtentId { ino: 1, index: 2 };
        Encoder::new(Identity { image: ImageId([3; 16]), extent, epoch: Epoch(4), sequence: 5 }).unwrap()
    }

    #[test]
    fn bytes_out_of_order_or_behind_the_extent_are_refused() {
        let mut encoder = encoder();
        assert!(encoder.take(&mut Bytes::from_static(b"abc")).is_none());
        assert!(matches!(encoder.admit(2, 1), Err(WriteError::Order { offset: 2, position: 3 })));
        assert!(encoder.admit(3, CONTENT_BYTES_MAX as usize - 3).is_ok());
        let over = encoder.admit(3, CONTENT_BYTES_MAX as usize - 2);
        assert!(matches!(over, Err(WriteError::Range { end }) if end == u64::from(CONTENT_BYTES_MAX) + 1));
        assert!(encoder.admit(CONTENT_BYTES_MAX, 0).is_ok());
        assert!(encoder.admit(u32::MAX, 0).is_err());
        assert!(encoder.admit(u32::MAX, usize::MAX >> 1).is_err());
    }

    #[test]
    fn a_hole_ends_the_frame_before_it() {
        let mut encoder = encoder();
        assert!(encoder.skip_to(10).is_none());
        assert!(encoder.take(&mut Bytes::from_static(b"abc")).is_none());
        assert!(encoder.skip_to(100).is_none(), "still the same frame");
        let frame = FRAME_BYTES as u32;
        assert!(encoder.skip_to(frame).is_some());
        assert!(encoder.skip_to(5 * frame + 7).is_none(), "nothing but a hole");
        assert!(encoder.take(&mut Bytes::from_static(b"x")).is_none());
        let ending = encoder.finish(5 * frame + 100);
        assert!(ending.frame.is_some());
        let ImageInfo { frames, content_bytes, .. } = ending.info;
        assert_eq!((frames, content_bytes), (2, 5 * frame + 100));
    }

    #[test]
    fn a_whole_frame_is_taken_without_a_copy() {
        let mut noise = vec![0; 2 * FRAME_BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let mut data = Bytes::from(noise);
        let address = data.as_ptr();
        let mut encoder = encoder();
        let stored = encoder.take(&mut data).unwrap();
        assert_eq!(stored.as_ptr(), address);
        assert_eq!(data.len(), FRAME_BYTES);
    }
}
