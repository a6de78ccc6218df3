//! XDR: the data representation that ONC RPC and NFS speak.
//!
//! A [`Reader`] takes values off the front of a `Bytes` without copying opaque data; a [`Writer`]
//! builds a rope whose large payloads are spliced in, ready for a vectored write. Types say how
//! they look on the wire through [`Decode`] and [`Encode`]; [`xdr_struct!`] writes both for a
//! struct whose fields follow each other. Nothing here knows RPC or NFS.
//!
//! INVARIANT: no input makes a decoder panic, and nothing is allocated before its length was
//! checked.
//! Spec: RFC 4506.

#![forbid(unsafe_code)]

mod codec;
mod error;
mod limits;
mod padding;
mod reader;
mod writer;

pub use codec::{Decode, Encode, list, put_list};
pub use error::XdrError;
pub use limits::{LIST_RESERVE_MAX, SPLICE_BYTES_MIN};
pub use padding::padding;
pub use reader::Reader;
pub use writer::{Mark, Slot, Writer};
