//! An opened image: where each byte of its content lies, and what every stored frame must hash to.
//!
//! Answers which bytes of the file a range needs, and makes content, or raw bytes, of them once
//! they are read.
//!
//! INVARIANT: bytes of a frame come out only if the frame's hash is right.
//! Spec: docs/formats/image.md §5.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{FrameFault, ReadError};
use crate::format::footer::Footer;
use crate::format::index::{self, Place, frame_bytes};
use crate::format::{FormatError, header};
use crate::frame::{self, Form};
use crate::identity::ImageInfo;
use crate::limits::{CONTENT_BYTES_MAX, FOOTER_BYTES, FRAME_BYTES, HEADER_BYTES, READ_BYTES_MAX};

/// What an image's header, index and footer say.
#[derive(Debug)]
pub(crate) struct ImageMap {
    info: ImageInfo,
    header: [u8; HEADER_BYTES],
    /// Index and footer, as they are in the file.
    tail: Bytes,
    places: Vec<Place>,
}

/// A frame as the index tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFrame {
    /// Its number: its content begins at this times [`FRAME_BYTES`].
    pub frame: u16,
    /// How it is stored.
    pub form: Form,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub stored_bytes: u32,
    /// BLAKE3 of these.
    pub hash: [u8; 32],
}

/// A piece of the content that lies in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many zeros.
    Hole(usize),
    /// A part of the content of the stored frame with this entry.
    Frame { entry: usize, part: Range<usize> },
}

/// A piece of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawStep {
    /// Bytes that were verified when the image was opened.
    Known(Bytes),
    /// A part of the stored bytes of the frame with this entry.
    Frame { entry: usize, part: Range<usize> },
}

/// The entries that some steps read, which lie one behind the other.
pub(crate) trait Needs {
    fn entry(&self) -> Option<usize>;
}

impl Needs for Step {
    fn entry(&self) -> Option<usize> {
        match self {
            Self::Hole(_) => None,
            Self::Frame { entry, .. } => Some(*entry),
        }
    }
}

impl Needs for RawStep {
    fn entry(&self) -> Option<usize> {
        match self {
            Self::Known(_) => None,
            Self::Frame { entry, .. } => Some(*entry),
        }
    }
}

/// The entries that these steps read.
pub(crate) fn entries_of(steps: &[impl Needs]) -> Range<usize> {
    let mut entries = steps.iter().filter_map(Needs::entry);
    let Some(first) = entries.next() else { return 0..0 };
    first..entries.next_back().unwrap_or(first) + 1
}

