//! What an attack is, and what playing it shows.

use env::BoxFuture;
use tokio::time::Instant;

use crate::cluster::Setting;
use crate::failed::Outcome;
use crate::stage::Stage;

/// Attacks until the time that is given.
pub(crate) type Strike = for<'a> fn(&'a Stage, Instant) -> BoxFuture<'a, Outcome<Evidence>>;

/// How an attack is played.
#[derive(Clone, Copy)]
pub(crate) enum Play {
    /// Again in each of several windows, until the time that is given; the honest client's p99 is
    /// judged.
    Windows(Strike),
    /// The same, behind what the first says: made before any window.
    Prepared(for<'a> fn(&'a Stage) -> BoxFuture<'a, Outcome<()>>, Strike),
    /// Once: a fault that makes requests wait. The p99 is told, and not judged; waits, errors and
    /// bytes are.
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
