//! Attributes, and the "weak cache consistency" data that tells a client whether its cache still
//! holds.
//!
//! `post_op_attr` and `pre_op_attr` are `Option`s: XDR writes them alike. A data server that does
//! not know a file's attributes sends none, and clients must live with it.
//!
//! Spec: RFC 1813 §2.5, §2.6.

use wire_xdr::xdr_struct;

use crate::enumeration::xdr_enum;

xdr_enum! {
    /// `ftype3`: what an object is.
    pub enum Ftype3, "ftype3" {
        /// A regular file.
        Reg = 1,
        /// A directory.
        Dir = 2,
        /// A block device.
        Blk = 3,
        /// A character device.
        Chr = 4,
        /// A symbolic link.
        Lnk = 5,
        /// A socket.
        Sock = 6,
        /// A named pipe.
        Fifo = 7,
    }
}

/// `nfstime3`: a time since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nfstime3 {
    /// Whole seconds.
    pub seconds: u32,
    /// Nanoseconds on top.
    pub nseconds: u32,
}

xdr_struct! { Nfstime3 { seconds, nseconds } }

/// `specdata3`: the numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Specdata3 {
    /// Major number.
    pub specdata1: u32,
    /// Minor number.
    pub specdata2: u32,
}

xdr_struct! { Specdata3 { specdata1, specdata2 } }

/// `fattr3`: the attributes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fattr3 {
    /// What it is.
    pub ftype: Ftype3,
    /// Permission bits, as in Unix.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes that it takes on disk.
    pub used: u64,
    /// Device numbers, if it is a device.
    pub rdev: Specdata3,
    /// The file system it is in.
    pub fsid: u64,
    /// Its number in that file system.
    pub fileid: u64,
    /// Last read.
    pub atime: Nfstime3,
    /// Last write.
    pub mtime: Nfstime3,
    /// Last change of attributes.
    pub ctime: Nfstime3,
}

xdr_struct! { Fattr3 { ftype, mode, nlink, uid, gid, size, used, rdev, fsid, fileid, atime, mtime, ctime } }

/// `wcc_attr`: what is compared to see whether another client changed the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WccAttr {
    /// Bytes.
    pub size: u64,
    /// Last write.
    pub mtime: Nfstime3,
    /// Last change of attributes.
    pub ctime: Nfstime3,
}

xdr_struct! { WccAttr { size, mtime, ctime } }

/// `wcc_data`: attributes around a change. Before and after must enclose only that change, or be
/// left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WccData {
    /// Just before.
    pub before: Option<WccAttr>,
    /// Just after.
    pub after: Option<Fattr3>,
}

xdr_struct! { WccData { before, after } }
