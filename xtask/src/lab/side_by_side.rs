//! Several kernels at once: a lab of its own for each, side by side, and one verdict over them.
//!
//! Most of a lab's time goes by waiting, and labs share nothing but this machine.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::kernels::Release;

/// What one lab came to.
struct Verdict {
    passed: u64,
    failed: u64,
}

/// Runs this program again for each kernel; returns whether all scenarios passed.
///
/// # Errors
/// When a lab cannot be started.
pub(super) fn play(releases: &[&'static Release]) -> Result<bool> {
    let started = Instant::now();
    let labs: Vec<(Child, JoinHandle<Vec<String>>)> =
        releases.iter().map(|release| start(release.name)).collect::<Result<_>>()?;
    let mut sum = Verdict { passed: 0, failed: 0 };
    for ((mut child, said), release) in labs.into_iter().zip(releases) {
        let status = child.wait()?;
        let table = said.join().unwrap_or_default();
        println!("\n{}", table.join("\n"));
        match verdict(&table) {
            Some(verdict) if status.success() == (verdict.failed == 0) => {
                sum.passed += verdict.passed;
                sum.failed += verdict.failed;
            }
            _ => {
                println!("the lab of {} ended with {status} and no verdict", release.name);
                sum.failed += 1;
            }
        }
    }
    println!("\nall kernels, in {:.0} s", started.elapsed().as_secs_f32());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(sum.failed == 0)
}

fn start(kernel: &'static str) -> Result<(Child, JoinHandle<Vec<String>>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments(std::env::args_os().skip(1), kernel))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start this program again")?;
    let Some(out) = child.stdout.take() else { bail!("a pipe was asked for") };
    // What is said on the way is passed on at once; the table is for the end.
    let said = std::thread::spawn(move || {
        let mut table = Vec::new();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if table.is_empty() && !line.starts_with(super::run::TABLE_HEAD) {
                println!("{kernel:5}| {line}");
            } else {
                table.push(line);
            }
        }
        table
    });
    Ok((child, said))
}

/// The arguments of this program with one kernel in place of all.
fn arguments(given: impl Iterator<Item = OsString>, kernel: &str) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut given = given;
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--kernel") => drop(given.next()),
            Some(text) if text.starts_with("--kernel=") => {}
            _ => arguments.push(argument),
        }
    }
    arguments.extend(["--kernel".into(), kernel.into()]);
    arguments
}

/// The last line of a lab: `N passed, N failed`.
fn verdict(said: &[String]) -> Option<Verdict> {
    let (passed, failed) = said.last()?.split_once(" passed, ")?;
    let failed = failed.strip_suffix(" failed")?;
    Some(Verdict { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kernel_takes_the_place_of_all() {
        let given = ["lab", "basic", "--kernel", "all", "--rounds", "3", "--kernel=6.1"].map(OsString::from);
        let expected = ["lab", "basic", "--rounds", "3", "--kernel", "7.2"].map(OsString::from);
        assert_eq!(arguments(given.into_iter(), "7.2"), expected);
    }

    #[test]
    fn verdict_is_the_last_line() {
        let said = ["in 3 s".to_owned(), "12 passed, 3 failed".to_owned()];
        let found = verdict(&said).unwrap();
        assert_eq!((found.passed, found.failed), (12, 3));
        assert!(verdict(&["12 passed".to_owned()]).is_none());
        assert!(verdict(&[]).is_none());
    }
}
