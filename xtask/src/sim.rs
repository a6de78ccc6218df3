//! `cargo xtask sim`: whole clusters in simulated time, each from a seed (docs/sim.md).
//!
//! Builds `conformance-sim` with every assertion, and gives each seed a process of its own: so a run leaves nothing behind for
//! the next one, and a seed that panics is one that failed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// One run may take this long: longer is a finding.
const RUN_SECONDS_MAX: u64 = 600;
const POLL_MS: u64 = 5;

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
    /// Runs at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
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

/// What came of the seeds.
#[derive(Debug, Default)]
struct Sum {
    held: u64,
    failed: Vec<u64>,
    acts: u64,
    undecided: u64,
    simulated_seconds: u64,
}

impl Sim {
    /// Runs the seeds; the last line printed says how many held.
    ///
    /// # Errors
    /// When the simulator cannot be built, or a seed did not hold.
    pub(crate) fn run(&self) -> Result<()> {
        let simulator = build()?;
        if let Some(seed) = self.seed {
            return process::run(&mut self.command(&simulator, seed));
        }
        let (from, to) = self.seeds.context("no seeds")?;
        let (next, sum) = (AtomicU64::new(from), Mutex::new(Sum::default()));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if to <= seed {
                            return;
                        }
                        let text = play(&mut self.command(&simulator, seed), seed);
                        sum.lock().expect("nobody panics with it").add(seed, &text);
                    }
                });
            }
        });
        let sum = sum.into_inner().expect("nobody panics with it");
        let (held, minutes) = (sum.held, sum.simulated_seconds / 60);
        println!(
            "{held} of {} seeds held: {minutes} simulated minutes, {} acts, {} histories undecided, {:.0} s",
            to - from,
            sum.acts,
            sum.undecided,
            started.elapsed().as_secs_f64(),
        );
        if !sum.failed.is_empty() {
            bail!(
                "seeds {:?} did not hold; again, one of them: cargo xtask sim --minutes {} --seed N",
                sum.failed,
                self.minutes
            );
        }
        Ok(())
    }

    fn command(&self, simulator: &PathBuf, seed: u64) -> Command {
        let mut command = Command::new(simulator);
        command.args(["--seed", &seed.to_string(), "--minutes", &self.minutes.to_string()]).args(&self.more);
        command
    }
}

impl Sum {
    fn add(&mut self, seed: u64, text: &str) {
        let mut words =
            text.lines().find(|line| line.starts_with("seed ")).unwrap_or_default().split_whitespace();
        let line: Vec<&str> = words.by_ref().collect();
        let number = |name: &str| {
            let at = line.iter().position(|word| *word == name)?;
            line.get(at + 1)?.parse::<u64>().ok()
        };
        self.acts += number("acts").unwrap_or(0);
        self.undecided += number("undecided").unwrap_or(0);
        self.simulated_seconds += number("simulated_s").unwrap_or(0);
        if line.get(2) == Some(&"held") {
            self.held += 1;
            return;
        }
        self.failed.push(seed);
        println!("{text}");
    }
}

/// Runs one seed; what it printed.
fn play(command: &mut Command, seed: u64) -> String {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return format!("seed {seed}: {error}"),
    };
    let end = Instant::now() + Duration::from_secs(RUN_SECONDS_MAX);
    // What it prints fits the pipe, but for a panic's long tail: only the end of waiting depends on it.
    while let Ok(None) = child.try_wait() {
        if end < Instant::now() {
            // It is a child of ours and there is nothing it could leave behind.
            drop(child.kill());
            drop(child.wait());
            return format!("seed {seed}: no end after {RUN_SECONDS_MAX} s");
        }
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
    match child.wait_with_output() {
        Ok(done) => {
            let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            if done.status.success() {
                out.into_owned()
            } else {
                format!("{out}{}", process::last_lines(&err, 20))
            }
        }
        Err(error) => format!("seed {seed}: {error}"),
    }
}

fn build() -> Result<PathBuf> {
    let root = process::workspace();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--profile", "sim", "--package", "conformance-sim", "--bin", "sim"]);
    process::run(cargo.current_dir(&root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("sim/sim"))
}
