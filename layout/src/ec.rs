//! Erasure coding of sealed extents: profiles, groups, the code, rebuilding, and the choice of who
//! is in a group.
//!
//! An image is a string of bytes here; what is in it is its own format's business. Members of a
//! group are coded as they are, shorter ones as if zeros followed. Nothing here reads or writes:
//! callers bring windows of bytes and take windows of bytes, so whole images are never held.
//!
//! INVARIANT: byte `n` of a parity image depends on the same column of 64 bytes of each member, and
//! on nothing else. So any range of any image can be rebuilt alone, and the size of windows is no
//! part of the format.
//! Spec: docs/formats/group.md; docs/adr/0005-erasure-code.md.

pub mod codec;
mod codec_id;
pub mod encode;
#[cfg(test)]
mod fixture;
pub mod footer;
pub mod group;
pub mod image_ref;
mod lengths;
pub mod members;
pub mod profile;
pub mod rebuild;
pub mod sums;
mod window;

pub use codec::CodecId;
pub use encode::{Encoded, Encoder};
pub use footer::{Footer, FooterError, Trailer};
pub use group::{Draft, Group, GroupError, GroupId, ImageId, Member, Parity, Shape};
pub use image_ref::{IMAGE_REF_BYTES, ImageRef, ImageRefError};
pub use members::{Choice, Labels, Server, Spread, Waiting};
pub use profile::Profile;
pub use rebuild::{Rebuild, RebuildError, Repair};
pub use sums::{ImageSum, Sums};
pub use window::Window;
