//! LAYOUTCOMMIT: makes what was written through a layout visible: size and times.
//!
//! Spec: RFC 8881 §18.42.

use crate::{
    body::xdr_body,
    v4::{Nfstime4, Stateid, layout::LayoutUpdate},
};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// First byte. QUIRK(linux): always 0.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The layout is from before the server restarted.
    pub reclaim: bool,
    /// The layout.
    pub stateid: Stateid,
    /// The last byte that was written. A file that is shorter grows to hold it.
    pub last_write_offset: Option<u64>,
    /// When it was written. QUIRK(linux): never told.
    pub time_modify: Option<Nfstime4>,
    /// What the layout type has to say.
    pub update: LayoutUpdate,
}

xdr_body! { Args { offset, length, reclaim, stateid, last_write_offset, time_modify, update } }

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk {
    /// The file's size, if this changed it.
    pub new_size: Option<u64>,
}

xdr_body! { ResOk { new_size } }
