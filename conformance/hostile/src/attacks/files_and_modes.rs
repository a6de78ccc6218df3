//! Another user of a server's machine: its files, its key, and a start with modes that are too
//! wide.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::hosts::apart;
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::{Cluster, Setting, text};
use crate::failed::{During, Outcome, failed};
use crate::stage::Stage;

pub(super) fn attacks() -> Vec<Attack> {
    vec![Attack {
        name: "local_user",
        line: 5,
        row: "reads journals, stores and keys as another user of the server's machine",
        setting: Setting { needs_root: true, ..apart() },
        quick: false,
        play: Play::Once(|stage| Box::pin(look_around(stage))),
    }]
}

/// A user that owns nothing.
const OTHER: &str = "65534";

async fn look_around(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let cluster = &stage.cluster;
    // The way there is open: only what the servers made themselves keeps others out.
    std::fs::set_permissions(&cluster.directory, std::fs::Permissions::from_mode(0o755))?;
    let open = cluster.directory.join("for-all");
    std::fs::write(&open, "for all")?;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644))?;
    // Another user who can read nothing in any case would show nothing.
    if !reads(&open)? {
        return Err(failed("another user cannot get there"));
    }
    check_modes(cluster, &mut evidence)?;
    // What an earlier version, or an administrator, left too wide is put right by a start.
    let index = Cluster::process_of(0);
    cluster.processes.lock()[index].kill();
    let data = cluster.data_directory(0);
    for place in everything(&data)? {
        let wide = if place.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(wide))?;
    }
    stage.start_again(index)?;
    cluster.wait_until_up().await?;
    sleep(Duration::from_millis(500)).await;
    check_modes(cluster, &mut evidence)?;
    if !cluster.processes.lock()[index].said().contains("other users") {
        evidence.broken("a start put modes right without a word");
    }
    wide_key(cluster, &mut evidence)?;
    Ok(evidence)
}

/// Whether another user can read a place.
fn reads(place: &Path) -> Outcome<bool> {
    let words = ["--reuid", OTHER, "--regid", OTHER, "--clear-groups", "test", "-r", &text(place)];
    Ok(Command::new("setpriv").args(words).status().during("setpriv")?.success())
}

fn check_modes(cluster: &Cluster, evidence: &mut Evidence) -> Outcome<()> {
    let mut checked = 0;
    for directory in (0..3).map(|number| cluster.data_directory(number)).chain([cluster.metadata_directory()])
    {
        for place in everything(&directory)? {
            // A file may be gone again by now.
            let Ok(metadata) = std::fs::symlink_metadata(&place) else { continue };
            checked += 1;
            let mode = metadata.permissions().mode() & 0o777;
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            if mode & !expected != 0 {
                let name = place.strip_prefix(&cluster.directory).unwrap_or(&place).display();
                evidence.exceeded(format!("{name} has mode {mode:o}"));
            }
            if reads(&place)? {
                evidence.exceeded(format!("user {OTHER} reads {}", place.display()));
            }
        }
    }
    let key = std::fs::metadata(cluster.key_file())?.permissions().mode() & 0o777;
    if key & 0o077 != 0 {
        evidence.exceeded(format!("the cluster key has mode {key:o}"));
    }
    evidence.note(format!("{checked} files and directories"));
    Ok(())
}

fn wide_key(cluster: &Cluster, evidence: &mut Evidence) -> Outcome<()> {
    let wide = cluster.directory.join("wide.key");
    std::fs::copy(cluster.key_file(), &wide)?;
    let verify = |mode| -> Outcome<(bool, String)> {
        std::fs::set_permissions(&wide, std::fs::Permissions::from_mode(mode))?;
        let done = Command::new(&cluster.program)
            .args(["admin", "--control", &cluster.control.to_string(), "--cluster-key", &text(&wide)])
            .args(["verify", "/honest-large"])
            .output()
            .during("shoal admin")?;
        Ok((done.status.success(), String::from_utf8_lossy(&done.stderr).trim().to_owned()))
    };
    if let (false, said) = verify(0o600)? {
        evidence.broken(format!("the cluster key is not taken with mode 600: {said}"));
    }
    match verify(0o644)? {
        (true, _) => evidence.exceeded("a cluster key that all can read is taken"),
        (false, said) if said.contains("other users may access the file") => {}
        (false, said) => evidence.broken(format!("a wide key is not refused for its mode: {said}")),
    }
    Ok(())
}

fn everything(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let (mut found, mut open) = (vec![directory.to_owned()], vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    Ok(found)
}
