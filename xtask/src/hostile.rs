//! `cargo xtask hostile`: attacks on real servers, beside an honest client (docs/hostile.md).
//!
//! Builds `conformance-hostile` and, unless told which program to attack, Shoal itself. As root the
//! attacks get mounts of their own, which end with them.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::{Result, bail};

use crate::{lab, process};

/// What the player of the attacks is told.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Hostile {
    /// Options of the player: `--help` names them. Without `--program BIN` this tree's `shoal` is
    /// built and attacked.
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Hostile {
    /// Plays the attacks; the last line printed is `N passed, N failed`.
    ///
    /// # Errors
    /// When something cannot be built, or an attack failed.
    pub(crate) fn run(&self) -> Result<()> {
        let (status, _) = self.play()?;
        if !status.success() {
            bail!("hostile: {status}");
        }
        Ok(())
    }

    /// Plays them; the status, and all that was printed.
    ///
    /// # Errors
    /// When something cannot be built.
    fn play(&self) -> Result<(ExitStatus, Vec<String>)> {
        let words = ["build", "--quiet", "--package", "conformance-hostile"];
        process::run_command(process::command("cargo", words).current_dir(process::workspace()))?;
        let mut arguments = self.options.clone();
        let is_told = |names: &[&str]| {
            let is_one = |option: &String| names.contains(&option.split('=').next().unwrap_or(option));
            self.options.iter().any(is_one)
        };
        if !is_told(&["--program", "--list", "--help", "-h"]) {
            lab::build_shoal()?;
            arguments.extend(["--program".to_owned(), lab::shoal_program().display().to_string()]);
        }
        if !process::is_root() {
            arguments.push("--any-port".to_owned());
        }
        process::echo(own_mounts(&player()).args(arguments))
    }
}

/// Plays the short run for `cargo xtask ci`, against this tree's program; what passed and failed.
///
/// # Errors
/// When something cannot be built, or the run says nothing.
pub(crate) fn quick() -> Result<(u64, u64)> {
    let words = ["build", "--quiet", "--package", "shoal"];
    process::run_command(process::command("cargo", words).current_dir(process::workspace()))?;
    let program = built("shoal").display().to_string();
    let run = Hostile { options: vec!["--quick".to_owned(), "--program".to_owned(), program] };
    let (status, lines) = run.play()?;
    match lines.last().and_then(|line| counts(line)) {
        Some(count) => Ok(count),
        None => bail!("hostile: {status}"),
    }
}

fn counts(line: &str) -> Option<(u64, u64)> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some((passed.parse().ok()?, failed.parse().ok()?))
}

fn player() -> PathBuf {
    built("hostile")
}

/// A program of a debug build.
fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| process::workspace().join("target")).join("debug").join(name)
}

/// As root, in a namespace of mounts of its own; told to end when this process ends, whatever ends
/// it.
fn own_mounts(program: &std::path::Path) -> Command {
    let mut words: Vec<&str> = Vec::new();
    if process::find_program("setpriv").is_some() {
        words.extend(["setpriv", "--pdeathsig", "TERM", "--"]);
    }
    if process::is_root() && process::find_program("unshare").is_some() {
        words.extend(["unshare", "--mount", "--propagation", "private", "--"]);
    }
    let Some((first, rest)) = words.split_first() else { return Command::new(program) };
    let mut command = process::command(first, rest);
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_last_line_is_read() {
        assert_eq!(counts("12 passed, 1 failed"), Some((12, 1)));
        assert_eq!(counts("all is well"), None);
    }
}
