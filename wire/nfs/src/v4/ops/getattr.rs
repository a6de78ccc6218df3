//! GETATTR: reads attributes.
//!
//! A server writes its answer with `attr::encode_fattr4`, without the detour over `ResOk`.
//!
//! Spec: RFC 8881 §18.7.

use crate::{
    body::xdr_body,
    v4::{Bitmap, Fattr4},
};

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The attributes; one that is not known is no error.
    pub requested: Bitmap,
}

xdr_body! { Args { requested } }

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// Those of the requested attributes that the object has.
    pub attributes: Fattr4,
}

xdr_body! { ResOk { attributes } }
