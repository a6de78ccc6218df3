//! Where one attack is played: its cluster, the honest client, and what is measured.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::failed::Outcome;
use crate::honest::Honest;
use crate::meter::Meter;
use crate::process::Use;

/// How attacks are played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Seconds of a window.
    pub(crate) seconds: u64,
    /// Windows of each kind.
    pub(crate) rounds: u32,
    /// The honest client, and attackers on admitted hosts, use ports below 1024.
    pub(crate) reserved: bool,
    /// What the honest client's p99 may grow by in any case, microseconds.
    pub(crate) slack_us: u64,
    /// The cluster's folder stays.
    pub(crate) keep: bool,
}

/// Where an attack is played. The honest client ends before its servers: the order of the fields.
pub(crate) struct Stage {
    pub(crate) honest: Honest,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) options: Options,
    pub(crate) peak: Arc<Mutex<Use>>,
    /// Processes that the attack itself ended and started again, by number of before.
    pub(crate) restarted: Mutex<Vec<u32>>,
}

impl Stage {
    /// Starts a process of the cluster again, after the attack ended it.
    pub(crate) fn start_again(&self, index: usize) -> Outcome<()> {
        let mut processes = self.cluster.processes.lock();
        let process = &mut processes[index];
        self.restarted.lock().push(process.id());
        process.start_again()
    }

    /// Highest use of any process so far.
    pub(crate) fn peak(&self) -> Use {
        *self.peak.lock()
    }
}
