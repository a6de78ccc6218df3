//! What can go wrong, one enum per act.

use std::io;

use layout::ec::{FooterError, ImageSum};

use crate::format::FormatError;

/// Why a directory of images could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It holds more images than one directory may.
    #[error("{images} images in one directory")]
    TooMany {
        /// How many.
        images: usize,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why an image was not begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one with this id: the caller's fault.
    #[error("the image is there already")]
    Exists,
    /// One with this id is being written, received, repaired or deleted.
    #[error("the image is being worked on")]
    Busy,
    /// The directory is full of images, or too many are under way.
    #[error("too many images, or too many under way")]
    TooMany,
    /// No image has the length or the id that was asked for: the caller's fault.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why content was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Bytes come in order: the caller's fault. The image may go on.
    #[error("bytes at {offset} after those up to {position}")]
    Order {
        /// Where the bytes were to go.
        offset: u32,
        /// How far the content is.
        position: u32,
    },
    /// The bytes end behind the extent: the caller's fault. The image may go on.
    #[error("bytes up to {end} of an extent")]
    Range {
        /// Where they would end.
        end: u64,
    },
    /// An earlier write failed or was not waited for. What the file holds is unknown.
    #[error("an earlier write failed")]
    Broken,
    /// The disk refused. The image takes nothing more.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why an image was not finished. There is then no image of this id, unless the disk failed in its
/// last step: then there may be one after the next opening, and it is whole.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The end is out of order or behind the extent, or an earlier write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why an image could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none of this id.
    #[error("no such image")]
    Absent,
    /// Its file is damaged, or is another image: the disk's fault.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The same, of a parity image.
    #[error(transparent)]
    Parity(#[from] FooterError),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The file ends before it does.
    Short,
    /// Its bytes are not those that were written.
    Hash,
    /// The disk refused to read it.
    Unreadable,
    /// Its bytes are those that were written, and make no frame: the writer's fault. No copy or
    /// parity helps.
    Content,
}

impl std::fmt::Display for FrameFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Short => "the file ends before it",
            Self::Hash => "its hash is wrong",
            Self::Unreadable => "the disk does not read it",
            Self::Content => "it does not decompress",
        })
    }
}

/// Why a read gave no bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The range is not inside the extent (or the file), or longer than a read may be: the caller's
    /// fault.
    #[error("{length} bytes at {offset} cannot be read at once")]
    Range {
        /// Where.
        offset: u64,
        /// How many.
        length: u32,
    },
    /// A frame in the range is bad; others may be too. The image's other frames can be read.
    #[error("frame {frame}: {fault}")]
    Damaged {
        /// The first bad frame of the range; of a parity image the first bad block.
        frame: u16,
        /// What is wrong with it.
        fault: FrameFault,
    },
}

/// Why an image could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Header, index or footer are no longer what they were when the image was opened.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The disk refused to read them.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why raw bytes did not become an image.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The range does not begin and end at blocks, or leaves the file: the caller's fault. Others
    /// may still come.
    #[error("{length} bytes at {offset} are not whole blocks of the image")]
    Blocks {
        /// Where.
        offset: u64,
        /// How many.
        length: usize,
    },
    /// Not everything has arrived: the caller's fault.
    #[error("no bytes at {offset} have arrived")]
    Missing {
        /// The first byte that is missing.
        offset: u64,
    },
    /// An earlier write failed or was not waited for. What the file holds is unknown.
    #[error("an earlier write failed")]
    Broken,
    /// What arrived is no image, or another one: the fault of who sent it, or of the disk.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// What arrived ends like a parity image and is none.
    #[error(transparent)]
    Parity(#[from] FooterError),
    /// What arrived is an image of this id, and not the one that was expected.
    #[error("the image's sum is not the expected one")]
    Sum {
        /// What the caller knows.
        expected: ImageSum,
        /// What arrived.
        found: ImageSum,
    },
    /// A frame, or a block of parity, that arrived is bad.
    #[error("frame {frame}: {fault}")]
    Damaged {
        /// The first bad one.
        frame: u16,
        /// What is wrong with it.
        fault: FrameFault,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<OpenError> for ReceiveError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Absent => Self::Io(io::ErrorKind::NotFound.into()),
            OpenError::Format(error) => Self::Format(error),
            OpenError::Parity(error) => Self::Parity(error),
            OpenError::Io(error) => Self::Io(error),
        }
    }
}

impl From<VerifyError> for ReceiveError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Format(error) => Self::Format(error),
            VerifyError::Io(error) => Self::Io(error),
        }
    }
}

/// Why an image was not repaired. The old file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The image cannot be opened: only receiving it again helps.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// One with this id is being written, received, repaired or deleted.
    #[error("the image is being worked on")]
    Busy,
    /// Too many images are under way.
    #[error("too many images under way")]
    TooMany,
    /// Bytes were given for a frame that the image does not store: the caller's fault.
    #[error("frame {frame} is not stored")]
    NotStored {
        /// Its number.
        frame: u16,
    },
    /// The bytes given for a frame are not its stored bytes.
    #[error("the bytes given for frame {frame}: {fault}")]
    Given {
        /// Its number.
        frame: u16,
        /// What is wrong with them.
        fault: FrameFault,
    },
    /// A frame is bad and no bytes were given for it.
    #[error("frame {frame}: {fault}, and no bytes were given for it")]
    Damaged {
        /// Its number.
        frame: u16,
        /// What is wrong with it.
        fault: FrameFault,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why an image was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is none of this id.
    #[error("no such image")]
    Absent,
    /// One with this id is being repaired or deleted.
    #[error("the image is being worked on")]
    Busy,
    /// The disk refused. The image is out of the directory, and may be back after the next opening.
    #[error(transparent)]
    Io(#[from] io::Error),
}
