//! Reads live data of the journal only to compare them with their checksums, for a scrub that walks
//! through all extents; and says again what went bad, when another server had it.
//!
//! Records without data are not read again: what they say is in the index, and their headers were
//! checked when the store was opened.
//!
//! INVARIANT: what is called bad was live, and where it is said to be, when it was read and
//! afterwards.
//! Spec: docs/protocol/seal.md §10.

use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use layout::ec::ImageRef;
use layout::{Epoch, ExtentId};
use wal::Location;

use crate::control::{Controlled, detached};
use crate::error::{ChangeError, ReadError};
use crate::limits::{CHECK_BYTES_MAX, CHECK_EXTENTS_MAX, CHECK_PIECES_MAX, EXTENT_BYTES};
use crate::pieces::{Piece, Source};
use crate::record::{Act, Kind};
use crate::store::Store;

/// Bytes of an extent that the journal says and does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRun {
    /// First byte, from the extent's start. Of an image's record, 0.
    pub offset: u32,
    /// How many; of an image's record, all that the image says.
    pub length: u32,
    /// The act that said them.
    pub sequence: u64,
    /// It is the record that names the extent's image.
    pub is_image_record: bool,
    /// The segment of the journal with the record.
    pub segment: u64,
}

/// What a look at a part of an extent found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bytes that were read.
    pub bytes: u64,
    /// What is bad.
    pub bad: Vec<BadRun>,
    /// Where to go on; nothing is left if there is no such place.
    pub next: Option<u32>,
}

/// A run of data, and where it lies.
#[derive(Clone, Copy)]
struct Place {
    run: BadRun,
    at: Location,
    skip: u32,
}

impl Place {
    /// Whether these bytes begin with those.
    fn holds(&self, other: &Self) -> bool {
        let begins = |one: &Self| (one.at, one.skip, one.run.offset, one.run.sequence);
        begins(self) == begins(other) && other.run.length <= self.run.length
    }
}

impl Store {
    /// The lowest extents above `after` of which the journal says anything, in order; at most
    /// [`CHECK_EXTENTS_MAX`]. None are left if there are none.
    #[must_use]
    pub fn extents_after(&self, after: Option<ExtentId>) -> Vec<ExtentId> {
        let mut lowest: BinaryHeap<ExtentId> = BinaryHeap::with_capacity(CHECK_EXTENTS_MAX + 1);
        self.inner.index.for_each(|extent, known| {
            let counts = 0 < known.pieces.data_bytes() || known.base.is_some();
            if !counts || after.is_some_and(|after| extent <= after) {
                return;
            }
            if lowest.len() < CHECK_EXTENTS_MAX || lowest.peek().is_some_and(|highest| extent < *highest) {
                lowest.push(extent);
            }
            if CHECK_EXTENTS_MAX < lowest.len() {
                lowest.pop();
            }
        });
        assert!(lowest.len() <= CHECK_EXTENTS_MAX, "no more extents than are named at a time");
        lowest.into_sorted_vec()
    }

    /// Reads some of the extent's data from `from` on, and the record of its image if that is the
    /// start.
    ///
    /// # Units
    /// `from` counts bytes from the start of the extent.
    pub async fn check(&self, extent: ExtentId, from: u32) -> Checked {
        let mut checked = Checked::default();
        if from == 0 {
            self.check_image_record(extent, &mut checked).await;
        }
        let (places, next) = self.places(extent, from);
        assert!(places.len() <= CHECK_PIECES_MAX, "a look has its bounds");
        assert!(next.is_none_or(|next| from < next), "each look comes nearer to the end");
        checked.next = next;
        for place in places {
            checked.bytes += u64::from(place.run.length);
            let range = place.skip..place.skip + place.run.length;
            let Err(error) = self.inner.wal.read(place.at, range).await else { continue };
            // What was moved, or written over, meanwhile is not there any more: no damage.
            if self.places(extent, place.run.offset).0.first().is_some_and(|again| again.holds(&place)) {
                self.note_bad(extent, place.run, &error.into());
                checked.bad.push(place.run);
            }
        }
        checked
    }

    /// The lowest sequence of the records that say these bytes; `None` if one of them is in a hole,
    /// or was never said.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    #[must_use]
    pub fn lowest_sequence(&self, extent: ExtentId, offset: u32, length: u32) -> Option<u64> {
        let end = offset.checked_add(length)?;
        let shard = self.inner.index.shard(extent);
        let (mut cursor, mut lowest) = (offset, None::<u64>);
        for (at, piece) in shard.get(&extent)?.pieces.iter() {
            if at + piece.length <= cursor || piece.source == Source::Hole {
                continue;
            }
            if cursor < at || end <= cursor {
                break;
            }
            lowest = Some(lowest.map_or(piece.sequence, |lowest| lowest.min(piece.sequence)));
            cursor = at + piece.length;
        }
        lowest.filter(|_| end <= cursor)
    }

