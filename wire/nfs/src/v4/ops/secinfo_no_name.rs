//! SECINFO_NO_NAME: as SECINFO, for the current filehandle or its parent. Has the result of
//! [`secinfo`](super::secinfo).
//!
//! Spec: RFC 8881 §18.45.

use crate::{body::xdr_body, enumeration::xdr_enum};

pub use super::secinfo::ResOk;

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// Of what.
    pub style: Style,
}

xdr_body! { Args { style } }

xdr_enum! {
    /// The object asked about.
    pub enum Style, "secinfo_style4" {
        /// The current filehandle.
        CurrentFilehandle = 0,
        /// Its parent.
        Parent = 1,
    }
}
