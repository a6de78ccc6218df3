//! Random corruptions of everything that data servers keep: bits and blocks, in every structure of
//! every file, while servers run and while they are down. All are found, or lie in bytes that
//! no extent uses; all are made good while there is enough left to make them of; and no client ever
//! gets a wrong byte.
//!
//! A *life* is some data servers over disks in memory, all from one seed: files are written, sealed
//! into groups and overwritten; then, again and again, bytes change behind the servers' backs,
//! everything is read, and the scrub goes round until it finds nothing. In the end servers are lost
//! for good, and everything is read once more: what was made good is worth something.
//!
//! `SHOAL_FAULT_ROUNDS` says how many corruptions (a few dozen unless it does), `SHOAL_FAULT_SEED`
//! where the dice start. A life that fails names the seed with which it fails again;
//! `SHOAL_FAULT_LOG=1` shows what the servers log meanwhile.
//!
//! Spec: docs/faults.md; docs/protocol/seal.md §10.

#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod bed;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "seal/cluster.rs"]
mod cluster;
#[path = "corruptions/damage.rs"]
mod damage;
#[path = "corruptions/journal.rs"]
mod journal;
#[path = "corruptions/life.rs"]
mod life;
#[path = "corruptions/places.rs"]
mod places;
#[path = "faults/tell.rs"]
mod tell;

use std::collections::BTreeMap;

use life::{LIFE_MAX, Life};

/// How many corruptions an ordinary run makes.
const ROUNDS: u64 = 40;

/// What was done, and what came of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) corruptions: u64,
    pub(crate) by_part: BTreeMap<&'static str, u64>,
    pub(crate) by_outcome: BTreeMap<&'static str, u64>,
    pub(crate) reads: u64,
    pub(crate) refused_reads: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, part: &'static str, outcome: &'static str) {
        self.corruptions += 1;
        *self.by_part.entry(part).or_default() += 1;
        *self.by_outcome.entry(outcome).or_default() += 1;
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).unwrap_or_default();
    if text.is_empty() { otherwise } else { text.parse().unwrap_or_else(|_| panic!("{name}={text}")) }
}

fn listed(counts: &BTreeMap<&'static str, u64>) -> String {
    let each = counts.iter().map(|(name, count)| format!("{name} {count}"));
    each.collect::<Vec<String>>().join(", ")
}

#[tokio::test]
async fn corruptions() {
    let (rounds, seed) = (number("SHOAL_FAULT_ROUNDS", ROUNDS), number("SHOAL_FAULT_SEED", 1));
    tell::begin();
    let mut tally = Tally::default();
    for life in seed.. {
        let began = tally.corruptions;
        let again = Again { seed: life, began };
        eprintln!("life {life} begins");
        let mut one = Life::begin(life).await;
        while tally.corruptions < rounds && one.goes_on() {
            one.epoch(&mut tally).await;
        }
        one.end(&mut tally).await;
        again.done();
        eprintln!("life {life}: {} corruptions in all", tally.corruptions);
        if rounds <= tally.corruptions {
            break;
        }
    }
    let Tally { corruptions, by_part, by_outcome, reads, refused_reads } = &tally;
    eprintln!(
        "corruptions from seed {seed}: {}; {}; {reads} reads compared, {refused_reads} refused, 0 wrong; {corruptions} passed, 0 failed",
        listed(by_part),
        listed(by_outcome)
    );
}

/// Says how to see a failure again.
struct Again {
    seed: u64,
    began: u64,
}

impl Again {
    fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let Self { seed, began } = self;
        eprintln!("again with SHOAL_FAULT_SEED={seed} SHOAL_FAULT_ROUNDS={LIFE_MAX}");
        eprintln!("{began} passed, 1 failed");
    }
}
