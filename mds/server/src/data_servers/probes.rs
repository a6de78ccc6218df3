//! Probes of data servers under way, and those that failed last.

use std::collections::{BTreeMap, BTreeSet};

use layout::DataServerId;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Whether it answered; nothing as long as that is open.
pub(crate) type Answer = watch::Receiver<Option<bool>>;

/// The probes of all servers.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) state: Mutex<State>,
}

/// Of all data servers.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) under_way: BTreeMap<DataServerId, Answer>,
    /// Their last probe failed.
    pub(crate) failed: BTreeSet<DataServerId>,
}
