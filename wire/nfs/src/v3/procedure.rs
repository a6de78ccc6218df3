//! The numbers of the procedures.
//!
//! Spec: RFC 1813 §3.3.

use crate::enumeration::xdr_enum;

xdr_enum! {
    /// A procedure of NFS version 3.
    pub enum Procedure, "procedure" {
        /// Do nothing.
        Null = 0,
        /// Get attributes.
        Getattr = 1,
        /// Set attributes.
        Setattr = 2,
        /// Find a name.
        Lookup = 3,
        /// Check access.
        Access = 4,
        /// Read a symbolic link.
        Readlink = 5,
        /// Read from a file.
        Read = 6,
        /// Write to a file.
        Write = 7,
        /// Create a file.
        Create = 8,
        /// Create a directory.
        Mkdir = 9,
        /// Create a symbolic link.
        Symlink = 10,
        /// Create a special object.
        Mknod = 11,
        /// Remove a file.
        Remove = 12,
        /// Remove a directory.
        Rmdir = 13,
        /// Rename.
        Rename = 14,
        /// Create a hard link.
        Link = 15,
        /// Read a directory.
        Readdir = 16,
        /// Read a directory, with attributes.
        Readdirplus = 17,
        /// Get what a file system holds.
        Fsstat = 18,
        /// Get what a file system can do.
        Fsinfo = 19,
        /// Get POSIX limits.
        Pathconf = 20,
        /// Make written data stable.
        Commit = 21,
    }
}
