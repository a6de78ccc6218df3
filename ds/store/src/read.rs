//! READ: the pieces of a range, from the journal and from the extent's image, holes filled with
//! zeros, nothing joined or copied.
//!
//! The index is looked at under its lock, journal and image are read without it. If compaction
//! moved a piece in between, its old place is refused by the log, and an image that is in use no
//! more may be gone; the index is then asked again.
//!
//! INVARIANT: no byte leaves that the log, or who reads images, has not checked.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use layout::{Epoch, ExtentId};
use wal::Location;

use crate::error::ReadError;
use crate::extent::Base;
use crate::image_source::ImageReadError;
use crate::limits::{EXTENT_BYTES, READ_PIECES_MAX, READS_IN_FLIGHT_MAX};
use crate::pieces::Step;
use crate::store::Store;
use layout::ec::ImageRef;

const ZEROS_BYTES: usize = 64 << 10;
static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

/// Times that a read looks again because its bytes were moved.
const MOVES_MAX: usize = 8;

/// What a READ found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The bytes, in order. Fewer than asked for if they lie in very many places.
    pub data: Vec<Bytes>,
    /// How many they are.
    pub bytes: u32,
    /// One past the extent's last byte, from its start.
    pub end: u32,
    /// Where the extent was cut after the epoch of the request: what the bearer of the handle
    /// believes of the file's length is no longer true.
    pub cut: Option<u32>,
}

struct Looked {
    steps: Vec<Step>,
    end: u32,
    cut: Option<u32>,
    /// If a step needs it.
    base: Option<Base>,
}

impl Looked {
    fn is_like(&self, other: &Self) -> bool {
        let at = |looked: &Self| looked.base.as_ref().map(|base| base.at);
        self.steps == other.steps && at(self) == at(other)
    }
}

impl Store {
    /// Reads `length` bytes from `offset` of the extent. Bytes that were never written, behind the
    /// end too, are zeros.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    /// # Errors
    /// Any [`ReadError`].
    pub async fn read(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        offset: u32,
        length: u32,
    ) -> Result<Found, ReadError> {
        if offset.checked_add(length).is_none_or(|end| EXTENT_BYTES < end) {
            return Err(ReadError::Range);
        }
        let mut looked = self.look(extent, epoch, offset, length)?;
        for _ in 0..MOVES_MAX {
            let error = match self.gather(extent, &looked).await {
                Ok(data) => {
                    let bytes = data.iter().map(Bytes::len).sum::<usize>();
                    let bytes = u32::try_from(bytes).expect("no more than was asked for");
                    assert!(bytes <= length, "no more than was asked for");
                    return Ok(Found { data, bytes, end: looked.end, cut: looked.cut });
                }
                Err(error) => error,
            };
            let again = self.look(extent, epoch, offset, length)?;
            if again.is_like(&looked) {
                let later = matches!(error, ReadError::Image { error: ImageReadError::Unavailable, .. });
                return Err(if later { error } else { self.damaged(extent, error) });
            }
            looked = again;
        }
        Err(ReadError::moving())
    }

    /// Reads as [`read`](Self::read) does, for a copy and not for a client: under no epoch. At
    /// least one byte, unless none is asked for.
    ///
    /// # Errors
    /// As [`read`](Self::read), but for `Stale`.
    pub async fn peek(&self, extent: ExtentId, offset: u32, length: u32) -> Result<Vec<Bytes>, ReadError> {
        let known =
            self.inner.index.shard(extent).get(&extent).map_or_else(Epoch::default, |known| known.epoch);
        let epoch = known.max(self.inner.index.forgotten_epoch(extent));
        self.read(extent, epoch, offset, length).await.map(|found| found.data)
    }

    fn look(&self, extent: ExtentId, epoch: Epoch, offset: u32, length: u32) -> Result<Looked, ReadError> {
        let mut shard = self.inner.index.shard(extent);
        let forgotten = self.inner.index.forgotten_epoch(extent);
        if epoch < forgotten {
            return Err(ReadError::Stale { known: forgotten });
        }
        let Some(known) = shard.get_mut(&extent) else {
            let steps = if length == 0 { vec![] } else { vec![Step::Zeros(length)] };
            return Ok(Looked { steps, end: 0, cut: None, base: None });
        };
        let least = known.fence_epoch.max(known.opened_epoch);
        if epoch < least {
            return Err(ReadError::Stale { known: least });
        }
        let cut = (epoch < known.cut_epoch).then_some(known.cut_keep);
        known.epoch = known.epoch.max(epoch);
        let steps = known.pieces.read(offset, length, READ_PIECES_MAX);
        let imaged = steps.iter().any(|step| matches!(step, Step::Image { .. }));
        let base = if imaged { known.base.clone() } else { None };
        Ok(Looked { steps, end: known.pieces.end(), cut, base })
    }

    async fn gather(&self, extent: ExtentId, looked: &Looked) -> Result<Vec<Bytes>, ReadError> {
        // Nearly every read of a file that was written in order is one piece.
        if let [Step::Data { at, skip, length, .. }] = &looked.steps[..] {
            return Ok(vec![self.part(*at, *skip, *length).await?]);
        }
        let image = match &looked.base {
            Some(base) => Some(self.name_of(extent, base).await?),
            None => None,
        };
        let parts = stream::iter(looked.steps.iter().copied()).map(|step| async move {
            match step {
                Step::Zeros(length) => Ok(zeros(length)),
                Step::Data { at, skip, length, .. } => Ok(vec![self.part(at, skip, length).await?]),
                Step::Image { offset, length } => {
                    let image = image.as_ref().expect("an image shows only while it is known");
                    self.image_part(extent, image, offset, length).await
                }
            }
        });
        parts.buffered(READS_IN_FLIGHT_MAX).try_concat().await
    }

    async fn image_part(
        &self,
        extent: ExtentId,
        image: &ImageRef,
        offset: u32,
        length: u32,
    ) -> Result<Vec<Bytes>, ReadError> {
        let refused = |error| ReadError::Image { image: image.image, error };
        let bytes = self.inner.images.read(extent, image, offset, length).await.map_err(refused)?;
        let got: usize = bytes.iter().map(Bytes::len).sum();
        if got == length as usize { Ok(bytes) } else { Err(refused(ImageReadError::Damaged)) }
    }

    async fn part(&self, at: Location, skip: u32, length: u32) -> Result<Bytes, wal::ReadError> {
        let bytes = self.inner.wal.read(at, skip..skip + length).await?;
        assert!(bytes.len() == length as usize, "the log gives what was asked for");
        Ok(bytes)
    }
}

fn zeros(length: u32) -> Vec<Bytes> {
    let mut left = length as usize;
    let mut pieces = Vec::with_capacity(left.div_ceil(ZEROS_BYTES));
    while 0 < left {
        let step = left.min(ZEROS_BYTES);
        pieces.push(Bytes::from_static(&ZEROS[..step]));
        left -= step;
    }
    let sum: usize = pieces.iter().map(Bytes::len).sum();
    assert_eq!(sum, length as usize, "as many zeros as were asked for");
    pieces
}
