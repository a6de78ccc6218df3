//! OPEN_DOWNGRADE: gives up some of an open's access.
//!
//! Spec: RFC 8881 §18.18.

use crate::{body::xdr_body, v4::Stateid};

/// What to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The open.
    pub open_stateid: Stateid,
    /// Ignored in NFSv4.1.
    pub seqid: u32,
    /// The access that is kept.
    pub share_access: u32,
    /// The denial that is kept.
    pub share_deny: u32,
}

xdr_body! { Args { open_stateid, seqid, share_access, share_deny } }

/// The open afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Its seqid is one higher.
    pub open_stateid: Stateid,
}

xdr_body! { ResOk { open_stateid } }
