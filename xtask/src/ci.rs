//! `cargo xtask ci`: what the machine of the project runs on each change, in this order, each also
//! alone.
//!
//! Goes on after a failure, so that one run tells everything; what it cannot do here it says and
//! leaves out.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::test_run::Count;
use crate::{deny, deps, hostile, lab, process, test_run, tidy};

/// A step.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Step {
    /// rustfmt has nothing to change.
    Fmt,
    /// The rules of STYLE.md.
    Tidy,
    /// The walls between crates.
    Deps,
    /// Licences and duplicate versions of dependencies; advisories where that can be.
    Deny,
    /// clippy, warnings are errors.
    Clippy,
    /// Every test.
    Test,
    /// Documentation builds without a warning and its examples run.
    Doc,
    /// The short run of attacks on a live cluster.
    Hostile,
    /// The group `basic` on one kernel.
    Lab,
}

/// Which steps.
#[derive(Debug, clap::Args)]
pub(crate) struct Ci {
    /// All, in order, without any.
    steps: Vec<Step>,
}

impl Ci {
    /// Runs the steps; the last line is `N passed, N failed`, a step that broke otherwise counted
    /// as a failure.
    ///
    /// # Errors
    /// When anything failed.
    pub(crate) fn run(&self) -> Result<()> {
        let steps = if self.steps.is_empty() { Step::value_variants() } else { &self.steps };
        let mut total = Count::default();
        let mut lines = Vec::new();
        for step in steps {
            let (name, started) = (format!("{step:?}").to_lowercase(), Instant::now());
            println!("== {name}");
            let outcome = step.run();
            let word = match &outcome {
                Ok(Outcome::Done(count)) => {
                    total.passed += count.passed;
                    total.failed += count.failed;
                    if count.failed == 0 { "ok".to_owned() } else { "FAILED".to_owned() }
                }
                Ok(Outcome::LeftOut(reason)) => format!("LEFT OUT: {reason}"),
                Err(error) => {
                    println!("{error:#}");
                    total.failed += 1;
                    "FAILED".to_owned()
                }
            };
            lines.push(format!("{name:7} {:7.1} s  {word}", started.elapsed().as_secs_f32()));
        }
        println!("\n{}\n\n{} passed, {} failed", lines.join("\n"), total.passed, total.failed);
        if 0 < total.failed {
            std::process::exit(1);
        }
        Ok(())
    }
}

enum Outcome {
    Done(Count),
    LeftOut(String),
}

impl Step {
    fn run(self) -> Result<Outcome> {
        match self {
            Self::Fmt => cargo(&["fmt", "--all", "--check"], &[]),
            Self::Tidy => tidy::Tidy::default().run().map(nothing_counted),
            Self::Deps => deps::check_walls().map(nothing_counted),
            Self::Deny => deny::check_dependencies().map(nothing_counted),
            Self::Clippy => {
                cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])
            }
            Self::Test => match test_run::counted(&[])? {
                (count, well) if well || 0 < count.failed => Ok(Outcome::Done(count)),
                _ => bail!("the tests could not be run"),
            },
            Self::Doc => {
                let strict = [("RUSTDOCFLAGS", "-D warnings")];
                cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &strict)?;
                cargo(&["test", "--workspace", "--doc", "--quiet"], &[])
            }
            Self::Hostile => {
                let (passed, failed) = hostile::quick()?;
                Ok(Outcome::Done(Count { passed, failed }))
            }
            Self::Lab => lab_smoke(),
        }
    }
}

fn nothing_counted((): ()) -> Outcome {
    Outcome::Done(Count::default())
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Outcome> {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).envs(variables.iter().copied()).current_dir(process::workspace());
    process::run_command(&mut cargo).map(nothing_counted)
}

fn lab_smoke() -> Result<Outcome> {
    if let Err(reason) = lab::is_possible_here() {
        return Ok(Outcome::LeftOut(format!("{reason:#}")));
    }
    let mut own = Command::new(std::env::current_exe()?);
    own.args(["lab", "basic"]);
    let (status, lines) = process::echo(&mut own)?;
    let last = lines.last().map(String::as_str).unwrap_or_default();
    let numbers: Vec<u64> = last.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [passed, failed] => Ok(Outcome::Done(Count { passed, failed })),
        _ => bail!("the lab ended with {status}"),
    }
}
