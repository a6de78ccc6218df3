//! The cluster's list of exports, as this node's replica of shard 0 has it, and how the list is
//! set.
//!
//! The list is the cluster's. A single metadata server sets it from its configuration file at each
//! start. Of several, the first to lead a cluster without a list proposes its own; from then on
//! only an administrator changes it.
//!
//! INVARIANT: this node answers no request of a session before the cluster has a list.
//! Spec: docs/protocol/admin.md §8; docs/formats/state.md.

mod known;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mds_raft::ProposeError;
use mds_state::command::admin::{ExportsSet, SetExportsWhole};
use mds_state::{Command, Outcome, Refusal};

use crate::export::compare::Difference;
use crate::export::{Export, Exports, ExportsError, check, ports};
use crate::export_paths::{self, PathError};
use crate::limits::{EXPORTS_LOOK_MS, EXPORTS_SET_MS_MAX, EXPORTS_SET_TRIES_MAX, START_LEADER_MS_MAX};
use crate::server::Server;
pub(crate) use known::ClusterExports;

/// Time between two attempts of a single metadata server at its start.
const AGAIN_MS: u64 = 20;

/// Why exports were not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    /// The list is invalid.
    #[error(transparent)]
    Bad(#[from] ExportsError),
    /// Another version is in force than the one to be replaced.
    #[error("version {0} is in force: look at it, and say what is to take its place")]
    Changed(u64),
    /// A directory does not exist and cannot be created.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The log has no outcome.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The state machine refused it.
    #[error("{0}")]
    Refused(Refusal),
    /// It took too long.
    #[error("it could not be done in time")]
    Late,
}

impl Server {
    /// The cluster's exports, as far as this node knows them; before there are any, this node's
    /// proposal.
    pub(crate) fn exports(&self) -> Arc<Exports> {
        let first = self.shards.first();
        // Before the view: a change in between leads to another read.
        let moved = first.settings_moved();
        if let Some(known) = self.exports.known(moved) {
            return known;
        }
        let read = first.view().map(|view| view.exports());
        match read {
            Ok(Ok(list)) => return self.exports.learn(moved, list),
            Ok(Err(error)) => tracing::error!(%error, "what the cluster exports cannot be read"),
            // A snapshot replaces the state: the known list holds until that is installed.
            Err(ProposeError::Unavailable) => {}
            Err(error) => tracing::error!(%error, "what the cluster exports cannot be read"),
        }
        Arc::clone(&self.exports.known.read().exports)
    }

    /// Proposes this node's own list if the cluster has none. The current list is read behind a
    /// barrier.
    ///
    /// # Errors
    /// [`SetError`]: the node serves nothing before.
    pub(crate) async fn begin_to_export(&self) -> Result<(), SetError> {
        if self.exports().version() != 0 {
            return Ok(());
        }
        match self.set_exports(Some(0), &self.exports.own).await {
            Err(SetError::Changed(_)) => Ok(()),
            set => set.map(drop),
        }
    }

    /// Sets the cluster's list to exactly these exports, in place of version `replaces` or of any;
    /// returns the new version. Creates their directories first.
    ///
    /// # Errors
    /// [`SetError`].
    pub(crate) async fn set_exports(
        &self,
        replaces: Option<u64>,
        exports: &[Export],
    ) -> Result<u64, SetError> {
        check(exports.iter())?;
        let late = self.env.clock.sleep_ms(EXPORTS_SET_MS_MAX);
        tokio::select! {
            biased;
            set = self.make_and_set(replaces, exports) => set,
            () = late => Err(SetError::Late),
        }
    }

    async fn make_and_set(&self, replaces: Option<u64>, exports: &[Export]) -> Result<u64, SetError> {
        if !export_paths::make(self, exports.iter()).await? {
            // If this node leads again by now, the directories would never be created.
            return Err(SetError::Propose(ProposeError::NotLeader { leader: None }));
        }
        let mut before = replaces.unwrap_or_else(|| self.exports().version());
        for _ in 0..EXPORTS_SET_TRIES_MAX {
            let command = SetExportsWhole { replaces: before, exports: exports.to_vec() };
            match self.shards.propose(None, Command::ReplaceExportsWhole(command)).await? {
                Outcome::Exports(ExportsSet::Done(version)) => {
                    self.fencing.wake();
                    return Ok(version);
                }
                Outcome::Exports(ExportsSet::Changed(version)) if replaces.is_some() => {
                    return Err(SetError::Changed(version));
                }
                Outcome::Exports(ExportsSet::Changed(version)) => before = version,
                Outcome::Refused(refusal) => return Err(SetError::Refused(refusal)),
                _ => return Err(SetError::Propose(ProposeError::Unavailable)),
            }
        }
        Err(SetError::Late)
    }

