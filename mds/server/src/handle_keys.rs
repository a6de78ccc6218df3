//! Keys that seal data-server handles: which one is used, how data servers receive them, and how a
//! key is replaced.
//!
//! A replacement is in the log (`mds_state`, `apply/handle_keys.rs`), so that a new leader
//! continues it. The new key is used once each data server with a lease has it. The old one is
//! dropped once the layouts sealed under it are recalled. Data servers then refuse a client that
//! did not answer the recall, and it requests another layout.
//!
//! INVARIANT: data servers never learn the key of the file system, which seals the handles of
//! metadata servers: the first key is derived from it.
//! Spec: docs/formats/ds_handle.md; docs/protocol/admin.md §10.

mod keyring;

use std::sync::Arc;

use layout::HandleKey;
use mds_raft::ProposeError;
use mds_state::command::data::{AddHandleKey, DropHandleKey, UseHandleKey};
use mds_state::record::Rotation;
use mds_state::{Command, Outcome};
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{HandleKeyRotation, RotateHandleKey, RotationStage};
use wire_nfs::control::auth::Peer;
use wire_nfs::control::handles::{HandleKeys as SealedKeys, NumberedKey};
use wire_nfs::control::register::SealedKey;
use wire_nfs::v4::Nfsstat4;

use crate::export_fence::recall;
use crate::limits::{HANDLE_KEY_LOOK_MS, HANDLE_KEY_RECALL_MS_MAX};
use crate::server::Server;
use crate::status;
pub(crate) use keyring::{GoodKeys, HandleKeyring};

impl Server {
    /// The keys that are valid by the log; while it cannot be read, the last ones read.
    pub(crate) fn handle_keys(&self) -> Arc<GoodKeys> {
        let first = self.shards.first();
        // Before the view: a change in between leads to another read.
        let moved = first.settings_moved();
        if let Some(known) = self.keyring.known(moved) {
            return known;
        }
        match first.view().map(|view| view.handle_keys()) {
            Ok(Ok(keys)) => return self.keyring.learn(moved, &keys),
            Ok(Err(error)) => tracing::error!(%error, "the handle keys cannot be read"),
            // A snapshot replaces the shard's state, or the shard ends.
            Err(_) => {}
        }
        Arc::clone(&self.keyring.known.read().keys)
    }

    /// The valid keys, sealed for the other end of a connection.
    pub(crate) fn sealed_keys(&self, peer: &Peer) -> SealedKeys {
        let keys = self.handle_keys();
        let sealed = |key: &HandleKey| {
            let mut nonce = [0; 16];
            self.env.entropy.fill(&mut nonce);
            NumberedKey {
                number: u32::from(key.number()),
                key: SealedKey::seal(&peer.secret, nonce, key.as_bytes()),
            }
        };
        SealedKeys { version: keys.version, keys: keys.all.iter().map(sealed).collect() }
    }

    /// Progress of a replacement.
    pub(crate) fn handle_key_rotation(&self) -> HandleKeyRotation {
        let keys = self.handle_keys();
        let (now_ms, version) = (self.now_ms(), keys.version);
        let stage = match keys.rotation {
            Rotation::None => RotationStage::None,
            Rotation::Spreading => RotationStage::Spreading,
            Rotation::Leaving => RotationStage::Leaving,
        };
        let servers = self.data_servers.without_keys(version, now_ms);
        let servers = u32::try_from(servers).unwrap_or(u32::MAX);
        HandleKeyRotation { stage, version, key: u32::from(keys.used.number()), servers }
    }
}

/// Begins a replacement at an administrator's request; reports its progress.
///
/// # Errors
/// `NotLeader`, `Busy`.
pub(crate) async fn rotate(server: &Server, ask: RotateHandleKey) -> Result<HandleKeyRotation, Refusal> {
    let may_pass = |error| match error {
        ProposeError::NotLeader { leader } => server.not_leader(leader),
        _ => Refusal::Busy,
    };
    server.shards.read_barrier().await.map_err(may_pass)?;
    let keys = server.handle_keys();
    if ask.replaces == Some(keys.version) && keys.rotation == Rotation::None {
        let mut bytes = [0; 32];
        server.env.entropy.fill(&mut bytes);
        let add = Command::AddHandleKey(AddHandleKey { version: keys.version, bytes });
        server.shards.propose(None, add).await.map_err(may_pass)?;
        tracing::warn!(key = keys.used.number(), "an administrator replaces the key of data-server handles");
        server.keyring.call.notify_one();
    }
    Ok(server.handle_key_rotation())
}

/// Continues a replacement whenever one is under way, for as long as the server lives.
pub(crate) async fn drive_rotation(server: Arc<Server>) {
    loop {
        if server.shards.leading_term() == Some(server.data_servers.term())
            && let Err(status) = carry_out(&server).await
        {
            tracing::debug!(status = status.name(), "replacement of a handle key is retried later");
        }
        tokio::select! {
            () = server.keyring.call.notified() => {}
            () = server.env.clock.sleep_ms(HANDLE_KEY_LOOK_MS) => {}
        }
    }
}

/// Takes the next step, if it is due.
async fn carry_out(server: &Arc<Server>) -> Result<(), Nfsstat4> {
    if server.handle_keys().rotation == Rotation::None {
        return Ok(());
    }
    server.shards.read_barrier().await.map_err(|error| status::of_propose(&error))?;
    let keys = server.handle_keys();
    let version = keys.version;
    match keys.rotation {
        Rotation::None => Ok(()),
        Rotation::Spreading if server.data_servers.without_keys(version, server.now_ms()) != 0 => Ok(()),
        Rotation::Spreading => {
            propose(server, Command::UseHandleKey(UseHandleKey { version })).await?;
            tracing::info!(version, "handles are sealed under the new key");
            server.keyring.call.notify_one();
            Ok(())
        }
        Rotation::Leaving => {
            let layouts = recall(server, HANDLE_KEY_RECALL_MS_MAX, |_, _| Ok(true)).await?;
            propose(server, Command::DropHandleKey(DropHandleKey { version })).await?;
            tracing::info!(key = keys.used.number(), layouts, "the previous handle key is dropped");
            Ok(())
        }
    }
}

async fn propose(server: &Server, command: Command) -> Result<(), Nfsstat4> {
    match server.propose(command).await? {
        Outcome::HandleKeys(_) => Ok(()),
        _ => Err(Nfsstat4::Serverfault),
    }
}