impl ImageMap {
    /// Reads what surrounds the frames. `tail` is index and footer, of the length that `footer`
    /// says.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub(crate) fn decode(
        header: &[u8; HEADER_BYTES],
        footer: &Footer,
        tail: Bytes,
    ) -> Result<Self, FormatError> {
        assert!(tail.len() == footer.index_bytes() + FOOTER_BYTES);
        let (index, end) = tail.split_at(footer.index_bytes());
        footer.check_root(header, index, end.try_into().expect("a footer's length"))?;
        let identity = header::decode(header)?;
        let places = index::decode(index, footer.content_bytes, footer.stored_bytes)?;
        let info = ImageInfo {
            identity,
            content_bytes: footer.content_bytes,
            frames: footer.entries,
            stored_bytes: footer.stored_bytes,
            image_bytes: footer.image_bytes(),
            root: footer.root,
        };
        Ok(Self { info, header: *header, tail, places })
    }

    pub(crate) fn info(&self) -> &ImageInfo {
        &self.info
    }

    pub(crate) fn header(&self) -> Bytes {
        Bytes::copy_from_slice(&self.header)
    }

    pub(crate) fn tail(&self) -> Bytes {
        self.tail.clone()
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The entry of a frame; `None` if it is a hole, or behind the end.
    pub(crate) fn entry_of(&self, frame: u16) -> Option<usize> {
        self.places.binary_search_by_key(&frame, |place| place.frame).ok()
    }

    /// What the index says of an entry.
    pub(crate) fn stored_frame(&self, entry: usize) -> StoredFrame {
        let Place { frame, form, offset, stored_bytes } = self.places[entry];
        let hash = *index::hash(&self.tail, entry);
        StoredFrame { frame, form, offset: u64::from(offset), stored_bytes, hash }
    }

    /// Which pieces of which frames a range of content is. What lies behind the end of the content
    /// is left out.
    ///
    /// # Errors
    /// [`ReadError::Range`].
    pub(crate) fn steps(&self, offset: u32, length: u32) -> Result<Vec<Step>, ReadError> {
        let end = offset.checked_add(length).filter(|end| *end <= CONTENT_BYTES_MAX);
        let Some(end) = end.filter(|_| length <= READ_BYTES_MAX) else {
            return Err(ReadError::Range { offset: u64::from(offset), length });
        };
        let (mut at, end) = (offset as usize, end.min(self.info.content_bytes) as usize);
        let mut steps = Vec::with_capacity(end.saturating_sub(at).div_ceil(FRAME_BYTES) + 1);
        while at < end {
            let start = at / FRAME_BYTES * FRAME_BYTES;
            let stop = end.min(start + FRAME_BYTES);
            let frame = u16::try_from(start / FRAME_BYTES).expect("inside the content");
            steps.push(match self.entry_of(frame) {
                Some(entry) => Step::Frame { entry, part: at - start..stop - start },
                None => Step::Hole(stop - at),
            });
            at = stop;
        }
        Ok(steps)
    }

    /// Which pieces of which parts a range of the file is.
    ///
    /// # Errors
    /// [`ReadError::Range`], also if the range leaves the file.
    pub(crate) fn raw_steps(&self, offset: u64, length: u32) -> Result<Vec<RawStep>, ReadError> {
        let end = offset.checked_add(u64::from(length)).filter(|end| *end <= self.info.image_bytes);
        let Some(end) = end.filter(|_| length <= READ_BYTES_MAX) else {
            return Err(ReadError::Range { offset, length });
        };
        let place_in_file = |at: u64| usize::try_from(at).expect("inside the file");
        let (at, end) = (place_in_file(offset), place_in_file(end));
        let mut steps = Vec::new();
        if at < end.min(HEADER_BYTES) {
            steps.push(RawStep::Known(Bytes::copy_from_slice(&self.header[at..end.min(HEADER_BYTES)])));
        }
        let first = self.places.partition_point(|place| place.end() as usize <= at);
        for (entry, place) in self.places.iter().enumerate().skip(first) {
            let (start, stop) = (place.offset as usize, place.end() as usize);
            if end <= start {
                break;
            }
            steps.push(RawStep::Frame { entry, part: at.max(start) - start..end.min(stop) - start });
        }
        let tail = place_in_file(self.info.image_bytes) - self.tail.len();
        if at.max(tail) < end {
            steps.push(RawStep::Known(self.tail.slice(at.max(tail) - tail..end - tail)));
        }
        Ok(steps)
    }

    /// The range of the file that entries take.
    pub(crate) fn span(&self, entries: &Range<usize>) -> Range<u64> {
        match self.places.get(entries.clone()) {
            Some([first, .., last]) => u64::from(first.offset)..u64::from(last.end()),
            Some([only]) => u64::from(only.offset)..u64::from(only.end()),
            Some([]) | None => 0..0,
        }
    }

    /// Compares a frame's stored bytes with its hash.
    ///
    /// # Errors
    /// Length or hash are others.
    pub(crate) fn check(&self, entry: usize, stored: &[u8]) -> Result<(), FrameFault> {
        if stored.len() != self.places[entry].stored_bytes as usize {
            return Err(FrameFault::Short);
        }
        if frame::hash(stored) == *index::hash(&self.tail, entry) { Ok(()) } else { Err(FrameFault::Hash) }
    }

    /// The content of a frame, from its stored bytes.
    ///
    /// # Errors
    /// As [`check`](Self::check); or what was stored is no frame, which is its writer's fault.
    pub(crate) fn content(&self, entry: usize, stored: Bytes) -> Result<Bytes, FrameFault> {
        self.check(entry, &stored)?;
        let Place { frame, form, .. } = self.places[entry];
        let length = frame_bytes(frame, self.info.content_bytes);
        frame::content(form, stored, length).ok_or(FrameFault::Content)
    }

    /// Cuts entries into runs of at most `bytes` of the file, or a single frame.
    pub(crate) fn runs(&self, bytes: u64) -> impl Iterator<Item = Range<usize>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = self.places.get(next)?;
            let limit = u64::from(first.offset) + bytes;
            let behind = self.places[next..].partition_point(|place| u64::from(place.end()) <= limit);
            let run = next..next + behind.max(1);
            next = run.end;
            Some(run)
        })
    }
}
