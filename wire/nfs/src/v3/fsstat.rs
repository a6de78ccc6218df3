//! FSSTAT: how full a file system is.
//!
//! Spec: RFC 1813 §3.3.18.

use wire_xdr::xdr_struct;

use super::{Fattr3, Fh3};

/// `FSSTAT3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// Any object of the file system.
    pub fsroot: Fh3,
}

xdr_struct! { Args { fsroot } }

/// `FSSTAT3resok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// The object's attributes, if the server knows them.
    pub obj_attributes: Option<Fattr3>,
    /// Bytes in all.
    pub tbytes: u64,
    /// Bytes free.
    pub fbytes: u64,
    /// Bytes that the caller may use.
    pub abytes: u64,
    /// Files in all.
    pub tfiles: u64,
    /// Files free.
    pub ffiles: u64,
    /// Files that the caller may create.
    pub afiles: u64,
    /// Seconds for which these numbers are expected to hold; 0 if they may change at once.
    pub invarsec: u32,
}

xdr_struct! { ResOk { obj_attributes, tbytes, fbytes, abytes, tfiles, ffiles, afiles, invarsec } }

/// `FSSTAT3res`.
pub type Res = super::Res<ResOk, Option<Fattr3>>;
