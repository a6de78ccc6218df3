//! Sealed images: one extent as one immutable file that can check every byte it holds.
//!
//! Writes an image once and front to back, reads ranges of it, walks it for a scrub, gives out its
//! raw bytes for parity, takes raw bytes back when it is rebuilt, and keeps a directory of images.
//! Parity images are in the same directory, are taken in and given out the same way, and check
//! themselves by their own format. Knows neither journal nor wire: who seals, when, and what an
//! image is a member of is decided above.
//!
//! What the bytes mean (`format`, `frame`, `encoder`, `map`, `assembly`) is pure; `driver` does the
//! reading and writing.
//!
//! INVARIANT: no byte is given out that was not compared with its hash; nothing is modified in
//! place.
//! Spec: docs/formats/image.md; docs/formats/group.md §5.

#![forbid(unsafe_code)]

mod assembly;
mod driver;
mod encoder;
mod error;
mod format;
mod frame;
mod identity;
pub mod limits;
mod map;

pub use driver::{
    BadFrame, Image, ImageBytes, ImageEntry, ImageReceiver, ImageStore, ImageUsage, ImageWriter, ParityImage,
    Progress, Received, StoredImage,
};
pub use error::{
    CreateError, DeleteError, FinishError, FrameFault, OpenError, ReadError, ReceiveError, RepairError,
    StoreError, VerifyError, WriteError,
};
pub use format::{FormatError, Part};
pub use frame::Form;
pub use identity::{Identity, ImageInfo, ImageRoot, ParityInfo, Sealed};
pub use layout::ec::{FooterError, ImageId, ImageSum};
pub use map::StoredFrame;
