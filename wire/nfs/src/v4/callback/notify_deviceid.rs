//! CB_NOTIFY_DEVICEID: tells that storage devices have changed or are gone.
//!
//! Each notification is a bitmap with one number and an opaque with what belongs to it.
//!
//! Spec: RFC 8881 §20.12.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::{xdr_body, xdr_void},
    limits::DEVICE_NOTIFICATIONS_MAX,
    v4::{Bitmap, DeviceId, attr::LayoutType, ops::getdeviceinfo::notify},
};

/// Bytes of what belongs to a notification: layout type and device, and for a change one word more.
const VALUES_BYTES_MAX: usize = 4 + 16 + 4;

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// To which devices.
    pub changes: Vec<DeviceNotification>,
}

xdr_body! { Args { changes: list(DEVICE_NOTIFICATIONS_MAX) } }

/// What has happened to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceNotification {
    /// Its address has changed. QUIRK(linux): forgets the device.
    Change {
        /// The type of the layouts that name it.
        layout_type: LayoutType,
        /// The device.
        device: DeviceId,
        /// Use the new address at once; otherwise for new I/O only.
        immediate: bool,
    },
    /// It is gone.
    Delete {
        /// The type of the layouts that named it.
        layout_type: LayoutType,
        /// The device.
        device: DeviceId,
    },
}

impl Decode for DeviceNotification {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let mask = Bitmap::decode(r)?;
        let mut r = Reader::new(r.opaque(VALUES_BYTES_MAX)?);
        let layout_type = LayoutType::decode(&mut r)?;
        let device = DeviceId::decode(&mut r)?;
        let notification = if mask == Bitmap::of(&[notify::CHANGE]) {
            Self::Change { layout_type, device, immediate: r.bool()? }
        } else if mask == Bitmap::of(&[notify::DELETE]) {
            Self::Delete { layout_type, device }
        } else {
            return Err(XdrError::Invalid { field: "notify_mask" });
        };
        r.finish()?;
        Ok(notification)
    }
}

impl Encode for DeviceNotification {
    fn encode(&self, w: &mut Writer) {
        let mut values = Writer::new();
        let number = match self {
            Self::Change { layout_type, device, immediate } => {
                layout_type.encode(&mut values);
                device.encode(&mut values);
                values.bool(*immediate);
                notify::CHANGE
            }
            Self::Delete { layout_type, device } => {
                layout_type.encode(&mut values);
                device.encode(&mut values);
                notify::DELETE
            }
        };
        Bitmap::of(&[number]).encode(w);
        w.opaque_bytes(values.into_bytes());
    }
}

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
