//! What can go wrong, one enum per act.

use std::io;
use std::sync::Arc;

use layout::Epoch;
use layout::ec::ImageId;
use wal::AppendError;

use crate::image_source::ImageReadError;
use crate::record::RecordError;
use crate::superblock::SuperblockError;
use layout::ec::ImageRefError;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The capacity or segment size is out of its limits: the caller's fault.
    #[error("a capacity of {capacity_bytes} bytes with segments of {segment_bytes} does not make a store")]
    Config {
        /// What was asked for.
        capacity_bytes: u64,
        /// What was asked for.
        segment_bytes: u64,
    },
    /// The superblock does not check.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// The superblock and its copy are both right, and of different stores: files were mixed up.
    #[error("superblock and superblock.copy are of different stores; the first says {}", hex(uuid))]
    TwoStores {
        /// Of the first one.
        uuid: [u8; 16],
    },
    /// There is a journal, and no superblock that says whose.
    #[error("a journal without a superblock")]
    Headless,
    /// A record whose checksum is right makes no sense.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Records that were durable are damaged: the disk's fault.
    #[error("{places} places of the journal are damaged; the first is segment {segment} at {offset}")]
    Damaged {
        /// How many.
        places: usize,
        /// Segment of the first.
        segment: u64,
        /// Its offset.
        offset: u64,
    },
    /// Segments of the journal that were complete are not there any more: files were lost or
    /// removed.
    #[error("{segments} of {listed} journal segments are gone; the first is {first}")]
    SegmentsGone {
        /// How many.
        segments: usize,
        /// The lowest of their numbers.
        first: u64,
        /// How many ought to be there.
        listed: usize,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] wal::OpenError),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a WRITE or COMMIT, a FENCE, CUT or DROP was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// The epoch is lower than the extent's: the layout behind it is no longer good.
    #[error("the extent is at epoch {known}")]
    Stale {
        /// The extent's epoch.
        known: Epoch,
    },
    /// The range is not inside the extent, or longer than a record; a sequence or an image that
    /// cannot be: the caller's fault.
    #[error("the range is not inside the extent")]
    Range,
    /// The store is full.
    #[error("the store is full")]
    NoSpace,
    /// Room has to be made first; try again.
    #[error("the store is making room")]
    Busy,
    /// The journal failed, now or earlier.
    #[error("the journal failed: {0}")]
    Failed(Arc<io::Error>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<AppendError> for ChangeError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { .. } => Self::Range,
            AppendError::NoSpace => Self::NoSpace,
            AppendError::Failed(error) => Self::Failed(error),
            AppendError::Closed => Self::Closed,
        }
    }
}

/// Why a READ gave no bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The epoch is lower than the extent's.
    #[error("the extent is at epoch {known}")]
    Stale {
        /// The extent's epoch.
        known: Epoch,
    },
    /// The range is not inside the extent: the caller's fault.
    #[error("the range is not inside the extent")]
    Range,
    /// The bytes are damaged, or the disk refused them.
    #[error(transparent)]
    Log(#[from] wal::ReadError),
    /// The bytes are in an image that gives none.
    #[error("image {image}: {error}")]
    Image {
        /// Which one.
        image: ImageId,
        /// Why.
        error: ImageReadError,
    },
    /// The record of an image, though its checksum is right, names none.
    #[error("the record of an image: {0}")]
    ImageRecord(#[from] ImageRefError),
}

impl ReadError {
    /// What is to be read is moved again and again.
    pub(crate) fn moving() -> Self {
        Self::Log(wal::ReadError::Io(io::ErrorKind::ResourceBusy.into()))
    }
}
