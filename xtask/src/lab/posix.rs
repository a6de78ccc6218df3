//! The group `posix`: pjdfstest on the mount, compared with the checked-in list of what does not
//! pass and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::stage::Stage;
use crate::process;

const VERSION: &str = "0.2.2";
const LIST: &str = include_str!("../../../conformance/lab/pjdfstest.toml");

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "posix",
    name: "pjdfstest",
    proves: "POSIX semantics, test by test; what fails is in the list with its reason, and nothing else fails",
    needs: Needs::Mount,
    play,
}];

#[derive(Debug, Deserialize)]
struct List {
    /// Tests we do not pass.
    #[serde(default)]
    ours: Vec<Entry>,
    /// Tests knfsd over ext4 does not pass in the same guests: the reference.
    #[serde(default)]
    knfsd: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    /// The test's name as pjdfstest prints it.
    name: String,
    reason: String,
}

/// Puts pjdfstest into the cache folder.
///
/// # Errors
/// When it cannot be had or built.
pub(super) fn install(cache: &Path) -> Result<()> {
    if cache.join("bin/pjdfstest").exists() {
        return Ok(());
    }
    println!("installing pjdfstest {VERSION}");
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "pjdfstest", "--version", VERSION, "--locked", "--quiet", "--root"]).arg(cache);
    // Elsewhere than in the workspace: its build must not meet our settings or lock.
    cargo.current_dir(cache).env_remove("CARGO_TARGET_DIR");
    process::run_command(&mut cargo)
}

fn play(stage: &mut Stage) -> Result<()> {
    let program = stage.cache.join("bin/pjdfstest");
    std::fs::copy(&program, stage.folder.join("pjdfstest")).context("pjdfstest is not in the cache")?;
    std::fs::write(
        stage.folder.join("pjdfstest-settings.toml"),
        include_str!("../../../conformance/lab/pjdfstest-settings.toml"),
    )?;
    let script = format!(
        "cp /etc/passwd /etc/group /tmp/; for n in 1 2; do \
         echo \"lab-$n:x:900$n:900$n::/tmp:/bin/sh\" >>/tmp/passwd; echo \"lab-$n:x:900$n:\" >>/tmp/group; done; \
         mount --bind /tmp/passwd /etc/passwd; mount --bind /tmp/group /etc/group; cd {0} && \
         NO_COLOR=1 /mnt/lab/pjdfstest -c /mnt/lab/pjdfstest-settings.toml -s /tmp -p {0} 2>&1; cd /; umount /etc/passwd /etc/group",
        stage.dir
    );
    let said = stage.a.run_within(&script, 1500)?;
    let report = stage.folder.join(format!("pjdfstest-{}.txt", stage.a.kernel.name));
    std::fs::write(&report, &said)?;
    let results = results(&said);
    if results.is_empty() {
        bail!("pjdfstest ran nothing:\n{}", process::last_lines(&said, 20));
    }
    judge(&results, stage.kind)
}

/// Each test with whether it passed; skipped ones are left out.
fn results(said: &str) -> BTreeMap<String, bool> {
    let one = |line: &str| {
        let (name, word) = line.rsplit_once(char::is_whitespace)?;
        let passed = match word.trim() {
            "ok" => true,
            "FAILED" => false,
            _ => return None,
        };
        Some((name.trim().to_owned(), passed))
    };
    said.lines().filter_map(one).collect()
}

fn judge(results: &BTreeMap<String, bool>, kind: Kind) -> Result<()> {
    let list: List = toml::from_str(LIST).context("conformance/lab/pjdfstest.toml")?;
    let listed = if kind.is_ours() { &list.ours } else { &list.knfsd };
    let expected: BTreeSet<&str> = listed
        .iter()
        .inspect(|entry| assert!(!entry.reason.is_empty()))
        .map(|entry| entry.name.as_str())
        .collect();
    let failed: BTreeSet<&str> =
        results.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name.as_str()).collect();
    println!(
        "  pjdfstest: {} of {} pass, {} failures are listed",
        results.len() - failed.len(),
        results.len(),
        expected.len()
    );
    let new: Vec<_> = failed.difference(&expected).copied().collect();
    let cured: Vec<_> = expected.iter().filter(|name| results.get(**name) == Some(&true)).copied().collect();
    if !cured.is_empty() {
        println!("  listed, but they pass now: {}", cured.join(" "));
    }
    match new[..] {
        [] => Ok(()),
        _ => bail!("{} fail that are not listed: {}", new.len(), new.join(" ")),
    }
}
