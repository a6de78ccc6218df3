//! SETATTR: sets attributes.
//!
//! Spec: RFC 8881 §18.30.

use crate::{
    body::xdr_body,
    v4::{Bitmap, Fattr4, Stateid},
};

/// What to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The open, lock or delegation that allows a change of size, or a special stateid.
    pub stateid: Stateid,
    /// The attributes.
    pub attributes: Fattr4,
}

xdr_body! { Args { stateid, attributes } }

/// What was set. Stands behind every status, also a failure's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk {
    /// The attributes that were set.
    pub attrs_set: Bitmap,
}

xdr_body! { ResOk { attrs_set } }
