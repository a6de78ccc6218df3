//! What layout operations and their callbacks have in common: iomodes, layouts, updates, device
//! errors.
//!
//! The bodies are opaque here; for flexible files `crate::flexfiles` reads them.
//!
//! Spec: RFC 8881 §3.3.13 to §3.3.20; RFC 7862 §15.6, §15.7.

use bytes::Bytes;

use crate::{
    body::xdr_body,
    enumeration::xdr_enum,
    limits::{LAYOUT_BODY_BYTES_MAX, LAYOUT_RETURN_BODY_BYTES_MAX},
    v4::{DeviceId, Nfsstat4, attr::LayoutType},
};

xdr_enum! {
    /// What a layout allows.
    pub enum Iomode, "layoutiomode4" {
        /// To read.
        Read = 1,
        /// To read and write.
        ReadWrite = 2,
        /// Either; in returns and recalls only.
        Any = 3,
    }
}

/// The length that means "to the end, whatever that will be".
pub const LENGTH_TO_END: u64 = u64::MAX;

/// One layout segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// First byte of the file.
    pub offset: u64,
    /// Bytes; [`LENGTH_TO_END`] has no end.
    pub length: u64,
    /// What it allows.
    pub iomode: Iomode,
    /// How to read the body.
    pub layout_type: LayoutType,
    /// Where the bytes are.
    pub body: Bytes,
}

xdr_body! { Layout { offset, length, iomode, layout_type, body: opaque(LAYOUT_BODY_BYTES_MAX) } }

/// What a client tells of its use of a layout, in terms of the layout type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutUpdate {
    /// How to read the body.
    pub layout_type: LayoutType,
    /// The words.
    pub body: Bytes,
}

xdr_body! { LayoutUpdate { layout_type, body: opaque(LAYOUT_RETURN_BODY_BYTES_MAX) } }

/// What went wrong between a client and a storage device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceError {
    /// The device.
    pub device: DeviceId,
    /// What it said, or NXIO if it could not be reached.
    pub status: Nfsstat4,
    /// The operation that failed, by its NFSv4 number.
    pub op: u32,
}

xdr_body! { DeviceError { device, status, op } }

/// Requests and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoInfo {
    /// Requests.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

xdr_body! { IoInfo { count, bytes } }
