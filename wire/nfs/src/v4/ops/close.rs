//! CLOSE: ends an open.
//!
//! Spec: RFC 8881 §18.2.

use crate::{body::xdr_body, v4::Stateid};

/// What to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// Ignored in NFSv4.1.
    pub seqid: u32,
    /// The open.
    pub open_stateid: Stateid,
}

xdr_body! { Args { seqid, open_stateid } }

/// A stateid that means nothing any more (RFC 8881 §18.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Best sent as [`Stateid::INVALID`].
    pub open_stateid: Stateid,
}

xdr_body! { ResOk { open_stateid } }
