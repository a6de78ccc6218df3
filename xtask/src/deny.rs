//! `cargo xtask deny`: licences, duplicate versions and advisories of what the workspace depends
//! on, by `deny.toml`.
//!
//! cargo-deny does it where it is installed. Without it, licences and duplicates are checked here,
//! from what `cargo tree` prints; both ways need no network. Advisories need cargo-deny and a copy
//! of the database, and are left out, in words, without.

mod licence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// The version that `--install` builds. It takes minutes, so CI does without.
const CARGO_DENY: &str = "0.20.2";

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Deny {
    /// Builds cargo-deny first, in the version that is known to work.
    #[arg(long)]
    install: bool,
}

#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    #[serde(default)]
    skip: Vec<Skip>,
}

/// A duplicate that there is: `crate` is a name and the start of its version.
#[derive(Debug, Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// A package that is built.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

impl Deny {
    /// Checks.
    ///
    /// # Errors
    /// When something is against the rules, or nothing could be checked.
    pub(crate) fn run(&self) -> Result<()> {
        if self.install {
            let words = ["install", "cargo-deny", "--locked", "--version", CARGO_DENY];
            process::run_command(&mut process::command("cargo", words))?;
        }
        check_dependencies()
    }
}

/// Checks with what there is; says what was left out.
///
/// # Errors
/// As [`Deny::run`].
pub(crate) fn check_dependencies() -> Result<()> {
    own_check()?;
    let Some(program) = cargo_deny() else {
        println!(
            "deny: cargo-deny is not installed (cargo xtask deny --install): licences and duplicates were checked here; LEFT OUT: \
             advisories"
        );
        return Ok(());
    };
    if process::output(&mut cargo(&["metadata", "--format-version", "1", "--locked", "--offline"])).is_err() {
        println!(
            "deny: packages of other platforms are not here: LEFT OUT: advisories, and what cargo-deny says"
        );
        return Ok(());
    }
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(process::workspace()).args(["--offline", "check"]).args(what);
        process::run_command(&mut command)
    };
    check(&["licenses", "bans", "sources"])?;
    if has_advisories() {
        return check(&["advisories"]);
    }
    println!(
        "deny: there is no copy of the advisory database (cargo deny fetch makes one): LEFT OUT: advisories"
    );
    Ok(())
}

fn cargo(words: &[&str]) -> Command {
    let mut command = process::command("cargo", words);
    command.current_dir(process::workspace());
    command
}

fn cargo_home() -> Option<PathBuf> {
    let own = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

fn cargo_deny() -> Option<PathBuf> {
    let installed = cargo_home().map(|home| home.join("bin/cargo-deny")).filter(|program| program.is_file());
    installed.or_else(|| process::find_program("cargo-deny"))
}

/// cargo-deny keeps its copies here.
fn has_advisories() -> bool {
    let place = cargo_home().map(|home| home.join("advisory-dbs"));
    place.is_some_and(|place| std::fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()))
}

/// Licences and duplicates of what is built here.
fn own_check() -> Result<()> {
    let file = process::workspace().join("deny.toml");
    let rules: Rules = toml::from_str(&std::fs::read_to_string(&file)?).context("deny.toml")?;
    let words = ["tree", "--locked", "--workspace", "-e", "normal,build,dev", "--prefix", "none"];
    let tree = process::output(cargo(&words).args(["--format", "{p}|{l}"]))?;
    let packages = packages(&tree);
    let findings = findings(&packages, &rules);
    if !findings.is_empty() {
        bail!("{}\nThe rules are in deny.toml.", findings.join("\n"));
    }
    println!("deny: {} packages: licences and duplicate versions as deny.toml says", packages.len());
    Ok(())
}

/// Lines such as `serde v1.0.2 (proc-macro)|MIT OR Apache-2.0`; those of this workspace have a
/// path.
fn packages(tree: &str) -> BTreeSet<Package> {
    let package = |line: &str| {
        let (head, licence) = line.trim_end().trim_end_matches(" (*)").rsplit_once('|')?;
        let mut words = head.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let own = words.any(|word| word.starts_with("(/"));
        let licence = licence.trim_end_matches(" (*)");
        (!own).then(|| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: licence.to_owned(),
        })
    };
    tree.lines().filter_map(package).collect()
}

fn findings(packages: &BTreeSet<Package>, rules: &Rules) -> Vec<String> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let Package { name, version, licence } = package;
        versions.entry(name).or_default().push(version);
        if !licence::is_allowed(licence, &rules.licenses.allow) {
            findings.push(format!("deny: {name} {version}: licence {licence:?} is not allowed"));
        }
    }
    let is_of = |skip: &Skip, name: &str, version: &str| {
        skip.name.split_once('@').is_some_and(|(of, begins)| {
            of == name
                && version.strip_prefix(begins).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    for (name, all) in versions {
        let left =
            all.iter().filter(|version| !rules.bans.skip.iter().any(|skip| is_of(skip, name, version)));
        if 1 < left.count() {
            findings.push(format!("deny: {name} is built in the versions {}", all.join(", ")));
        }
    }
    for skip in &rules.bans.skip {
        if !packages.iter().any(|package| is_of(skip, &package.name, &package.version)) {
            findings.push(format!("deny: {} is built no more ({}): take it out", skip.name, skip.reason));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{Bans, Licenses, Rules, Skip, findings, packages};

    const TREE: &str = "own v0.1.0 (/somewhere/own)|Proprietary\n\
        a v1.2.0|MIT\n\
        a v1.2.0|MIT (*)\n\
        a v0.3.1 (proc-macro)|MIT\n\
        b v2.0.0|MIT\n";

    fn rules(skipped: &[&str]) -> Rules {
        let skip = |name: &&str| Skip { name: (*name).to_owned(), reason: "a test".to_owned() };
        let allow = ["MIT".to_owned()].into();
        Rules { licenses: Licenses { allow }, bans: Bans { skip: skipped.iter().map(skip).collect() } }
    }

    #[test]
    fn crates_of_the_workspace_and_repeated_lines_do_not_count() {
        let packages = packages(TREE);
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["a", "a", "b"]);
    }

    #[test]
    fn a_duplicate_is_found_unless_it_is_named_and_a_name_without_one_too() {
        let packages = packages(TREE);
        assert_eq!(findings(&packages, &rules(&["a@0.3"])), Vec::<String>::new());
        assert_eq!(findings(&packages, &rules(&[])).len(), 1);
        assert_eq!(findings(&packages, &rules(&["a@0"])).len(), 0);
        assert_eq!(findings(&packages, &rules(&["a@0.3", "c@1"])).len(), 1);
        assert_eq!(findings(&packages, &rules(&["a@0.31"])).len(), 2);
    }

    #[test]
    fn a_licence_that_is_not_named_is_found() {
        let packages = packages("c v1.0.0|GPL-3.0\nd v1.0.0|\ne v1.0.0|GPL-3.0 OR MIT\n");
        assert_eq!(findings(&packages, &rules(&[])).len(), 2);
    }
}