    /// Says bytes again that a record of this sequence said, and that cannot be read any more: they
    /// came from a server that has them. What was written or cut since stays as it is. They are on
    /// stable storage when it returns, and every WRITE that had its place before has landed. The
    /// segment with the bad record is emptied as soon as it is complete.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    /// # Errors
    /// [`ChangeError::Range`] if nothing of this sequence is there; otherwise as
    /// [`fence`](Self::fence).
    pub async fn restore(
        &self,
        extent: ExtentId,
        offset: u32,
        sequence: u64,
        data: Bytes,
    ) -> Result<(), ChangeError> {
        let length = u32::try_from(data.len()).map_err(|_| ChangeError::Range)?;
        if length == 0
            || CHECK_BYTES_MAX < length
            || offset.checked_add(length).is_none_or(|end| EXTENT_BYTES < end)
        {
            return Err(ChangeError::Range);
        }
        if !self.inner.index.shard(extent).contains_key(&extent) {
            return Err(ChangeError::Range);
        }
        let inner = self.inner.clone();
        detached(async move {
            let controlled = Controlled::begin(&inner, extent, Epoch::default(), false).await?;
            let (epoch, segments) = {
                let mut shard = inner.index.shard(extent);
                let known = shard.get_mut(&extent).expect("a controlled extent is not forgotten");
                let inside = |at: u32, piece: &Piece| at < offset + length && offset < at + piece.length;
                let of_it = |(at, piece): &(u32, Piece)| {
                    let is_data = matches!(piece.source, Source::Data { .. });
                    is_data && piece.sequence == sequence && inside(*at, piece)
                };
                let segments: Vec<u64> =
                    known.pieces.iter().filter(of_it).map(|(_, piece)| piece.segment).collect();
                (known.epoch, segments)
            };
            if segments.is_empty() {
                return Err(ChangeError::Range);
            }
            let act = Act { kind: Kind::Write, extent, epoch, sequence, offset, length };
            controlled.append_records(vec![act], vec![act.record(vec![data])]).await?;
            let mut known = inner.index.segments();
            segments.into_iter().for_each(|segment| known.relieve(segment));
            drop(known);
            inner.wake.notify_one();
            Ok(())
        })
        .await
    }

    /// Says an image again that a record of this sequence named, and that cannot be read any more.
    /// The segment with the bad record is emptied as soon as it is complete.
    ///
    /// # Errors
    /// [`ChangeError::Range`] if no image of this sequence is in use, or one of another length;
    /// otherwise as [`fence`](Self::fence).
    pub async fn restore_image(
        &self,
        extent: ExtentId,
        sequence: u64,
        image: &ImageRef,
    ) -> Result<(), ChangeError> {
        if image.check().is_err() || self.base(extent).is_none() {
            return Err(ChangeError::Range);
        }
        let (inner, image) = (self.inner.clone(), *image);
        detached(async move {
            let controlled = Controlled::begin(&inner, extent, Epoch::default(), false).await?;
            let (epoch, segment) = {
                let shard = inner.index.shard(extent);
                let known = shard.get(&extent).expect("a controlled extent is not forgotten");
                let is_it = |base: &&crate::extent::Base| {
                    base.sequence == sequence && base.content_bytes == image.content_bytes
                };
                let base = known.base.as_ref().filter(is_it).ok_or(ChangeError::Range)?;
                (known.epoch, base.at.segment)
            };
            let offset = image.content_bytes;
            let act =
                Act { kind: Kind::Image, extent, epoch, sequence, offset, length: EXTENT_BYTES - offset };
            let record = act.record(vec![Bytes::copy_from_slice(&image.encode())]);
            controlled.append_records(vec![act], vec![record]).await?;
            inner.index.segments().relieve(segment);
            inner.wake.notify_one();
            Ok(())
        })
        .await
    }

    /// Which image the extent's record names is remembered; here it is read again.
    async fn check_image_record(&self, extent: ExtentId, checked: &mut Checked) {
        let Some(base) = self.base(extent) else { return };
        checked.bytes += u64::from(base.at.payload_len);
        let read = self.inner.wal.read(base.at, 0..base.at.payload_len).await;
        let error: ReadError = match read.map(|payload| ImageRef::decode(&payload)) {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        if self.base(extent).is_some_and(|again| again.at == base.at) {
            let (length, sequence) = (base.content_bytes, base.sequence);
            let run = BadRun { offset: 0, length, sequence, is_image_record: true, segment: base.at.segment };
            self.note_bad(extent, run, &error);
            checked.bad.push(run);
        }
    }

    fn note_bad(&self, extent: ExtentId, run: BadRun, error: &ReadError) {
        self.inner.bad_blocks.fetch_add(1, Ordering::Relaxed);
        let BadRun { offset, length, sequence, .. } = run;
        tracing::error!(%extent, offset, length, sequence, %error, "bytes of the journal are bad");
    }

    /// The next runs of data from `from` on, whole ones but for the first and the last, and where
    /// others follow.
    fn places(&self, extent: ExtentId, from: u32) -> (Vec<Place>, Option<u32>) {
        let shard = self.inner.index.shard(extent);
        let Some(known) = shard.get(&extent) else { return (Vec::new(), None) };
        let (mut places, mut left) = (Vec::new(), CHECK_BYTES_MAX);
        for (offset, piece) in known.pieces.iter() {
            let Source::Data { at, skip } = piece.source else { continue };
            let end = offset + piece.length;
            let start = offset.max(from);
            if end <= start {
                continue;
            }
            if left == 0 || places.len() == CHECK_PIECES_MAX {
                return (places, Some(start));
            }
            let length = (end - start).min(left);
            left -= length;
            let sequence = piece.sequence;
            let segment = at.segment;
            let run = BadRun { offset: start, length, sequence, is_image_record: false, segment };
            places.push(Place { run, at, skip: skip + (start - offset) });
            if start + length < end {
                return (places, Some(start + length));
            }
        }
        (places, None)
    }
}
