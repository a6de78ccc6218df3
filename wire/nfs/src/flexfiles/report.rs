//! What a client tells of its I/O: errors and statistics, at LAYOUTRETURN and in LAYOUTSTATS.
//!
//! Spec: RFC 8435 §9.

use bytes::Bytes;
use wire_xdr::XdrError;

use crate::{
    body::xdr_body,
    flexfiles::{NetAddr, decode_body},
    limits::{DEVICE_ERRORS_MAX, IO_ERRORS_MAX, IO_STATS_MAX},
    v4::{
        DeviceId, Filehandle, Nfstime4, Stateid,
        layout::{DeviceError, IoInfo},
    },
};

/// The body of LAYOUTRETURN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FfLayoutReturn {
    /// What went wrong.
    pub errors: Vec<IoError>,
    /// What was done.
    pub stats: Vec<IoStats>,
}

xdr_body! { FfLayoutReturn { errors: list(IO_ERRORS_MAX), stats: list(IO_STATS_MAX) } }

impl FfLayoutReturn {
    /// Reads the body of a LAYOUTRETURN. A client without anything to tell may leave it empty.
    ///
    /// # Errors
    /// Those of the codec.
    pub fn from_body(body: &Bytes) -> Result<Self, XdrError> {
        if body.is_empty() { Ok(Self::default()) } else { decode_body(body) }
    }
}

/// A range in which I/O went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoError {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The layout.
    pub stateid: Stateid,
    /// With which devices, and how.
    pub errors: Vec<DeviceError>,
}

xdr_body! { IoError { offset, length, stateid, errors: list(DEVICE_ERRORS_MAX) } }

/// What was done with one device in a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoStats {
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
    /// How long it took.
    pub update: FfLayoutUpdate,
}

xdr_body! { IoStats { offset, length, stateid, read, write, device, update } }

/// How long the I/O with one device took: also the body of LAYOUTSTATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FfLayoutUpdate {
    /// The address that was used.
    pub address: NetAddr,
    /// The file's handle on the device.
    pub filehandle: Filehandle,
    /// Reads.
    pub read: IoLatency,
    /// Writes.
    pub write: IoLatency,
    /// The time that is told of.
    pub duration: Nfstime4,
    /// The device is on the client's own machine.
    pub local: bool,
}

xdr_body! { FfLayoutUpdate { address, filehandle, read, write, duration, local } }

/// Requests, bytes and times of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoLatency {
    /// Requests sent.
    pub ops_requested: u64,
    /// Bytes asked for.
    pub bytes_requested: u64,
    /// Requests answered.
    pub ops_completed: u64,
    /// Bytes moved.
    pub bytes_completed: u64,
    /// Bytes asked for and not moved.
    pub bytes_not_delivered: u64,
    /// Time in which at least one request was under way.
    pub busy_time: Nfstime4,
    /// Times of all requests, added up.
    pub completion_time: Nfstime4,
}

xdr_body! {
    IoLatency {
        ops_requested,
        bytes_requested,
        ops_completed,
        bytes_completed,
        bytes_not_delivered,
        busy_time,
        completion_time,
    }
}
