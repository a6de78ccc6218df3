//! SEEK: finds the next data or hole.
//!
//! Spec: RFC 7862 §15.11.

use crate::{body::xdr_body, enumeration::xdr_enum, v4::Stateid};

/// What to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The open, lock or delegation that allows it, or a special stateid.
    pub stateid: Stateid,
    /// Where to begin.
    pub offset: u64,
    /// Data or a hole.
    pub what: DataContent,
}

xdr_body! { Args { stateid, offset, what } }

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Nothing of the kind lies behind the offset.
    pub eof: bool,
    /// Where it is.
    pub offset: u64,
}

xdr_body! { ResOk { eof, offset } }

xdr_enum! {
    /// What a range of a file holds.
    pub enum DataContent, "data_content4" {
        /// Data.
        Data = 0,
        /// A hole.
        Hole = 1,
    }
}
