//! The NFS version 3 procedures that do something here, one file each.
//!
//! Each takes decoded arguments and gives a whole result, or the status it failed with.
//!
//! Spec: RFC 1813 §3.3.

use std::sync::Arc;

use ds_store::Store;
use env::Clock;

use crate::access::Gate;
use crate::copies::Replication;
use crate::lease::Serving;
use crate::thaw::Thaws;

pub(crate) mod commit;
pub(crate) mod read;
pub(crate) mod write;

/// What a primary changes its extents with: for WRITE and COMMIT.
pub(crate) struct Primary {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) replication: Arc<Replication>,
    pub(crate) thaws: Arc<Thaws>,
}
