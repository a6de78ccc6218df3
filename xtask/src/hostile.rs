//! `cargo xtask hostile`: attacks on real servers, beside an honest client (docs/hostile.md).
//!
//! Builds `conformance-hostile` and, unless told which program to attack, Shoal itself. As root the attacks get mounts of their own,
//! which end with them.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::{Result, bail};

use crate::{lab, process};

/// Which attacks, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Hostile {
    /// Plays these only; may be given again.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Says which attacks there are, and the row of docs/security.md that each stands for.
    #[arg(long)]
    list: bool,
    /// The short run: attacks that need no minutes, in short windows.
    #[arg(long)]
    quick: bool,
    /// Seconds of each window with and without an attack.
    #[arg(long)]
    seconds: Option<u64>,
    /// The program `shoal` to attack; without it, this tree's is built.
    #[arg(long, value_name = "BIN")]
    program: Option<PathBuf>,
    /// Prints a JSON document for each attack.
    #[arg(long)]
    json: bool,
    /// Keeps the folders of clusters, and says where they are.
    #[arg(long)]
    keep: bool,
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
        process::run(process::command("cargo", words).current_dir(process::workspace()))?;
        let mut arguments: Vec<String> = Vec::new();
        if !self.list {
            let program = match &self.program {
                Some(program) => program.clone(),
                None => {
                    lab::build_shoal()?;
                    lab::shoal_program()
                }
            };
            arguments.extend(["--program".to_owned(), program.display().to_string()]);
        }
        let flags =
            [("--list", self.list), ("--quick", self.quick), ("--json", self.json), ("--keep", self.keep)];
        arguments.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| (*flag).to_owned()));
        arguments.extend(self.only.iter().flat_map(|name| ["--only".to_owned(), name.clone()]));
        arguments
            .extend(self.seconds.iter().flat_map(|seconds| ["--seconds".to_owned(), seconds.to_string()]));
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
    process::run(process::command("cargo", words).current_dir(process::workspace()))?;
    let run = Hostile {
        only: Vec::new(),
        list: false,
        quick: true,
        seconds: None,
        program: Some(built("shoal")),
        json: false,
        keep: false,
    };
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

/// As root, in a namespace of mounts of its own.
fn own_mounts(program: &std::path::Path) -> Command {
    if process::is_root() && process::find_program("unshare").is_some() {
        let mut command = process::command("unshare", ["--mount", "--propagation", "private", "--"]);
        command.arg(program);
        return command;
    }
    Command::new(program)
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
