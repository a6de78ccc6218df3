//! PATHCONF: the limits that POSIX asks about.
//!
//! Spec: RFC 1813 §3.3.20.

use wire_xdr::xdr_struct;

use super::{Fattr3, Fh3};

/// `PATHCONF3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The object.
    pub object: Fh3,
}

xdr_struct! { Args { object } }

/// `PATHCONF3resok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// The object's attributes, if the server knows them.
    pub obj_attributes: Option<Fattr3>,
    /// Most hard links to an object.
    pub linkmax: u32,
    /// Most bytes in a name.
    pub name_max: u32,
    /// Whether a longer name is an error and not cut.
    pub no_trunc: bool,
    /// Whether only a privileged user may change owners.
    pub chown_restricted: bool,
    /// Whether case does not matter in names.
    pub case_insensitive: bool,
    /// Whether names keep their case.
    pub case_preserving: bool,
}

xdr_struct! {
    ResOk { obj_attributes, linkmax, name_max, no_trunc, chown_restricted, case_insensitive, case_preserving }
}

/// `PATHCONF3res`.
pub type Res = super::Res<ResOk, Option<Fattr3>>;
