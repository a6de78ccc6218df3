//! Where a file's bytes are, and who was told: extents, epochs, placement, data-server handles, the
//! life of a layout, and the erasure code that sealed extents rest under.
//!
//! Pure: no clock, no entropy, no store, no wire. `mds-state` keeps what is decided here,
//! `mds-server` says it to clients in flexible-files layouts, data servers check the handles.
//!
//! INVARIANT: the same arguments give the same answer on every replica.
//! Spec: RFC 8881 §12.5; RFC 8435 §5; docs/formats/{ds_handle,group}.md.

#![forbid(unsafe_code)]

pub mod balance;
pub mod copies;
mod data_server;
pub mod ec;
mod epoch;
mod extent;
pub mod handle;
mod iomode;
pub mod limits;
pub mod network;
pub mod placement;
pub mod reserve;
pub mod state;

pub use copies::Backup;
pub use data_server::DataServerId;
pub use epoch::Epoch;
pub use extent::{ExtentId, Pieces, pieces};
pub use handle::{DsHandle, HandleError, HandleKey, Holder, Issued, NamedBackup, Role, SealedHandle};
pub use iomode::Iomode;
pub use limits::{EXTENT_BYTES, FILE_BYTES_MAX};
pub use network::{Network, NetworkError};
pub use placement::Candidate;
pub use state::LayoutRecord;
