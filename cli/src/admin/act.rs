//! What goes to the control port, with the cluster key.

use anyhow::{Context, bail};
use client::admin::AdminControl;
use client::control::ControlError;
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{Route, Ruling, Verified};

use crate::args::{Admin, DiskPreference};
use crate::{key, machine};

/// Has everything moved away from a data server, or ends that.
///
/// # Errors
/// If nobody answers, or it is refused: in words.
pub(super) async fn drain(admin: &Admin, id: u32, drain: bool) -> anyhow::Result<()> {
    heed(control(admin)?.drain(id, drain).await.map_err(|error| unasked(admin, &error))?)
}

/// Has a data server forgotten.
///
/// # Errors
/// If nobody answers, or it is refused: in words.
pub(super) async fn remove(admin: &Admin, id: u32) -> anyhow::Result<()> {
    heed(control(admin)?.remove(id).await.map_err(|error| unasked(admin, &error))?)
}

/// Has data moved until each data server has its share, or asks what would be moved.
///
/// # Errors
/// If nobody answers, or it is refused: in words.
pub(super) async fn rebalance(admin: &Admin, dry_run: bool) -> anyhow::Result<Vec<Route>> {
    let answer = control(admin)?.rebalance(dry_run).await.map_err(|error| unasked(admin, &error))?;
    heed(Ruling { done: answer.done, words: answer.words })?;
    Ok(answer.routes)
}

/// Asks where a file is.
///
/// # Errors
/// If nobody answers, or there is no such file.
pub(super) async fn verify(admin: &Admin, path: &str) -> anyhow::Result<Verified> {
    let file = control(admin)?.verify(path.as_bytes()).await.map_err(|error| unasked(admin, &error))?;
    if !file.words.is_empty() {
        bail!("{path}: {}", file.words);
    }
    Ok(file)
}

pub(super) fn control(admin: &Admin) -> anyhow::Result<AdminControl> {
    let key =
        key::load(&admin.cluster_key).context("--cluster-key FILE names the key that the servers use")?;
    let env = machine::environment("admin", DiskPreference::Blocking)?;
    Ok(AdminControl::new(&env, admin.control.clone(), &key))
}

pub(super) fn heed(ruling: Ruling) -> anyhow::Result<()> {
    if !ruling.done {
        bail!("{}", ruling.words);
    }
    println!("{}", ruling.words);
    Ok(())
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
