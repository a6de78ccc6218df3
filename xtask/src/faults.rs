//! `cargo xtask faults`: the suites that crash, kill and corrupt data servers in memory, for as
//! many rounds as one likes (docs/faults.md).
//!
//! They are tests of `ds-server`, built for release; how many rounds and from which seed is told to
//! them in the environment.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process;

/// Which suite, how many rounds, from which seed.
#[derive(Debug, clap::Args)]
pub(crate) struct Faults {
    /// One suite; without it all, one after the other.
    #[arg(value_enum)]
    suite: Option<Suite>,
    /// Crash points to try (all that there are, if more), cycles, or corruptions.
    #[arg(long, default_value_t = 1_000)]
    rounds: u64,
    /// Where choices begin: another seed, other rounds.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    /// A fixed script, crashed at each write and flush of it.
    CrashPoints,
    /// Servers of a busy cluster killed again and again.
    KillCycles,
    /// Bits and blocks of files altered.
    Corruptions,
    /// Journals lost, older copies put back, disks that fail.
    BadDisks,
}

impl Suite {
    const ALL: [Self; 4] = [Self::CrashPoints, Self::KillCycles, Self::Corruptions, Self::BadDisks];

    fn test(self) -> &'static str {
        match self {
            Self::CrashPoints => "crash_points",
            Self::KillCycles => "kill_cycles",
            Self::Corruptions => "corruptions",
            Self::BadDisks => "bad_disks",
        }
    }
}

impl Faults {
    /// Runs the suites; the last line printed says how many rounds passed and failed.
    ///
    /// # Errors
    /// When they cannot be built, or a round failed.
    pub(crate) fn run(&self) -> Result<()> {
        let suites = self.suite.map_or_else(|| Suite::ALL.to_vec(), |suite| vec![suite]);
        let (mut passed, mut failed) = (0, 0);
        for suite in suites {
            let (good, bad) = self.run_one(suite)?;
            (passed, failed) = (passed + good, failed + bad);
        }
        println!("{passed} passed, {failed} failed");
        if failed != 0 {
            bail!("seed {}: see above", self.seed);
        }
        Ok(())
    }

    fn run_one(&self, suite: Suite) -> Result<(u64, u64)> {
        let test = suite.test();
        let words = ["test", "--quiet", "--release", "--package", "ds-server", "--test", test];
        let build = ["--no-run"];
        process::run_command(&mut process::command("cargo", words.iter().chain(&build)))?;
        let started = Instant::now();
        let run = ["--", "--nocapture", "--test-threads", "1", test];
        let mut cargo = process::command("cargo", words.iter().chain(&run));
        cargo.env("SHOAL_FAULT_ROUNDS", self.rounds.to_string());
        cargo.env("SHOAL_FAULT_SEED", self.seed.to_string());
        cargo.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = cargo.spawn().with_context(|| format!("cannot start {cargo:?}"))?;
        let lines = BufReader::new(child.stderr.take().context("its output is a pipe")?).lines();
        // What it counted is the last that it says of itself.
        let mut counted = VecDeque::new();
        for line in lines {
            let line = line?;
            eprintln!("{line}");
            counted.extend(counts(&line));
        }
        let status = child.wait()?;
        let (passed, failed) = counted.pop_back().unwrap_or((0, 0));
        println!("{test}: {passed} passed, {failed} failed, {:.0} s", started.elapsed().as_secs_f64());
        if !status.success() && failed == 0 || status.success() && failed != 0 {
            bail!("{test}: {status}");
        }
        if passed == 0 && failed == 0 {
            bail!("{test} says nothing of what it did");
        }
        Ok((passed, failed))
    }
}

/// The numbers of a line that ends `N passed, N failed`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let line = line.trim_end().strip_suffix(" failed")?;
    let (before, failed) = line.rsplit_once(" passed, ")?;
    let passed = before.rsplit(' ').next()?;
    Some((passed.parse().ok()?, failed.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn what_a_suite_counted_is_at_the_end_of_a_line() {
        assert_eq!(counts("kill-cycles: 24 passed, 1 failed"), Some((24, 1)));
        assert_eq!(counts("7 passed, 0 failed"), Some((7, 0)));
        assert_eq!(counts("test result: ok. 1 passed; 0 failed; 0 ignored"), None);
        assert_eq!(counts("many passed, few failed"), None);
    }
}
