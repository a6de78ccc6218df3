//! `ff_device_addr4`: where a data server listens and what it speaks.
//!
//! Spec: RFC 8435 §4.

use crate::{
    body::xdr_body,
    flexfiles::NetAddr,
    limits::{DEVICE_VERSIONS_MAX, NETADDRS_MAX},
};

/// The body of a device's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddr {
    /// Its addresses. QUIRK(linux): those behind the first are used only if family and transport
    /// are the first's.
    pub addresses: Vec<NetAddr>,
    /// What it speaks. QUIRK(linux): the first is used, and one that is not known refuses the
    /// device.
    pub versions: Vec<DeviceVersion>,
}

xdr_body! { DeviceAddr { addresses: list(NETADDRS_MAX), versions: list(DEVICE_VERSIONS_MAX) } }

/// A version of NFS that a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceVersion {
    /// 3 or 4.
    pub version: u32,
    /// 0 with version 3.
    pub minor_version: u32,
    /// Bytes of the largest READ.
    pub rsize_bytes: u32,
    /// Bytes of the largest WRITE.
    pub wsize_bytes: u32,
    /// The metadata server and the device share stateids and credentials.
    pub tightly_coupled: bool,
}

xdr_body! { DeviceVersion { version, minor_version, rsize_bytes, wsize_bytes, tightly_coupled } }
