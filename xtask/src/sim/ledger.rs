//! Which seeds have held, in a file: so that a long series is run in pieces (docs/sim.md).
//!
//! Lines of text, one for each run, added as it ends. What a crash leaves of the last line counts
//! for nothing.
//!
//! INVARIANT: a seed is passed over only if the file says that it held with the same code, minutes
//! and arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};

const TITLE: &str = "shoal sim ledger 1";
/// The last word of every line: without it the line is not whole.
const END: &str = "end";
/// Longest line that is read: arguments and numbers are far shorter.
const LINE_BYTES_MAX: usize = 4096;

/// What a run is a run of, but for its seed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// The commit, and what the tree differs from it by.
    pub(super) code: String,
    pub(super) minutes: f64,
    pub(super) more: Vec<String>,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) held: bool,
    pub(super) simulated_s: u64,
    pub(super) acts: u64,
    pub(super) undecided: u64,
    pub(super) digest: String,
}

/// The file, and what it said when it was opened.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    setting: Setting,
    held: BTreeSet<u64>,
    sums: Sums,
    /// Seeds that held with other code: code, and how many.
    elsewhere: BTreeMap<String, u64>,
}

/// Sums over the seeds that held before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) simulated_s: u64,
    pub(super) acts: u64,
    pub(super) undecided: u64,
}

impl Ledger {
    /// Opens a file, or makes it, for runs of this setting with seeds of this range. With
    /// `any_code` what held with other code counts too.
    ///
    /// # Errors
    /// When it cannot be read or written, or is no such file.
    pub(super) fn open(path: &Path, setting: Setting, seeds: &Range<u64>, any_code: bool) -> Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let (mut held, mut sums, mut elsewhere) = (BTreeSet::new(), Sums::default(), BTreeMap::new());
        let mut lines = BufReader::new(&file);
        let mut line = String::new();
        let mut first = true;
        let mut is_whole = true;
        while 0 < lines.read_line(&mut line)? {
            is_whole = line.ends_with('\n');
            if first && line.trim_end() != TITLE {
                bail!("{} is no ledger of seeds", path.display());
            }
            if let Some((of, seed, outcome)) = parse(&line)
                && outcome.held
                && seeds.contains(&seed)
                && (of.minutes, &of.more) == (setting.minutes, &setting.more)
            {
                let is_same = of.code == setting.code;
                if !is_same {
                    *elsewhere.entry(of.code).or_default() += 1;
                }
                if (is_same || any_code) && held.insert(seed) {
                    sums.simulated_s += outcome.simulated_s;
                    sums.acts += outcome.acts;
                    sums.undecided += outcome.undecided;
                }
            }
            first = false;
            line.clear();
        }
        if first {
            writeln!(file, "{TITLE}")?;
        } else if !is_whole {
            // What was torn must not spoil the next line.
            writeln!(file)?;
        }
        Ok(Self { file, setting, held, sums, elsewhere })
    }

    /// Seeds of the range that need not run again.
    pub(super) fn held(&self) -> &BTreeSet<u64> {
        &self.held
    }

    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// Code that is not this one, and how many seeds of the range held with it.
    pub(super) fn elsewhere(&self) -> &BTreeMap<String, u64> {
        &self.elsewhere
    }

    /// Takes a run down.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn add(&mut self, seed: u64, outcome: &Outcome) -> Result<()> {
        let line = print(&self.setting, seed, outcome);
        // One write: two series with one file do not mix their lines.
        self.file.write_all(line.as_bytes()).context("the ledger cannot be written")
    }
}

fn print(setting: &Setting, seed: u64, outcome: &Outcome) -> String {
    let Setting { code, minutes, more } = setting;
    let Outcome { held, simulated_s, acts, undecided, digest } = outcome;
    let word = if *held { "held" } else { "BROKEN" };
    let digest = if digest.is_empty() { "-" } else { digest };
    let more = more.join(" ");
    format!(
        "{seed}\t{word}\t{code}\t{minutes}\t{more}\t{simulated_s}\t{acts}\t{undecided}\t{digest}\t{END}\n"
    )
}

fn parse(line: &str) -> Option<(Setting, u64, Outcome)> {
    if LINE_BYTES_MAX < line.len() {
        return None;
    }
    let words: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
    let [seed, word, code, minutes, more, simulated_s, acts, undecided, digest, END] = words[..] else {
        return None;
    };
    let held = match word {
        "held" => true,
        "BROKEN" => false,
        _ => return None,
    };
    let more = more.split_whitespace().map(str::to_owned).collect();
    let setting = Setting { code: code.to_owned(), minutes: minutes.parse().ok()?, more };
    let outcome = Outcome {
        held,
        simulated_s: simulated_s.parse().ok()?,
        acts: acts.parse().ok()?,
        undecided: undecided.parse().ok()?,
        digest: digest.to_owned(),
    };
    Some((setting, seed.parse().ok()?, outcome))
}

#[cfg(test)]
mod tests;
