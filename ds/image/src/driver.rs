//! Everything that touches a disk: the directory of images, writing one, reading one, taking one
//! in, repairing one.
//!
//! INVARIANT: a name that ends with `.img` was given to a file only after all its bytes were
//! synced.
//! Spec: docs/formats/image.md §5, §6.

mod bytes;
mod directory;
mod draft;
mod image;
mod parity;
mod receiver;
mod repair;
mod store;
mod writer;

pub use bytes::ImageBytes;
pub use image::{BadFrame, Image, Progress};
pub use parity::ParityImage;
pub use receiver::{ImageReceiver, Received};
pub use store::{ImageEntry, ImageStore, ImageUsage, StoredImage};
pub use writer::ImageWriter;
