//! What the cluster exports, as this node's replica of shard 0 shows it, and who says it.
//!
//! The list is the cluster's. A metadata server that is alone has it set from its configuration file whenever it starts; of several, the first
//! to lead a cluster that has none says its own, and from then on only an administrator changes it.
//!
//! INVARIANT: this node answers no request of a session before the cluster has a list.
//! Spec: docs/protocol/admin.md §8; docs/formats/state.md.

mod known;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mds_shard::command::admin::{ExportsSet, SetExportsWhole};
use mds_shard::{Command, Outcome, ProposeError, Refusal};

use crate::export::compare::Difference;
use crate::export::{Export, Exports, ExportsError, check, ports};
use crate::export_paths::{self, PathError};
use crate::limits::{EXPORTS_LOOK_MS, EXPORTS_SET_MS_MAX, EXPORTS_SET_TRIES_MAX, START_LEADER_MS_MAX};
use crate::server::Server;
pub(crate) use known::ClusterExports;

/// Between two tries of a metadata server that is alone, when it starts.
const AGAIN_MS: u64 = 20;

/// Why exports were not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    /// There can be no such list.
    #[error(transparent)]
    Bad(#[from] ExportsError),
    /// Another version is in force than the one that was to be replaced.
    #[error("version {0} is in force: look at it, and say what is to take its place")]
    Changed(u64),
    /// A directory is not there, and cannot be made.
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
    /// What the cluster exports, as far as this node knows; before it exports anything, what this node would propose.
    pub(crate) fn exports(&self) -> Arc<Exports> {
        let first = self.shards.first();
        // Before the view: what moves in between is looked at again.
        let moved = first.settings_moved();
        if let Some(known) = self.exports.known(moved) {
            return known;
        }
        let read = first.view().map(|view| view.exports());
        match read {
            Ok(Ok(list)) => return self.exports.learn(moved, list),
            Ok(Err(error)) => tracing::error!(%error, "what the cluster exports cannot be read"),
            // It is being replaced by a snapshot: what was known holds until that is in.
            Err(ProposeError::Unavailable) => {}
            Err(error) => tracing::error!(%error, "what the cluster exports cannot be read"),
        }
        Arc::clone(&self.exports.known.read().exports)
    }

    /// Has the cluster export something, if it does not yet: this node's own list. What it exports now is read behind a barrier.
    ///
    /// # Errors
    /// [`SetError`]: nothing may be served before.
    pub(crate) async fn begin_to_export(&self) -> Result<(), SetError> {
        if self.exports().version() != 0 {
            return Ok(());
        }
        match self.set_exports(Some(0), &self.exports.own).await {
            Err(SetError::Changed(_)) => Ok(()),
            set => set.map(drop),
        }
    }

    /// Has the cluster export these, and no others, in the place of a version or of whichever there is; answers the version that they are.
    /// Their directories are made first.
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
            // It might lead again by now, and nobody would make them any more.
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

    /// Whether this metadata server is the only one, for ever: then its configuration file says what is exported.
    pub(crate) fn is_alone(&self) -> bool {
        !self.shards.is_replicated()
    }

    /// Says in the log in what the list of the configuration file differs from the cluster's, once for each version of that.
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

/// Before this node serves: one that is alone has the cluster export what its file says; one that leads a cluster that exports nothing yet,
/// too. Directories that are exported are made.
///
/// # Errors
/// [`SetError`] if that cannot be done.
pub(crate) async fn begin(server: &Server) -> Result<(), SetError> {
    if server.is_alone() {
        begin_alone(server).await?;
    } else if server.shards.is_leader() {
        match server.shards.read_barrier().await {
            Ok(()) => unless_it_leads_no_more(server.begin_to_export().await)?,
            // Whoever leads does it; this node, if it is that one, before it answers the first request.
            Err(error) => tracing::debug!(%error, "it is not known what is exported"),
        }
    }
    let exports = server.exports();
    if exports.version() != 0 {
        // If this node does not lead they are there, or whoever leads makes them.
        let _ = export_paths::make(server, exports.iter().map(|(_, export)| export)).await?;
        server.tell_difference();
    }
    Ok(())
}

async fn begin_alone(server: &Server) -> Result<(), SetError> {
    let deadline_ms = server.now_ms() + START_LEADER_MS_MAX;
    loop {
        match server.set_exports(None, &server.exports.own).await {
            // Many directories take long. The next try goes on from there.
            Err(SetError::Late) if server.now_ms() < deadline_ms => {}
            // It comes to lead in a moment: nobody else does.
            Err(SetError::Propose(error)) if server.now_ms() < deadline_ms && may_pass(&error) => {
                server.env.clock.sleep_ms(AGAIN_MS).await;
                // Nothing is proposed to several shards by who does not govern.
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

/// Looks at the cluster's list for as long as the server lives, so that its log says what of it this node's file does not.
pub(crate) async fn drive(server: Arc<Server>) {
    loop {
        server.env.clock.sleep_ms(EXPORTS_LOOK_MS).await;
        if server.exports().version() != 0 {
            server.tell_difference();
        }
    }
}

#[cfg(test)]
mod tests;
