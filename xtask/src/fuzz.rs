//! `cargo xtask fuzz`: coverage-guided fuzzing of everything that takes bytes from a wire or a
//! disk.
//!
//! Builds `conformance/fuzz` with coverage counters in all of our crates and what they use, in a
//! folder of its own so that ordinary builds stay as they are, and runs one target after another.
//! Stable Rust and a C++ compiler are enough: the counters come from LLVM passes that the stable
//! compiler has, libFuzzer from the crate libfuzzer-sys.
//!
//! What breaks a target is kept as a file in `conformance/fuzz/regression/`, and so becomes a test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use comfy_table::Table;

use crate::process;

/// Coverage as libFuzzer wants it: a counter and an address for each edge, and a call at each
/// comparison.
const COVERAGE_FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Optimised, but with every assertion and overflow check.
const PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
];

const SECONDS_DEFAULT: u64 = 60;
const SECONDS_SMOKE: u64 = 3;
/// One input may take this long: longer is a finding.
const INPUT_SECONDS_MAX: u64 = 10;
/// The fuzzer may grow to this: what leaks on every input is a finding.
const RESIDENT_MEGABYTES_MAX: u64 = 1500;

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Fuzz {
    /// A target; may be given several times. Without any, the targets are listed.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Every target, one after another.
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    /// Seconds for each target [default: 60].
    #[arg(long)]
    seconds: Option<u64>,
    /// Every target, a few seconds each: shows that all of it works.
    #[arg(long, conflicts_with_all = ["targets", "all", "seconds"])]
    smoke: bool,
}

impl Fuzz {
    /// Builds the fuzzer and runs targets; the last thing printed is a table of what came of each.
    ///
    /// # Errors
    /// When it cannot be built, a target is not known, or an input broke one.
    pub(crate) fn run(&self) -> Result<()> {
        let place = Place::new()?;
        let fuzzer = place.build()?;
        let known = known_targets(&fuzzer)?;
        let names: Vec<&str> = known.iter().map(|target| target.name.as_str()).collect();
        if let Some(unknown) = self.targets.iter().find(|name| !names.contains(&name.as_str())) {
            bail!("no target is called {unknown}; there are {}", names.join(", "));
        }
        if !self.all && !self.smoke && self.targets.is_empty() {
            println!("{}", names.join("\n"));
            return Ok(());
        }
        let seconds = self.seconds.unwrap_or(if self.smoke { SECONDS_SMOKE } else { SECONDS_DEFAULT });
        let wanted = |target: &&Known| self.targets.is_empty() || self.targets.contains(&target.name);
        let mut table = Table::new();
        table.set_header(["target", "runs", "CPU s", "cov", "features", "corpus", "memory", "crashes"]);
        let mut crashes = 0;
        for target in known.iter().filter(wanted) {
            println!("{}: {seconds} s", target.name);
            let result = place.fuzz(&fuzzer, target, seconds)?;
            crashes += result.crashes;
            table.add_row(result.row(&target.name));
        }
        println!("{table}");
        if 0 < crashes {
            bail!("{crashes} new inputs in conformance/fuzz/regression: cargo test -p conformance-fuzz");
        }
        Ok(())
    }
}

/// A target, as the fuzzer lists it.
struct Known {
    name: String,
    input_bytes_max: u64,
}

fn known_targets(fuzzer: &Path) -> Result<Vec<Known>> {
    let text = process::output(Command::new(fuzzer).env("SHOAL_FUZZ_TARGET", "list"))?;
    let line = |line: &str| {
        let (name, bytes) = line.split_once(' ')?;
        Some(Known { name: name.to_owned(), input_bytes_max: bytes.parse().ok()? })
    };
    text.lines().map(line).collect::<Option<_>>().context("the fuzzer's list of targets is not readable")
}

/// The folders that fuzzing works in.
struct Place {
    root: PathBuf,
    /// Builds, corpora and logs; made again by the next run if removed.
    work: PathBuf,
    triple: String,
}

impl Place {
    fn new() -> Result<Self> {
        let root = process::workspace();
        let version = process::words("rustc -vV")?;
        let triple =
            version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has no host")?;
        Ok(Self { work: root.join("target/fuzz"), root, triple: triple.to_owned() })
    }

    /// Builds the fuzzer. That a target triple is given keeps the counters out of build scripts and
    /// procedural macros.
    fn build(&self) -> Result<PathBuf> {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--package", "conformance-fuzz", "--bin", "fuzz"]);
        cargo.args(["--features", "libfuzzer", "--target", &self.triple, "--target-dir"]).arg(&self.work);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", COVERAGE_FLAGS.join("\x1f")).envs(PROFILE);
        process::run_command(cargo.current_dir(&self.root))?;
        Ok(self.work.join(&self.triple).join("release/fuzz"))
    }

