//! GETDEVICEINFO: asks for the addresses of a storage device.
//!
//! Spec: RFC 8881 §18.40.

use bytes::Bytes;

use crate::{
    body::xdr_body,
    limits::DEVICE_ADDR_BYTES_MAX,
    v4::{Bitmap, DeviceId, attr::LayoutType},
};

/// Notifications, as numbers in a bitmap.
pub mod notify {
    /// The device's addresses have changed.
    pub const CHANGE: u32 = 1;
    /// The device is gone.
    pub const DELETE: u32 = 2;
}

/// Which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// From a layout.
    pub device: DeviceId,
    /// The type of the layout.
    pub layout_type: LayoutType,
    /// Bytes of the whole [`ResOk`].
    pub maxcount: u32,
    /// The notifications wanted: numbers of [`notify`].
    pub notify: Bitmap,
}

xdr_body! { Args { device, layout_type, maxcount, notify } }

/// The device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// How to read the address.
    pub layout_type: LayoutType,
    /// The address.
    pub address: Bytes,
    /// The notifications that will come. QUIRK(linux): a device that does not get both kinds is not
    /// cached.
    pub notify: Bitmap,
}

xdr_body! { ResOk { layout_type, address: opaque(DEVICE_ADDR_BYTES_MAX), notify } }

/// What stands behind the status TOOSMALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSmall {
    /// Bytes that the result needs.
    pub mincount: u32,
}

xdr_body! { TooSmall { mincount } }
