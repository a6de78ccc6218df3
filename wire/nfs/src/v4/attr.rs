//! File attributes: `fattr4` on the wire, `AttrValues` in memory.
//!
//! `fattr4` is a bitmap and an opaque body, so it can be passed over without being understood:
//! [`Fattr4`] keeps it that way until it is read. An attribute that the bitmap names and we do
//! not know cannot be stepped over, as its length is not told: to write one is an error, to read
//! one is not possible. Asking for one is neither: it is left out.
//!
//! Access control lists are not among the values.
//!
//! Spec: RFC 8881 §3.3.7, §5; RFC 7862 §12.2; RFC 8276 §8.2.

mod decode;
mod encode;
mod fattr;
mod known;
pub mod numbers;
mod values;

pub use decode::AttrError;
pub use encode::encode_fattr4;
pub use fattr::Fattr4;
pub use known::AttrValues;
pub use values::{
    ChangeAttrType, FileType, Fsid, LayoutType, MdsThreshold, ModeMasked, ModeUmask, SetTime, SpecData,
    ThresholdItem,
};

#[cfg(test)]
mod tests;
