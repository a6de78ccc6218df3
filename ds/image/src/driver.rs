//! Everything that touches a disk: the directory of images, writing one, reading one, taking one in, repairing one.
//!
//! INVARIANT: a name that ends with `.img` was given to a file only after all its bytes were synced.
//! Spec: docs/formats/image.md §5, §6.

mod draft;
mod image;
mod receiver;
mod repair;
mod store;
mod writer;

pub use image::{BadFrame, Image, Progress};
pub use receiver::ImageReceiver;
pub use store::{ImageEntry, ImageStore, ImageUsage};
pub use writer::ImageWriter;
