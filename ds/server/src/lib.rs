//! The data server: NFS version 3 READ, WRITE and COMMIT on extents, straight from stock Linux
//! clients.
//!
//! Thin over `ds-store`: a request's handle says which extent, at which epoch, for reading or
//! writing. While it is young no lookup is needed to authorise it; later a metadata server says now
//! and then that its layout is held (`holding`). A metadata server gives the lease without which
//! nothing is served (`lease`), and fences through the control port. This server seals extents that
//! rest as images, which groups of servers protect (`seal`, `images`). The scrub reads all data
//! again and again and compares them with their checksums (`scrub`).
//!
//! `driver` builds the parts and hands each the others that it needs: there is no struct of all of
//! them.
//!
//! INVARIANT: every request is answered, or its connection is dropped; none is served without a
//! lease. What an answer calls stable is on stable storage here and on every replica of the extent.
//! Spec: RFC 1813; RFC 8435 §2; docs/protocol/control.md; docs/protocol/replicate.md;
//! docs/protocol/seal.md.

#![forbid(unsafe_code)]

mod access;
mod adopt;
mod clock;
mod control;
mod copies;
mod directory;
mod driver;
mod front;
mod holding;
mod images;
mod judgement;
mod lease;
pub mod limits;
mod link;
mod metadata;
mod metrics;
mod proc;
mod reader;
mod registrar;
mod replica;
mod restore;
mod scrub;
mod seal;
mod space;
mod status;
mod thaw;
mod throttle;
mod universal_address;
mod usage;
mod watch;

pub use driver::{DataServer, DsConfig, StartError};
pub use layout::copies::Domain;
