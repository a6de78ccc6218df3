//! GETATTR: the attributes of an object.
//!
//! Spec: RFC 1813 §3.3.1.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, xdr_struct};

use super::{Fattr3, Fh3};

/// `GETATTR3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The object.
    pub object: Fh3,
}

xdr_struct! { Args { object } }

/// `GETATTR3resok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Its attributes.
    pub obj_attributes: Fattr3,
}

xdr_struct! { ResOk { obj_attributes } }

/// The body of a failure: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResFail;

impl Decode for ResFail {
    fn decode(_: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self)
    }
}

impl Encode for ResFail {
    fn encode(&self, _: &mut Writer) {}
}

/// `GETATTR3res`.
pub type Res = super::Res<ResOk, ResFail>;
