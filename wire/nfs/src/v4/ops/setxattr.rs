//! SETXATTR: writes an extended attribute.
//!
//! Spec: RFC 8276 §8.4.2.

use bytes::Bytes;

use crate::{
    body::xdr_body,
    enumeration::xdr_enum,
    limits::{COMPONENT_BYTES_MAX, XATTR_VALUE_BYTES_MAX},
    v4::ChangeInfo,
};

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// Whether it may or must exist.
    pub option: SetOption,
    /// The name, without the "user." of Linux.
    pub name: Bytes,
    /// The value.
    pub value: Bytes,
}

xdr_body! { Args { option, name: opaque(COMPONENT_BYTES_MAX), value: opaque(XATTR_VALUE_BYTES_MAX) } }

/// What became of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Of the object that has the attribute.
    pub change: ChangeInfo,
}

xdr_body! { ResOk { change } }

xdr_enum! {
    /// Whether the extended attribute may exist already.
    pub enum SetOption, "setxattr_option4" {
        /// It may.
        Either = 0,
        /// It must not: EXIST.
        Create = 1,
        /// It must: NOXATTR.
        Replace = 2,
    }
}
