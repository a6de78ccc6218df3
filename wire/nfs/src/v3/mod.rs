//! NFS version 3: the codecs that a data server and its client need.
//!
//! Spec: RFC 1813.
