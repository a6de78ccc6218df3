//! `cargo xtask deps`: who may depend on whom, as a table, against what cargo says.
//!
//! A crate may use the crates in its row and what those may use. Dev-dependencies are free: tests
//! may look anywhere, except that nothing may depend on a `conformance-*` crate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// The walls, bottom tier first.
const WALLS: &[(&str, &[&str])] = &[
    // Tier 0: pure. No socket, file, clock, thread, randomness.
    ("wire-xdr", &[]),
    ("wire-rpc", &["wire-xdr"]),
    ("wire-nfs", &["wire-xdr"]),
    ("wire-session", &["wire-nfs"]),
    ("layout", &[]),
    ("krb", &["wire-rpc"]),
    // Tier 1: the outside world, and what only it needs.
    ("env", &[]),
    ("env-transport", &["env", "wire-rpc", "wire-xdr"]),
    ("wal", &["env"]),
    // Tier 2: engines, then the drivers and doors over them. `mds` and `ds` meet on the wire only.
    ("mds-namespace", &["layout", "env"]),
    ("mds-state", &["mds-namespace", "layout", "wire-session", "wire-nfs"]),
    ("mds-raft", &["mds-state", "wal", "env-transport", "wire-nfs", "wire-rpc", "wire-xdr"]),
    ("ds-image", &["layout", "env"]),
    ("ds-store", &["ds-image", "layout", "wal", "env"]),
    ("client", &["layout", "krb", "env", "env-transport", "wire-session", "wire-nfs", "wire-rpc"]),
    ("mds-server", &["mds-raft", "client", "krb", "wire-session", "wire-nfs", "wire-rpc", "env-transport"]),
    ("ds-server", &["ds-store", "krb", "wire-nfs", "wire-rpc", "env-transport"]),
    ("fuse-client", &["client", "env"]),
    ("gateway-v3", &["client", "wire-nfs", "wire-rpc", "env"]),
    // Tier 3: the program, which also prints the insides of everything.
    ("shoal", &["mds-server", "ds-server", "fuse-client", "gateway-v3"]),
    // Automation builds and watches the product from outside.
    ("xtask", &[]),
];

/// Crates of the registry that these do without: they decide, and have no tasks and no log.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("mds-namespace", &["tokio", "openraft"]),
    ("mds-state", &["tokio", "openraft"]),
    ("layout", &["tokio", "openraft"]),
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// Nothing for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
    /// The folder of a crate of ours; nothing for one from a registry.
    path: Option<String>,
}

/// Compares the workspace's crates with the walls.
///
/// # Errors
/// When one is broken, or a crate has no row; the error names every edge.
pub(crate) fn check_walls() -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(process::workspace());
    let metadata: Metadata = serde_json::from_str(&process::output(&mut cargo)?).context("cargo metadata")?;
    let broken = broken_walls(&metadata.packages);
    if !broken.is_empty() {
        bail!("{}\nThe walls are the table in xtask/src/deps.rs.", broken.join("\n"));
    }
    println!("deps: {} crates within their walls", metadata.packages.len());
    Ok(())
}

fn broken_walls(packages: &[Package]) -> Vec<String> {
    let allowed = reachable();
    let mut broken = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let free = name.starts_with("conformance-");
        let row = allowed.get(name);
        if row.is_none() && !free {
            broken.push(format!("deps: {name} has no row"));
        }
        let barred = KEPT_OUT.iter().find(|(kept, _)| *kept == name);
        let kept_out = barred.map_or(&[][..], |(_, out)| *out);
        for dependency in package.dependencies.iter().filter(|one| kept_out.contains(&one.name.as_str())) {
            broken.push(format!("deps: {name} -> {}: this crate does without it", dependency.name));
        }
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let used = dependency.name.as_str();
            if used.starts_with("conformance-") && !free {
                broken.push(format!("deps: {name} -> {used}: nothing may depend on a conformance crate"));
            }
            let counts = dependency.kind.as_deref() != Some("dev") && !free;
            if counts && row.is_some_and(|row| !row.contains(used)) {
                broken.push(format!("deps: {name} -> {used} goes through a wall"));
            }
        }
    }
    broken
}

/// For each crate, what it may use, directly or through what it may use.
fn reachable() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows: BTreeMap<_, _> = WALLS.iter().copied().collect();
    let closure = |name: &'static str| {
        let (mut found, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(next) = open.pop() {
            for used in rows.get(next).copied().unwrap_or_default() {
                if found.insert(*used) {
                    open.push(used);
                }
            }
        }
        found
    };
    rows.keys().map(|name| (*name, closure(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Package, broken_walls, reachable};

    fn package(name: &str, used: &str, kind: Option<&str>) -> Package {
        let dependency =
            Dependency { name: used.to_owned(), kind: kind.map(str::to_owned), path: Some(String::new()) };
        Package { name: name.to_owned(), dependencies: vec![dependency] }
    }

    #[test]
    fn the_table_has_no_circle() {
        assert!(reachable().iter().all(|(name, row)| !row.contains(name)));
    }

    #[test]
    fn an_edge_through_a_wall_is_named() {
        assert_eq!(broken_walls(&[package("ds-server", "mds-state", None)]).len(), 1);
        assert_eq!(broken_walls(&[package("wire-xdr", "env", None)]).len(), 1);
        assert_eq!(broken_walls(&[package("unheard-of", "env", None)]).len(), 1);
    }

    #[test]
    fn a_crate_that_decides_has_no_tasks_and_no_log() {
        assert_eq!(broken_walls(&[package("mds-state", "tokio", Some("dev"))]).len(), 1);
        assert_eq!(
            broken_walls(&[package("mds-state", "openraft", None)]).len(),
            2,
            "it is in no row either"
        );
    }

    #[test]
    fn what_the_row_reaches_is_allowed() {
        assert!(broken_walls(&[package("mds-server", "wire-xdr", None)]).is_empty());
        assert!(broken_walls(&[package("wire-nfs", "env", Some("dev"))]).is_empty());
    }
}
