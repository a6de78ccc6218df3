//! LAYOUTGET: asks where the bytes of a range are.
//!
//! Spec: RFC 8881 §18.43.

use crate::{
    body::xdr_body,
    limits::LAYOUTS_MAX,
    v4::{
        Stateid,
        attr::LayoutType,
        layout::{Iomode, Layout},
    },
};

/// The range, and what it is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// Tell the client when a layout can be had that cannot be had now.
    pub signal_layout_avail: bool,
    /// The type of layout.
    pub layout_type: LayoutType,
    /// To read or to write.
    pub iomode: Iomode,
    /// First byte.
    pub offset: u64,
    /// Bytes that are wanted.
    pub length: u64,
    /// Bytes without which the layout is of no use.
    pub min_length: u64,
    /// An open, lock or delegation; or the layout of this file, if the client has one.
    pub stateid: Stateid,
    /// Bytes of the whole [`ResOk`].
    pub maxcount: u32,
}

xdr_body! { Args { signal_layout_avail, layout_type, iomode, offset, length, min_length, stateid, maxcount } }

/// The layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// To be given back at the last CLOSE.
    pub return_on_close: bool,
    /// Of all layouts of this client in this file; its seqid is one higher than before.
    pub stateid: Stateid,
    /// The segments. QUIRK(linux): reads only the first.
    pub layouts: Vec<Layout>,
}

xdr_body! { ResOk { return_on_close, stateid, layouts: list(LAYOUTS_MAX) } }

/// What stands behind the status LAYOUTTRYLATER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TryLater {
    /// The client will be told when a layout can be had.
    pub will_signal: bool,
}

xdr_body! { TryLater { will_signal } }
