//! `cargo xtask sim`: whole clusters in simulated time, each from a seed (docs/sim.md).
//!
//! Builds `conformance-sim` with every assertion, and gives each seed a process of its own: so a
//! run leaves nothing behind for the next one, and a seed that panics is one that failed.

mod ledger;
mod player;
mod series;

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::ledger::{Ledger, Setting};
use crate::process;

/// One run may take this long: longer is a finding.
const RUN_SECONDS_MAX: u64 = 600;

/// Which seeds, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Sim {
    /// One seed; what is said about it is printed in full.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Seeds from A to below B.
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<(u64, u64)>,
    /// Simulated minutes of trouble, for each seed.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Runs at a time; as many as there are processors, if nothing is said.
    #[arg(long)]
    jobs: Option<usize>,
    /// Writes down which seeds held, with which code, and passes over those that did: so a series
    /// is run in pieces.
    #[arg(long, value_name = "FILE", requires = "seeds")]
    resume: Option<PathBuf>,
    /// With --resume: what held at another commit counts too.
    #[arg(long, requires = "resume")]
    any_commit: bool,
    /// The Raft engine checks every invariant of its state whenever it touches it: the same runs,
    /// but slower.
    #[arg(long)]
    engine_invariants: bool,
    /// Handed on to the simulator: see `cargo run -p conformance-sim -- --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<String>,
}

fn parse_seeds(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("give A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok((from, to)) } else { Err("A must be below B".to_owned()) }
}

impl Sim {
    /// Runs the seeds; the last line printed says how many held.
    ///
    /// # Errors
    /// When the simulator cannot be built, the ledger cannot be read, or a seed did not hold.
    pub(crate) fn run(&self) -> Result<()> {
        let code = code();
        let simulator = build(if self.engine_invariants { "sim-engine" } else { "sim" })?;
        if let Some(seed) = self.seed {
            return process::run_command(&mut self.command(&simulator, seed));
        }
        // Held open: it stays the same program though another build puts another one in its place.
        let file = std::fs::File::open(&simulator).with_context(|| simulator.display().to_string())?;
        let simulator = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        let (from, to) = self.seeds.context("no seeds")?;
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.unwrap_or_else(processors).max(1);
        let mut ledger = self.resume.as_deref().map(|path| self.open(path, code, from..to)).transpose()?;
        let held = ledger.as_ref().map_or_else(BTreeSet::new, |ledger| ledger.held().clone());
        let started = Instant::now();
        let play = |seed| {
            let mut command = self.command(&simulator, seed);
            player::play(&mut command, seed, Duration::from_secs(RUN_SECONDS_MAX), &self.again(seed))
        };
        let sum = series::play_seeds(from..to, &held, jobs, ledger.as_mut(), play, |text| println!("{text}"));
        println!("{}", sum.word(started.elapsed().as_secs_f64(), 0, jobs));
        let before = ledger.as_ref().map(Ledger::sums).unwrap_or_default();
        println!(
            "{} of {} seeds held: {} simulated minutes, {} acts, {} histories undecided",
            sum.held + held.len() as u64,
            to - from,
            (sum.simulated_s + before.simulated_s) / 60,
            sum.acts + before.acts,
            sum.undecided + before.undecided,
        );
        if let Some(error) = sum.ledger_error {
            bail!("{error}");
        }
        if 0 < sum.broken {
            bail!(
                "{} did not hold: seeds {:?}; again, one of them: {}",
                sum.broken,
                sum.named,
                self.again(sum.named[0])
            );
        }
        Ok(())
    }

    fn open(&self, path: &Path, code: String, seeds: std::ops::Range<u64>) -> Result<Ledger> {
        let setting = Setting { code, minutes: self.minutes, more: self.more.clone() };
        let ledger = Ledger::open(path, setting.clone(), &seeds, self.any_commit)
            .with_context(|| path.display().to_string())?;
        let of = seeds.end - seeds.start;
        println!(
            "{}: {} of {of} seeds held before, at {}",
            path.display(),
            ledger.held().len(),
            setting.code
        );
        for (code, count) in ledger.elsewhere() {
            let counts = if self.any_commit { "" } else { ", which do not count without --any-commit" };
            println!("  {count} runs held at {code}{counts}");
        }
        Ok(ledger)
    }

    /// The command that runs a seed again.
    fn again(&self, seed: u64) -> String {
        let more: String = self.more.iter().map(|word| format!(" {word}")).collect();
        let more = if more.is_empty() { more } else { format!(" --{more}") };
        let engine = if self.engine_invariants { " --engine-invariants" } else { "" };
        format!("cargo xtask sim --seed {seed} --minutes {}{engine}{more}", self.minutes)
    }

    fn command(&self, simulator: &PathBuf, seed: u64) -> Command {
        let mut command = Command::new(simulator);
        command.args(["--seed", &seed.to_string(), "--minutes", &self.minutes.to_string()]);
        command.args(self.engine_invariants.then_some("--engine-invariants")).args(&self.more);
        command
    }
}

/// The commit that is run, and a number for what the tree differs from it by. Files that git does
/// not know are not looked at.
fn code() -> String {
    let root = process::workspace();
    let git = |words: &[&str]| process::output(process::command("git", words).current_dir(&root));
    let (Ok(commit), Ok(changes)) = (git(&["rev-parse", "--short=12", "HEAD"]), git(&["diff", "HEAD"]))
    else {
        // Without git it is not known what it is: nothing is the same.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return format!("unknown+{:x}", now.as_nanos());
    };
    match changes.as_str() {
        "" => commit.trim().to_owned(),
        _ => format!("{}+{:016x}", commit.trim(), number_of(changes.as_bytes())),
    }
}

/// A number for bytes (FNV-1a): the same for the same.
fn number_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn build(profile: &str) -> Result<PathBuf> {
    let root = process::workspace();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--profile", profile, "--package", "conformance-sim", "--bin", "sim"]);
    process::run_command(cargo.current_dir(&root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(profile).join("sim"))
}
