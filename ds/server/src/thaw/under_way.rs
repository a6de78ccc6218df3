//! The THAWs and PROMISEs under way, and what is known to be promised.

use std::collections::{HashMap, HashSet};

use layout::ExtentId;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, watch};

use crate::copies::SettleError;
use crate::limits::{PROMISED_KNOWN_MAX, THAW_CALLS_MAX};

/// The outcome that callers wait for; nothing as long as there is none.
pub(crate) type Answer = watch::Receiver<Option<Result<(), SettleError>>>;

/// The THAWs and PROMISEs under way.
pub(crate) struct Thaws {
    pub(crate) under_way: Mutex<HashMap<(ExtentId, About), Answer>>,
    pub(crate) calls: Semaphore,
    /// Extents of which the log says that something may be promised. It never says otherwise again.
    /// Each WRITE and COMMIT looks here, and next to none adds to it.
    pub(crate) promised: RwLock<HashSet<ExtentId>>,
}

/// What a metadata server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum About {
    Thaw,
    Promise,
}

impl Default for Thaws {
    fn default() -> Self {
        let (under_way, promised) = (Mutex::default(), RwLock::default());
        Self { under_way, calls: Semaphore::new(THAW_CALLS_MAX), promised }
    }
}

impl Thaws {
    pub(crate) fn may_promise(&self, extent: ExtentId) -> bool {
        self.promised.read().contains(&extent)
    }

    pub(crate) fn promised(&self, extent: ExtentId) {
        let mut promised = self.promised.write();
        // To forget costs a question for each.
        if PROMISED_KNOWN_MAX <= promised.len() {
            promised.clear();
        }
        promised.insert(extent);
    }
}