    /// Whether this is the only metadata server, for good: then its configuration file defines the
    /// exports.
    pub(crate) fn is_alone(&self) -> bool {
        !self.shards.is_replicated()
    }

    /// Logs how the configuration file's list differs from the cluster's, once for each version of
    /// the latter.
    fn tell_difference(&self) {
        let exports = self.exports();
        let version = exports.version();
        if self.exports.told.swap(version, Ordering::AcqRel) == version {
            return;
        }
        let unasked = self.view().is_ok_and(|view| view.exports_are_before_secure().unwrap_or(false));
        ports::announce(&exports, unasked);
        let listed: Vec<&Export> = exports.iter().map(|(_, export)| export).collect();
        let own: Vec<&Export> = self.exports.own.iter().collect();
        let difference = Difference::between(&listed, &own);
        if difference.is_none() {
            tracing::info!(
                version,
                exports = listed.len(),
                "the cluster exports what the configuration file says"
            );
            return;
        }
        let what = difference.words("is only in the file", "is only in the cluster's list");
        if self.is_alone() {
            tracing::warn!(
                version,
                "the configuration file has other exports: {what}. The cluster's are served until the next start; then the file's are"
            );
        } else {
            tracing::warn!(
                version,
                "the configuration file has other exports: {what}. The cluster's are served; `shoal admin exports set --config FILE` \
                 has it export what a file says"
            );
        }
    }
}

/// Before this node serves: a single node sets the list of its file, and so does the leader of a
/// cluster that has no list yet. Creates the exported directories.
///
/// # Errors
/// [`SetError`] if that fails.
pub(crate) async fn prepare_exports(server: &Server) -> Result<(), SetError> {
    if server.is_alone() {
        begin_alone(server).await?;
    } else if server.shards.is_leader() {
        match server.shards.read_barrier().await {
            Ok(()) => unless_it_leads_no_more(server.begin_to_export().await)?,
            // The leader does it. If this node is the leader, it does it before it answers the
            // first request.
            Err(error) => tracing::debug!(%error, "it is not known what is exported"),
        }
    }
    let exports = server.exports();
    if exports.version() != 0 {
        // On a node that does not lead, the directories exist or the leader creates them.
        let _ = export_paths::make(server, exports.iter().map(|(_, export)| export)).await?;
        server.tell_difference();
    }
    Ok(())
}

async fn begin_alone(server: &Server) -> Result<(), SetError> {
    let deadline_ms = server.now_ms() + START_LEADER_MS_MAX;
    loop {
        match server.set_exports(None, &server.exports.own).await {
            // Many directories take long. The next attempt continues from there.
            Err(SetError::Late) if server.now_ms() < deadline_ms => {}
            // This node leads in a moment: there is no other.
            Err(SetError::Propose(error)) if server.now_ms() < deadline_ms && may_pass(&error) => {
                server.env.clock.sleep_ms(AGAIN_MS).await;
                // A node that does not govern proposes nothing to several shards.
                let _ = server.shards.govern().await;
            }
            set => return set.map(drop),
        }
    }
}

fn unless_it_leads_no_more(set: Result<(), SetError>) -> Result<(), SetError> {
    match set {
        Err(SetError::Propose(error)) if may_pass(&error) => Ok(()),
        Err(SetError::Late) => Ok(()),
        set => set,
    }
}

fn may_pass(error: &ProposeError) -> bool {
    match error {
        ProposeError::NotLeader { .. } | ProposeError::Unavailable | ProposeError::Timeout => true,
        ProposeError::TooLong | ProposeError::Stopped(_) => false,
    }
}

/// Logs how this node's file differs from the cluster's list, for as long as the server lives.
pub(crate) async fn log_differences(server: Arc<Server>) {
    loop {
        server.env.clock.sleep_ms(EXPORTS_LOOK_MS).await;
        if server.exports().version() != 0 {
            server.tell_difference();
        }
    }
}

#[cfg(test)]
mod tests;
