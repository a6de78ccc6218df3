//! FENCE, CUT, DROP and SIZE: what a metadata server tells and asks a data server about extents;
//! FILE_END: what a data server asks.
//!
//! An extent is a pair of numbers here; what it means is `layout`'s.
//!
//! Spec: docs/protocol/control.md §3, §4.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use super::copies::CopySet;
use super::limits;

pub use super::extent_name::ExtentName;

/// Arguments of FENCE, and of DROP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtEpoch {
    /// Which extent.
    pub extent: ExtentName,
    /// Its epoch from now on, unless it is higher already.
    pub epoch: u64,
}

xdr_struct! { AtEpoch { extent, epoch } }

/// Arguments of CUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which extent.
    pub extent: ExtentName,
    /// Its epoch from now on, unless it is higher already.
    pub epoch: u64,
    /// Bytes to keep, from the start of the extent.
    pub keep_bytes: u32,
    /// Where its copies are, which must be cut as well; `None` if there is no record of them any
    /// more.
    pub copies: Option<CopySet>,
}

xdr_struct! { Cut { extent, epoch, keep_bytes, copies } }

/// Body of the reply to FENCE, CUT and DROP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownEpoch {
    /// The extent's epoch as known afterwards.
    pub epoch: u64,
}

xdr_struct! { KnownEpoch { epoch } }

/// Arguments of SIZE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeOf {
    /// Which extents; at most [`limits::SIZE_EXTENTS_MAX`].
    pub extents: Vec<ExtentName>,
}

impl Decode for SizeOf {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { extents: list(r, limits::SIZE_EXTENTS_MAX)? })
    }
}

impl Encode for SizeOf {
    fn encode(&self, w: &mut Writer) {
        put_list(w, &self.extents);
    }
}

/// How far one extent reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtentSize {
    /// One past the last byte, from the start of the extent.
    pub end_bytes: u32,
    /// Bytes stored: holes do not count.
    pub held_bytes: u32,
    /// The epoch as known.
    pub epoch: u64,
    /// Wall clock of the last WRITE, or of the data server's start if that was later, nanoseconds
    /// since 1970; 0 if the extent has no record.
    pub mtime_unix_ns: u64,
    /// Grows with each WRITE, CUT and DROP.
    pub change: u64,
}

xdr_struct! { ExtentSize { end_bytes, held_bytes, epoch, mtime_unix_ns, change } }

/// Arguments of FILE_END.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskFileEnd {
    /// The extent that a client reads.
    pub extent: ExtentName,
}

xdr_struct! { AskFileEnd { extent } }

/// Body of FILE_END's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEnd {
    /// Length of the file at some moment after the question came, bytes.
    pub size_bytes: u64,
}

xdr_struct! { FileEnd { size_bytes } }

/// Body of SIZE's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// One for each asked, in order.
    pub sizes: Vec<ExtentSize>,
}

impl Decode for Sizes {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { sizes: list(r, limits::SIZE_EXTENTS_MAX)? })
    }
}

impl Encode for Sizes {
    fn encode(&self, w: &mut Writer) {
        put_list(w, &self.sizes);
    }
}
