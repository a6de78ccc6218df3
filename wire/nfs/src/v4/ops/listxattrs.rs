//! LISTXATTRS: lists the names of extended attributes.
//!
//! Spec: RFC 8276 §8.4.3.

use bytes::Bytes;

use crate::{
    body::xdr_body,
    limits::{COMPONENT_BYTES_MAX, XATTR_NAMES_MAX},
};

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// 0, or from the last reply.
    pub cookie: u64,
    /// Bytes of the reply's body.
    pub maxcount: u32,
}

xdr_body! { Args { cookie, maxcount } }

/// Some of the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// Where to go on.
    pub cookie: u64,
    /// Names, without the "user." of Linux.
    pub names: Vec<XattrName>,
    /// There are no more.
    pub eof: bool,
}

xdr_body! { ResOk { cookie, names: list(XATTR_NAMES_MAX), eof } }

/// The name of an extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrName {
    /// The bytes.
    pub name: Bytes,
}

xdr_body! { XattrName { name: opaque(COMPONENT_BYTES_MAX) } }
