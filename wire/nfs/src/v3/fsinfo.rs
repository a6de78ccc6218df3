//! FSINFO: what a file system can do, and the sizes it likes.
//!
//! Spec: RFC 1813 §3.3.19.

use wire_xdr::xdr_struct;

use super::{Fattr3, Fh3, Nfstime3};

/// Hard links are supported.
pub const FSF_LINK: u32 = 0x0001;
/// Symbolic links are supported.
pub const FSF_SYMLINK: u32 = 0x0002;
/// PATHCONF answers alike for every object.
pub const FSF_HOMOGENEOUS: u32 = 0x0008;
/// Times can be set.
pub const FSF_CANSETTIME: u32 = 0x0010;

/// `FSINFO3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The root of the file system.
    pub fsroot: Fh3,
}

xdr_struct! { Args { fsroot } }

/// `FSINFO3resok`. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// The root's attributes, if the server knows them.
    pub obj_attributes: Option<Fattr3>,
    /// Largest READ.
    pub rtmax: u32,
    /// READ that suits best.
    pub rtpref: u32,
    /// READs should be multiples of this.
    pub rtmult: u32,
    /// Largest WRITE.
    pub wtmax: u32,
    /// WRITE that suits best.
    pub wtpref: u32,
    /// WRITEs should be multiples of this.
    pub wtmult: u32,
    /// READDIR that suits best.
    pub dtpref: u32,
    /// Largest file.
    pub maxfilesize: u64,
    /// How finely times are kept.
    pub time_delta: Nfstime3,
    /// [`FSF_LINK`] and its like.
    pub properties: u32,
}

xdr_struct! {
    ResOk {
        obj_attributes, rtmax, rtpref, rtmult, wtmax, wtpref, wtmult, dtpref, maxfilesize, time_delta, properties,
    }
}

/// `FSINFO3res`.
pub type Res = super::Res<ResOk, Option<Fattr3>>;
