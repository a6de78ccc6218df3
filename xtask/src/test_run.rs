//! `cargo xtask test`: every test of the workspace, with nextest where it is installed.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// Runs the tests; `more` goes to the test runner as it is.
///
/// # Errors
/// When one fails; the count comes first, as the last line of the output.
pub(crate) fn run_tests(more: &[String]) -> Result<()> {
    let (count, well) = counted(more)?;
    println!("{} passed, {} failed", count.passed, count.failed);
    if !well {
        bail!("the tests do not pass");
    }
    Ok(())
}

/// Runs the tests and counts; says also whether the runner was content.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn counted(more: &[String]) -> Result<(Count, bool)> {
    let nextest = process::output(Command::new("cargo").args(["nextest", "--version"])).is_ok();
    let runner: &[&str] = if nextest {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--no-fail-fast"]
    };
    let mut cargo = Command::new("cargo");
    cargo.args(runner).args(more).current_dir(process::workspace());
    let (status, lines) = process::echo(&mut cargo)?;
    Ok((count(&lines), status.success()))
}

/// Adds up what nextest (`Summary ... 5 passed, 1 failed`) or libtest (`test result: ok. 5 passed;
/// 1 failed`) said.
fn count(lines: &[String]) -> Count {
    let number_before = |line: &str, word: &str| {
        let at = line.find(&format!(" {word}"))?;
        line[..at].rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let mut sum = Count::default();
    // nextest shows what a failed test printed, libtest's line among it: its own summary alone
    // counts then.
    let by_nextest = lines.iter().any(|line| line.contains("Summary ["));
    let last_words = if by_nextest { "Summary [" } else { "test result:" };
    for line in lines.iter().filter(|line| line.contains(last_words)) {
        sum.passed += number_before(line, "passed").unwrap_or(0);
        sum.failed += number_before(line, "failed").unwrap_or(0);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{Count, count};

    #[test]
    fn both_runners_are_understood() {
        let nextest = [
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored".to_owned(),
            "     Summary [   0.012s] 4 tests run: 3 passed, 1 failed, 2 skipped".to_owned(),
        ];
        assert_eq!(count(&nextest), Count { passed: 3, failed: 1 });
        let libtest =
            ["test result: ok. 5 passed; 0 failed; 0 ignored", "test result: ok. 2 passed; 1 failed"];
        assert_eq!(count(&libtest.map(str::to_owned)), Count { passed: 7, failed: 1 });
    }
}
