//! The bytes of NFS: types and codecs of NFSv3, NFSv4.1, NFSv4.2 and flexible-files layouts.
//!
//! Both directions of everything: a server decodes arguments and encodes results, a client does the
//! opposite, and one declaration serves both. No session, no state, no semantics: whether a value
//! makes sense is for the caller to say.
//!
//! INVARIANT: no input makes a decoder panic, and nothing is allocated before its length was
//! checked against `limits`.
//! Spec: RFC 1813; RFC 8881; RFC 7862; RFC 8276; RFC 8435.

#![forbid(unsafe_code)]

mod body;
mod enumeration;

pub mod control;
pub mod flexfiles;
pub mod limits;
pub mod v3;
pub mod v4;
