//! LAYOUTERROR: tells at once what went wrong with a layout's devices.
//!
//! Spec: RFC 7862 §15.6.

use crate::{
    body::{xdr_body, xdr_void},
    limits::DEVICE_ERRORS_MAX,
    v4::{Stateid, layout::DeviceError},
};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The layout.
    pub stateid: Stateid,
    /// The devices.
    pub errors: Vec<DeviceError>,
}

xdr_body! { Args { offset, length, stateid, errors: list(DEVICE_ERRORS_MAX) } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
