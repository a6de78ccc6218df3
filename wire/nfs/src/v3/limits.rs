//! Named bounds of the NFS version 3 codecs.
//!
//! Spec: RFC 1813 §2.4.

/// Bytes of a filehandle (RFC 1813 §2.4, `NFS3_FHSIZE`).
pub const FH3_BYTES_MAX: usize = 64;

/// Bytes of file data in one READ or WRITE.
pub const IO_BYTES_MAX: usize = crate::limits::IO_BYTES_MAX;
