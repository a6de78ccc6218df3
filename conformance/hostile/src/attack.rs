//! What an attack is, and what playing it shows.

use env::BoxFuture;
use tokio::time::Instant;

use crate::attacks;
use crate::cluster::Setting;
use crate::failed::Outcome;
use crate::stage::Stage;

/// Attacks until the time that is given.
pub(crate) type Strike = for<'a> fn(&'a Stage, Instant) -> BoxFuture<'a, Outcome<Evidence>>;

/// How an attack is played.
#[derive(Clone, Copy)]
pub(crate) enum Play {
    /// Again in each of several windows, until the time that is given; the honest client's p99 is judged.
    Windows(Strike),
    /// The same, behind what the first says: made before any window.
    Prepared(for<'a> fn(&'a Stage) -> BoxFuture<'a, Outcome<()>>, Strike),
    /// Once: a fault that makes requests wait. The p99 is told, and not judged; waits, errors and bytes are.
    Once(for<'a> fn(&'a Stage) -> BoxFuture<'a, Outcome<Evidence>>),
    /// Not here: these tests have it, each a file and the name of a function.
    CoveredBy(&'static [(&'static str, &'static str)]),
}

/// An attack.
#[derive(Clone)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// The group of attacks that docs/hostile.md numbers.
    pub(crate) line: u8,
    /// What the attacker does: the row of the table in docs/security.md, which names the attack.
    pub(crate) row: &'static str,
    pub(crate) setting: Setting,
    /// It belongs to the short run.
    pub(crate) quick: bool,
    pub(crate) play: Play,
}

/// What an attack showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// What it got that it has no right to.
    pub(crate) exceeded: Vec<String>,
    /// Other promises that did not hold.
    pub(crate) broken: Vec<String>,
    /// Figures and circumstances.
    pub(crate) notes: Vec<String>,
}

impl Evidence {
    /// It got what it has no right to.
    pub(crate) fn exceeded(&mut self, text: impl Into<String>) {
        keep(&mut self.exceeded, text.into());
    }

    /// A promise did not hold.
    pub(crate) fn broken(&mut self, text: impl Into<String>) {
        keep(&mut self.broken, text.into());
    }

    /// Worth to know.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        keep(&mut self.notes, text.into());
    }

    /// Adds another window's.
    pub(crate) fn add(&mut self, other: Self) {
        other.exceeded.into_iter().for_each(|text| self.exceeded(text));
        other.broken.into_iter().for_each(|text| self.broken(text));
        other.notes.into_iter().for_each(|text| self.note(text));
    }
}

/// The same is said once.
fn keep(all: &mut Vec<String>, text: String) {
    if !all.contains(&text) {
        all.push(text);
    }
}

/// All attacks, by line.
pub(crate) fn all() -> Vec<Attack> {
    let mut all: Vec<Attack> = attacks::GROUPS.iter().flat_map(|group| group()).collect();
    all.sort_by_key(|attack| attack.line);
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Play, all};

    const LINES: std::ops::RangeInclusive<u8> = 1..=17;

    #[test]
    fn each_line_has_an_attack_and_each_attack_a_name_of_its_own() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), all.len());
        let lines: BTreeSet<u8> = all.iter().map(|attack| attack.line).collect();
        assert_eq!(lines, LINES.collect());
    }

    #[test]
    fn the_tests_exist_that_are_named_in_place_of_an_attack() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        for attack in all() {
            let Play::CoveredBy(tests) = attack.play else { continue };
            assert!(!tests.is_empty(), "{}: by what?", attack.name);
            for (file, test) in tests {
                let text = std::fs::read_to_string(format!("{root}{file}")).unwrap();
                let found =
                    text.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{file} has no {test}"));
                // The attribute, with `async` and what else a test may have behind it.
                let is_test = text[..found]
                    .lines()
                    .rev()
                    .take(4)
                    .any(|line| line.contains("test]") || line.contains("test("));
                assert!(is_test, "{file}: {test} is no test");
            }
        }
    }

    #[test]
    fn the_pages_name_each_attack() {
        let page = |name: &str| {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/");
            std::fs::read_to_string(format!("{root}{name}")).unwrap()
        };
        for (file, text) in [("security.md", page("security.md")), ("hostile.md", page("hostile.md"))] {
            for attack in all() {
                assert!(text.contains(&format!("`{}`", attack.name)), "{file} does not name {}", attack.name);
            }
        }
    }
}
