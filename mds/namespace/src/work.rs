//! What data servers must still do for the namespace: work items, kept until they report back.
//!
//! INVARIANT: an extent has at most one work item that it waits for: its primary's, or one of the
//! primary before. A later one replaces the earlier and asks for at least as much. Further items of
//! an extent are drops and fences, for servers that no longer keep it.

use layout::copies::Formers;
use layout::{DataServerId, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

use crate::ExtentRecord;

/// Something a data server must do. Doing it twice is the same as once; an epoch older than the
/// server's own means that a later item has replaced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkItem {
    /// Forget the bytes of an extent from `keep_bytes` on. Handles given out before stay good.
    Cut {
        /// Which extent.
        extent: ExtentId,
        /// The data server.
        home: DataServerId,
        /// The epoch of the cut.
        epoch: Epoch,
        /// Bytes that stay, counted from the start of the extent.
        keep_bytes: u64,
        /// A fence was asked for too: striking this item off leaves a [`Fence`](Self::Fence) at the
        /// same epoch.
        fences: bool,
    },
    /// Forget all bytes of an extent that will not be used again.
    Drop {
        /// Which extent.
        extent: ExtentId,
        /// The data server.
        home: DataServerId,
        /// Handles below this epoch are refused from now on.
        epoch: Epoch,
    },
    /// Only refuse handles of older epochs.
    Fence {
        /// Which extent.
        extent: ExtentId,
        /// The data server.
        home: DataServerId,
        /// Handles below this epoch are refused from now on.
        epoch: Epoch,
    },
    /// Adopt an extent of which only its oldest image is left.
    ///
    /// Spec: docs/protocol/seal.md §9.
    Adopt {
        /// Which extent.
        extent: ExtentId,
        /// The data server.
        home: DataServerId,
        /// Handles below this epoch are refused from now on.
        epoch: Epoch,
        /// Bytes that stay, counted from the start of the extent.
        keep_bytes: u64,
    },
    /// Stop serving an extent that another primary is to serve, and forget it. The only item of an
    /// extent that is not its primary's.
    ///
    /// Spec: docs/protocol/admin.md §4.
    Yield {
        /// Which extent.
        extent: ExtentId,
        /// The data server that was primary.
        home: DataServerId,
        /// Handles below this epoch are refused from now on.
        epoch: Epoch,
        /// Bytes that stay at the new primary, counted from the start of the extent: striking this
        /// item off leaves a [`Cut`](Self::Cut) for it if that is not all of them.
        keep_bytes: u64,
    },
    /// Show that what a new primary is to serve is there and can be read. Until then the
    /// servers that had it before keep it.
    ///
    /// Spec: docs/protocol/replicate.md §4.
    Prove {
        /// Which extent.
        extent: ExtentId,
        /// The new primary.
        home: DataServerId,
        /// Handles below this epoch are refused from now on.
        epoch: Epoch,
        /// Bytes of the extent that stay, as of a [`Yield`](Self::Yield).
        keep_bytes: u64,
        /// The servers that keep what they have until then: striking this item off leaves a
        /// [`Drop`](Self::Drop) for each. Never empty.
        formers: Formers,
    },
}

impl WorkItem {
    /// The data server that must do it.
    #[must_use]
    pub fn home(&self) -> DataServerId {
        match self {
            Self::Cut { home, .. }
            | Self::Drop { home, .. }
            | Self::Fence { home, .. }
            | Self::Adopt { home, .. }
            | Self::Yield { home, .. }
            | Self::Prove { home, .. } => *home,
        }
    }

    /// The extent concerned.
    #[must_use]
    pub fn extent(&self) -> ExtentId {
        match self {
            Self::Cut { extent, .. }
            | Self::Drop { extent, .. }
            | Self::Fence { extent, .. }
            | Self::Adopt { extent, .. }
            | Self::Yield { extent, .. }
            | Self::Prove { extent, .. } => *extent,
        }
    }

    /// The epoch of the extent once it is done.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Cut { epoch, .. }
            | Self::Drop { epoch, .. }
            | Self::Fence { epoch, .. }
            | Self::Adopt { epoch, .. }
            | Self::Yield { epoch, .. }
            | Self::Prove { epoch, .. } => *epoch,
        }
    }
}

/// What a truncation leaves to be done on data servers. The same work stands in the store as work
/// items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncation {
    /// The extent in which the new end lies: work item, record with its new epoch, bytes that
    /// remain in the extent.
    pub cut: Option<(u64, ExtentRecord, u64)>,
    /// Extents wholly behind the new end, all of whose bytes go: work item, record with its new
    /// epoch.
    pub dropped: Vec<(u64, ExtentRecord)>,
}
