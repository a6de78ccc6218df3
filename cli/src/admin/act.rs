//! What goes to the control port, with the cluster key.

use anyhow::{Context, bail};
use client::admin::AdminControl;
use client::control::ControlError;
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{Rebalanced, Verified};

use super::outcome::{Done, heed};
use crate::args::{Admin, DiskPreference};
use crate::{key, machine};

/// Has everything moved away from a data server, or ends that.
///
/// # Errors
/// If no metadata server answers, or the leader refuses: the reason in words.
pub(super) async fn drain(admin: &Admin, id: u32, drain: bool) -> anyhow::Result<()> {
    let ruling = control(admin)?.drain(id, drain).await.map_err(|error| unasked(admin, &error))?;
    let kind = if drain { "admin.ds.drain" } else { "admin.ds.undrain" };
    heed(admin, kind, &Done::of(&ruling))
}

/// Has a data server forgotten.
///
/// # Errors
/// If no metadata server answers, or the leader refuses: the reason in words.
pub(super) async fn remove(admin: &Admin, id: u32) -> anyhow::Result<()> {
    let ruling = control(admin)?.remove(id).await.map_err(|error| unasked(admin, &error))?;
    heed(admin, "admin.ds.remove", &Done::of(&ruling))
}

/// Has data moved until each data server has its share, or asks what would be moved.
///
/// # Errors
/// If no metadata server answers.
pub(super) async fn rebalance(admin: &Admin, dry_run: bool) -> anyhow::Result<Rebalanced> {
    control(admin)?.rebalance(dry_run).await.map_err(|error| unasked(admin, &error))
}

/// Asks where a file is.
///
/// # Errors
/// If no metadata server answers, or there is no such file.
pub(super) async fn verify(admin: &Admin, path: &str) -> anyhow::Result<Verified> {
    let file = control(admin)?.verify(path.as_bytes()).await.map_err(|error| unasked(admin, &error))?;
    if !file.words.is_empty() {
        bail!("{path}: {}", file.words);
    }
    Ok(file)
}

pub(super) fn control(admin: &Admin) -> anyhow::Result<AdminControl> {
    let keys =
        key::load(&admin.cluster_key).context("--cluster-key FILE names the key that the servers use")?;
    let key = keys.active();
    if key.only_data_server().is_some() {
        bail!("--cluster-key {}: this key is for {} only", admin.cluster_key.display(), key.role());
    }
    let env = machine::environment("admin", DiskPreference::Blocking)?;
    Ok(AdminControl::new(&env, admin.control.clone(), keys))
}

pub(super) fn unasked(admin: &Admin, error: &ControlError) -> anyhow::Error {
    let asked = admin.control.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match error {
        ControlError::Refused(Refusal::NotLeader { .. }) => {
            anyhow::anyhow!("{asked}: no metadata server that leads; --control names all of them")
        }
        ControlError::Refused(Refusal::Busy) => {
            anyhow::anyhow!("{asked}: cannot be decided now; ask again in a few seconds")
        }
        error => anyhow::anyhow!("{asked}: {error}; --control names another control address"),
    }
}
