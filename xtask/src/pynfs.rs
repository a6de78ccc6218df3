//! `cargo xtask pynfs`: the public pynfs suite against our server, compared with the checked-in
//! list of results.
//!
//! The suite is a copy outside this workspace that the caller names. It runs beside the server, in
//! a network namespace of its own, and needs no guest and no kernel.
//!
//! INVARIANT: the judgement covers every test that was asked for: one that is not listed, or listed
//! and did not run, fails it.

mod expected;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::expected::{Expected, Seen};
use crate::lab::bench_parts::{self, Kernel, Kind, SERVER, Server, Setup};
use crate::process;

/// What the results in the list are for.
const FLAGS: [&str; 4] = ["all", "flex", "pnfs", "xattr"];
/// The suite waits out a lease and ten seconds in eight tests, and five minutes for an answer that
/// does not come.
const SUITE_SECONDS_MAX: u64 = 40 * 60;
const LIST: &str = include_str!("../../conformance/lab/pynfs.toml");

/// Where the suite is, and which tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Pynfs {
    /// Flags or codes of tests; the whole list (all flex pnfs xattr) without any.
    tests: Vec<String>,
    /// A copy of the suite: the folder that holds `nfs4.1`.
    #[arg(long, env = "SHOAL_PYNFS", value_name = "DIR")]
    suite: PathBuf,
    /// The Python that has the suite's packages.
    #[arg(long, env = "SHOAL_PYNFS_PYTHON", default_value = "python3", value_name = "PROGRAM")]
    python: PathBuf,
    /// Keep the run's folder (the suite's output, the server's log).
    #[arg(long)]
    keep: bool,
}

impl Pynfs {
    /// Runs the suite; ends this process with 1 when a result is not the listed one.
    ///
    /// # Errors
    /// When there is no suite, or it cannot be run.
    pub(crate) fn run(self) -> Result<()> {
        if bench_parts::is_inside() {
            let agrees = self.inside()?;
            bench_parts::leave(i32::from(!agrees));
        }
        Expected::parse(LIST)?;
        self.prepare()?;
        bench_parts::build_shoal()?;
        std::process::exit(bench_parts::enter(self.keep)?)
    }

    /// Generates the suite's XDR code where that has not been done.
    fn prepare(&self) -> Result<()> {
        if !self.suite.join("nfs4.1/testserver.py").is_file() {
            bail!("{} holds no pynfs (docs/lab.md says how to get it)", self.suite.display());
        }
        if !self.suite.join("nfs4.1/xdrdef/nfs4_const.py").is_file() {
            let mut build = self.interpreter(&self.suite)?;
            process::output(build.args(["setup.py", "build"])).context("the suite does not build")?;
        }
        process::output(self.interpreter(&self.suite.join("nfs4.1"))?.args(["testserver.py", "--showcodes"]))
            .context("the suite does not start: it needs the Python packages ply, setuptools and xdrlib3")
            .map(drop)
    }

    /// The interpreter, in a folder of the suite. The suite's own scripts start `python3`, so its
    /// folder comes first on the path.
    fn interpreter(&self, folder: &Path) -> Result<Command> {
        let mut command = Command::new(&self.python);
        command.current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(home) = self.python.parent().filter(|home| !home.as_os_str().is_empty()) {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(home.to_owned()).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(all)?);
        }
        Ok(command)
    }

    /// Starts the server, runs the suite, judges; whether all results are the listed ones.
    fn inside(&self) -> Result<bool> {
        let folder = bench_parts::settle_alone(self.keep)?;
        let setup = Setup {
            data: folder.join("server"),
            kernel: Kernel::none(),
            capacity_bytes: None,
            shoal: bench_parts::shoal_program(),
            folder: folder.clone(),
        };
        let server = Server::start(Kind::ShoalShortLease, setup)?;
        let began = Instant::now();
        let said = self.play(&folder.join("pynfs.log"))?;
        drop(server);
        let seen = expected::read(&said);
        if seen.is_empty() {
            bail!("pynfs ran nothing:\n{}", process::last_lines(&said, 20));
        }
        judge(&seen, self.tests.is_empty(), began.elapsed())
    }

    /// What the suite wrote.
    fn play(&self, log: &Path) -> Result<String> {
        let mut suite = self.interpreter(&self.suite.join("nfs4.1"))?;
        suite.args(["-u", "testserver.py", &format!("{SERVER}:/"), "--maketree", "--showomit"]);
        suite.args(["--minorversion", "2"]);
        if self.tests.is_empty() {
            suite.args(FLAGS)
        } else {
            suite.args(&self.tests)
        };
        let mut child = process::start_logged(&mut suite, log)?;
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if Duration::from_secs(SUITE_SECONDS_MAX) < began.elapsed() {
                let _ = child.kill();
                bail!("pynfs has not ended after {SUITE_SECONDS_MAX} s\n{}", process::tail(log, 20));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(String::from_utf8_lossy(&std::fs::read(log)?).into_owned())
    }
}

fn judge(seen: &Seen, whole: bool, took: Duration) -> Result<bool> {
    let differences = Expected::parse(LIST)?.differences(seen, whole);
    println!("pynfs: {} in {:.0} s", expected::counts(seen), took.as_secs_f32());
    for line in &differences {
        println!("  {line}");
    }
    let failed = differences.len();
    println!("{} passed, {failed} failed", seen.len().saturating_sub(failed));
    Ok(failed == 0)
}
