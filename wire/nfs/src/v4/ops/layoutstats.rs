//! LAYOUTSTATS: tells how much a layout is used.
//!
//! Spec: RFC 7862 §15.7.

use crate::{
    body::{xdr_body, xdr_void},
    v4::{
        DeviceId, Stateid,
        layout::{IoInfo, LayoutUpdate},
    },
};

/// How much, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The layout.
    pub stateid: Stateid,
    /// What was read.
    pub read: IoInfo,
    /// What was written.
    pub write: IoInfo,
    /// The device.
    pub device: DeviceId,
    /// What the layout type has to say: for flexible files latencies.
    pub update: LayoutUpdate,
}

xdr_body! { Args { offset, length, stateid, read, write, device, update } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
