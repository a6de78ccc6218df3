//! RENAME: moves a name from the saved directory to the current one.
//!
//! Spec: RFC 8881 §18.26.

use bytes::Bytes;

use crate::{body::xdr_body, limits::COMPONENT_BYTES_MAX, v4::ChangeInfo};

/// From what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The name in the saved directory.
    pub old_name: Bytes,
    /// The name in the current directory.
    pub new_name: Bytes,
}

xdr_body! { Args { old_name: opaque(COMPONENT_BYTES_MAX), new_name: opaque(COMPONENT_BYTES_MAX) } }

/// What became of the directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Of the saved directory.
    pub source: ChangeInfo,
    /// Of the current directory.
    pub target: ChangeInfo,
}

xdr_body! { ResOk { source, target } }
