//! How an NFS version 3 procedure ended.
//!
//! Spec: RFC 1813 §2.6.

use crate::enumeration::xdr_enum;

xdr_enum! {
    /// `nfsstat3`: the outcome of a procedure.
    pub enum Nfsstat3, "nfsstat3" {
        /// It succeeded.
        Ok = 0,
        /// Not the owner.
        Perm = 1,
        /// No such file or directory.
        Noent = 2,
        /// A hard error of the storage below.
        Io = 5,
        /// No such device or address.
        Nxio = 6,
        /// Permission denied.
        Acces = 13,
        /// The file exists.
        Exist = 17,
        /// A hard link across file systems.
        Xdev = 18,
        /// No such device.
        Nodev = 19,
        /// Not a directory.
        Notdir = 20,
        /// Is a directory.
        Isdir = 21,
        /// An argument is not valid.
        Inval = 22,
        /// The file would become too large.
        Fbig = 27,
        /// No space left.
        Nospc = 28,
        /// The file system is read-only.
        Rofs = 30,
        /// Too many hard links.
        Mlink = 31,
        /// A name is too long.
        Nametoolong = 63,
        /// The directory is not empty.
        Notempty = 66,
        /// A quota is used up.
        Dquot = 69,
        /// The filehandle names nothing any more. Linux gives the layout back and asks for another.
        Stale = 70,
        /// A hard link to a remote object.
        Remote = 71,
        /// The filehandle is not one of this server's.
        Badhandle = 10001,
        /// The guard of a SETATTR did not match.
        NotSync = 10002,
        /// The cookie of a READDIR is stale.
        BadCookie = 10003,
        /// The procedure is not supported.
        Notsupp = 10004,
        /// A buffer or a request is too small.
        Toosmall = 10005,
        /// The server failed in a way that no other status tells.
        Serverfault = 10006,
        /// The server does not make objects of this type.
        Badtype = 10007,
        /// Not now: the client should wait and call again.
        Jukebox = 10008,
    }
}