    fn fuzz(&self, fuzzer: &Path, target: &Known, seconds: u64) -> Result<Outcome> {
        let name = &target.name;
        let corpus = self.work.join("corpus").join(name);
        let seeds = self.work.join("seeds").join(name);
        let regression = self.root.join("conformance/fuzz/regression").join(name);
        for folder in [&corpus, &seeds, &regression, &self.work.join("log")] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let before = file_count(&regression)?;
        let log = self.work.join("log").join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(fuzzer);
        command
            .env("SHOAL_FUZZ_TARGET", name)
            .env("SHOAL_FUZZ_SEEDS", &seeds)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={}", target.input_bytes_max))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={RESIDENT_MEGABYTES_MAX}"))
            .arg(format!("-artifact_prefix={}/", regression.display()))
            .args(["-use_value_profile=1", "-print_final_stats=1"])
            .args([&corpus, &seeds, &regression])
            .stdout(file.try_clone()?)
            .stderr(file);
        let cpu_before = children_cpu_seconds();
        let status = command.status().with_context(|| format!("cannot start {}", fuzzer.display()))?;
        let cpu_seconds = children_cpu_seconds() - cpu_before;
        let crashes = file_count(&regression)? - before;
        // Git keeps no empty folders, and neither does the test want any.
        let _ = fs::remove_dir(&regression);
        if !status.success() {
            println!("{}", process::tail(&log, 40));
            if crashes == 0 {
                bail!("{name}: the fuzzer ended with {status} and left no input: {}", log.display());
            }
        }
        Ok(Outcome { cpu_seconds, crashes, ..Outcome::read(&fs::read_to_string(&log)?) })
    }
}

fn file_count(folder: &Path) -> Result<usize> {
    Ok(fs::read_dir(folder).with_context(|| folder.display().to_string())?.count())
}

/// CPU time of all children that ended.
fn children_cpu_seconds() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills in the structure it is given, which is plain numbers and valid as
    // zeros if it fails.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec).unwrap_or(0)
}

/// What came of a target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    runs: String,
    /// Edges reached, by the seeds and in the end.
    cov_first: String,
    cov: String,
    features: String,
    corpus: String,
    memory: String,
    cpu_seconds: u64,
    crashes: usize,
}

impl Outcome {
    /// Reads libFuzzer's log and the fuzzer's last line.
    fn read(log: &str) -> Self {
        let mut outcome = Self::default();
        for line in log.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let behind = |word: &str| {
                let at = words.iter().position(|one| *one == word)?;
                words.get(at + 1).map(|found| (*found).to_owned())
            };
            if let (Some(cov), Some(features), Some(corpus)) =
                (behind("cov:"), behind("ft:"), behind("corp:"))
            {
                if outcome.cov_first.is_empty() {
                    outcome.cov_first.clone_from(&cov);
                }
                (outcome.cov, outcome.features, outcome.corpus) = (cov, features, corpus);
                outcome.runs = words[0].trim_start_matches('#').to_owned();
            }
            if let Some(runs) = behind("stat::number_of_executed_units:") {
                outcome.runs = runs;
            }
            if let (Some("memory:"), Some(single), Some(live), Some(percent)) =
                (words.first().copied(), behind("single"), behind("live"), behind("percent"))
            {
                outcome.memory = format!("{single} B single, {live} B live, {percent} % of bound");
            }
        }
        outcome
    }

    fn row(&self, name: &str) -> [String; 8] {
        let cov = format!("{} → {}", self.cov_first, self.cov);
        let (cpu, crashes) = (self.cpu_seconds.to_string(), self.crashes.to_string());
        [name, &self.runs, &cpu, &cov, &self.features, &self.corpus, &self.memory, &crashes]
            .map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read() {
        let log = "#144\tINITED cov: 813 ft: 3099 corp: 117/8200b exec/s: 0 rss: 29Mb\n\
            #9000\tDONE   cov: 1204 ft: 9000 corp: 500/20Kb lim: 4096 exec/s: 450 rss: 40Mb\n\
            stat::number_of_executed_units: 9001\n\
            memory: single 4090 live 12143 percent 5\n";
        let outcome = Outcome::read(log);
        assert_eq!((outcome.cov_first.as_str(), outcome.cov.as_str()), ("813", "1204"));
        assert_eq!((outcome.runs.as_str(), outcome.corpus.as_str()), ("9001", "500/20Kb"));
        assert_eq!(outcome.memory, "4090 B single, 12143 B live, 5 % of bound");
    }
}
