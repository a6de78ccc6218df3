//! What is not yet as STYLE.md wants it, by crate, in `xtask/ratchet.toml`: more than stands there
//! is a finding, and so is less, so that the file only ever gets shorter. `cargo xtask tidy
//! --ratchet` writes it again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Counts by rule, and within a rule by crate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Counts(BTreeMap<String, BTreeMap<String, usize>>);

const FILE: &str = "xtask/ratchet.toml";
/// Rules of which more is better.
const RISING: [&str; 1] = [ASSERTS];

/// Files that import each other in a circle.
pub(super) const CIRCLES: &str = "files-in-circles";
/// Lines with a banned word.
pub(super) const WORDS: &str = "banned-words";
/// Lines of more than 100 columns.
pub(super) const COLUMNS: &str = "long-lines";
/// Functions that other files see, and whose name is a verb without an object.
pub(super) const VERBS: &str = "bare-verbs";
/// Structs of many fields, and how many files take one whole.
pub(super) const WHOLE: &str = "taken-whole";
/// Asserts per 100 functions.
pub(super) const ASSERTS: &str = "asserts-per-100-functions";

impl Counts {
    pub(super) fn add(&mut self, rule: &str, place: &str, count: usize) {
        if 0 < count {
            *self.0.entry(rule.to_owned()).or_default().entry(place.to_owned()).or_default() += count;
        }
    }

    /// What is allowed.
    ///
    /// # Errors
    /// When the file is not what this module writes.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
        toml::from_str(&text).with_context(|| FILE.to_owned())
    }

    /// Writes what is there now, if it is nowhere worse than before.
    ///
    /// # Errors
    /// When it is worse, or the file cannot be written.
    pub(super) fn write(&self, before: &Self, root: &Path) -> Result<()> {
        let worse: Vec<String> = self
            .compare(before)
            .into_iter()
            .filter(|(_, is_worse)| *is_worse)
            .map(|(text, _)| text)
            .collect();
        if !before.0.is_empty() && !worse.is_empty() {
            bail!("{}\nit is not written: it may only get better", worse.join("\n"));
        }
        std::fs::write(root.join(FILE), toml::to_string(self)?).with_context(|| FILE.to_owned())
    }

    /// Where this differs from what is allowed, and whether for the worse.
    pub(super) fn compare(&self, allowed: &Self) -> Vec<(String, bool)> {
        let mut findings = Vec::new();
        let count = |counts: &Self, rule: &str, place: &str| {
            counts.0.get(rule).and_then(|places| places.get(place)).copied().unwrap_or(0)
        };
        let rules: std::collections::BTreeSet<_> = self.0.keys().chain(allowed.0.keys()).collect();
        for rule in rules {
            let places = [self, allowed].map(|counts| counts.0.get(rule));
            let places: std::collections::BTreeSet<_> =
                places.iter().flatten().flat_map(|places| places.keys()).collect();
            for place in places {
                let (now, may) = (count(self, rule, place), count(allowed, rule, place));
                let is_worse = if RISING.contains(&rule.as_str()) { now < may } else { may < now };
                if is_worse {
                    findings.push((format!("tidy: {place}: {rule}: {now}, and {may} before"), true));
                } else if now != may {
                    let what = "it is better: write that down with `cargo xtask tidy --ratchet`";
                    findings.push((format!("tidy: {place}: {rule}: {now}, and {may} before: {what}"), false));
                }
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rule: &str, count: usize) -> Counts {
        let mut counts = Counts::default();
        counts.add(rule, "mds/server", count);
        counts
    }

    #[test]
    fn more_is_a_finding_and_less_is_to_be_written_down() {
        let allowed = counts(WORDS, 3);
        assert!(counts(WORDS, 3).compare(&allowed).is_empty());
        for (count, is_worse) in [(4, true), (2, false), (0, false)] {
            let found = counts(WORDS, count).compare(&allowed);
            assert_eq!((found.len(), found[0].1), (1, is_worse), "{count}");
        }
        assert_eq!(counts(WORDS, 1).compare(&Counts::default()).len(), 1);
    }

    #[test]
    fn fewer_asserts_are_worse() {
        assert!(counts(ASSERTS, 4).compare(&counts(ASSERTS, 5))[0].1);
        assert!(!counts(ASSERTS, 6).compare(&counts(ASSERTS, 5))[0].1);
    }

    #[test]
    fn it_is_not_written_when_it_is_worse() {
        let folder = std::env::temp_dir().join(format!("ratchet-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("xtask")).unwrap();
        assert!(counts(WORDS, 4).write(&counts(WORDS, 3), &folder).is_err());
        counts(WORDS, 2).write(&counts(WORDS, 3), &folder).unwrap();
        assert_eq!(Counts::read(&folder).unwrap(), counts(WORDS, 2));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
