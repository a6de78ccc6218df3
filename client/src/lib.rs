//! What a client of data servers does: the pNFS data path, and the control calls of a metadata
//! server. And what an administrator asks.
//!
//! The metadata server uses the data path for I/O in band; the NFSv3 gateway and the FUSE client
//! are fronts of the same. Knows no layout policy: a caller brings a [`Route`], and gets an error
//! that says whether it should fetch a new layout.
//!
//! INVARIANT: nothing is retried that may have had an effect a caller does not want twice: READ,
//! COMMIT and WRITE of the same bytes at the same place are idempotent, and so are all control
//! calls.

#![forbid(unsafe_code)]

pub mod admin;
pub mod control;
pub mod data_path;
pub mod limits;
pub mod route;

pub use data_path::{DataPath, DataPathError, Written};
pub use route::Route;
