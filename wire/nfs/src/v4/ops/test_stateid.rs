//! TEST_STATEID: asks which stateids are still good.
//!
//! Spec: RFC 8881 §18.48.

use crate::{
    body::xdr_body,
    limits::TEST_STATEIDS_MAX,
    v4::{Nfsstat4, Stateid},
};

/// Which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The stateids.
    pub stateids: Vec<Stateid>,
}

xdr_body! { Args { stateids: list(TEST_STATEIDS_MAX) } }

/// The verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// One for each stateid, in their order.
    pub statuses: Vec<Nfsstat4>,
}

xdr_body! { ResOk { statuses: list(TEST_STATEIDS_MAX) } }
