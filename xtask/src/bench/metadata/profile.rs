//! Where the processor time of a server goes while files are made: `perf record` of all its nodes,
//! each sample counted once, under the first part that any of its frames belongs to.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};

use crate::process::{self, find_program};

/// Samples a second: no divisor of the timers' rates.
const RATE_HZ: u32 = 299;
/// Of a sample's stack so much is kept.
const STACK_BYTES: u32 = 16 << 10;

/// A part, and what the names of functions hold that are of it.
type Part = (&'static str, &'static [&'static str]);

/// The first that fits counts: what is carried out, and what goes to the store and the log, is
/// asked for by everything below.
const PARTS: [Part; 8] = [
    ("carrying out commands", &["mds_state::apply::"]),
    ("writing a batch into the store", &["mds_raft::engine::machine::"]),
    ("the log", &["mds_wal::", "mds_raft::engine::log_store::", "wal::"]),
    ("between nodes", &["mds_raft::engine::", "mds_raft::node::"]),
    ("the Raft engine", &["openraft::"]),
    ("writing to sockets", &["__sys_sendto", "__sys_sendmsg", "tcp_sendmsg", "sock_write_iter"]),
    ("reading from sockets", &["__sys_recvfrom", "__sys_recvmsg", "tcp_recvmsg", "sock_read_iter"]),
    ("compounds", &["mds_server::", "wire_nfs::"]),
];
const REST: &str = "the rest: tasks, wakeups, timers, memory";

/// `perf record`, running.
pub(super) struct Sampler {
    child: Child,
    file: PathBuf,
}

/// Samples of each process, by part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Samples(BTreeMap<u32, BTreeMap<&'static str, u64>>);

impl Sampler {
    /// Begins to look at these processes.
    ///
    /// # Errors
    /// When there is no `perf`, or it may not.
    pub(super) fn start(processes: &[u32], folder: &Path) -> Result<Self> {
        let Some(perf) = find_program("perf") else { bail!("--profile needs perf (package linux-perf)") };
        let file = folder.join("create.perf");
        let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
        let mut command = Command::new(perf);
        command.args(["record", "--quiet", "--freq", &RATE_HZ.to_string()]);
        command.args(["--call-graph", &format!("dwarf,{STACK_BYTES}"), "--pid", &processes.join(",")]);
        command.arg("--output").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, file })
    }

    /// Ends it; what it saw.
    ///
    /// # Errors
    /// When it failed, or what it wrote cannot be read.
    pub(super) fn stop(mut self) -> Result<Samples> {
        // SIGINT is how it is asked to write its file and end.
        process::words(&format!("kill -INT {}", self.child.id())).context("perf record ended early")?;
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut said)?;
        }
        self.child.wait()?;
        let mut script = Command::new("perf");
        script.args(["script", "--no-inline", "--fields", "pid,ip,sym", "--input"]).arg(&self.file);
        let text = process::output(&mut script).with_context(|| said)?;
        std::fs::remove_file(&self.file)?;
        Ok(Samples::parse(&text))
    }
}

impl Samples {
    /// Reads what `perf script` prints: a line with the process, a line for each frame from the
    /// innermost on, an empty line.
    fn parse(text: &str) -> Self {
        let mut samples = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Ok(process) = line.trim().parse() else { continue };
            let frames: Vec<&str> = lines.by_ref().take_while(|line| !line.trim().is_empty()).collect();
            let is_of =
                |part: &&Part| frames.iter().any(|frame| part.1.iter().any(|name| frame.contains(name)));
            let part = PARTS.iter().find(is_of).map_or(REST, |part| part.0);
            *samples.0.entry(process).or_default().entry(part).or_default() += 1;
        }
        samples
    }

    /// In per cent of what all processes took: the one that took most (it serves the clients), and
    /// the others.
    pub(super) fn table(&self, label: &str) -> String {
        let all: u64 = self.0.values().flat_map(BTreeMap::values).sum();
        let took = |process: &u32| self.0[process].values().sum::<u64>();
        let Some(first) = self.0.keys().copied().max_by_key(took) else {
            return format!("{label}: no samples");
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            format!("{label}: {all} samples"),
            "%, all nodes".to_owned(),
            "who serves clients".to_owned(),
            "the others".to_owned(),
        ]);
        for part in PARTS.iter().map(|part| part.0).chain([REST]) {
            let of = |process: &u32| self.0[process].get(part).copied().unwrap_or(0);
            let sum: u64 = self.0.keys().map(of).sum();
            let percent = |count: u64| format!("{:.1}", 100.0 * count as f64 / all as f64);
            table.add_row([part.to_owned(), percent(sum), percent(of(&first)), percent(sum - of(&first))]);
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `perf script --fields pid,ip,sym` prints it.
    const SCRIPT: &str = "\
  70 
\t          1f0a3 malloc
\t          1f0a3 <mds_state::apply::Machine>::apply
\t          1f0a3 openraft::core::raft_core::RaftCore::run_main
\t          1f0a3 main

  70 
\t          1f0a3 tcp_sendmsg
\t          1f0a3 tokio::net::TcpStream::poll_write
\t          1f0a3 main

  71 
\t          1f0a3 openraft::engine::Engine::handle
\t          1f0a3 main

  70 
\t          1f0a3 native_queued_spin_lock_slowpath

";

    #[test]
    fn a_sample_counts_under_the_first_part_that_any_frame_is_of() {
        let samples = Samples::parse(SCRIPT);
        let of = |process: u32| &samples.0[&process];
        assert_eq!(
            of(70),
            &BTreeMap::from([("carrying out commands", 1), ("writing to sockets", 1), (REST, 1)])
        );
        assert_eq!(of(71), &BTreeMap::from([("the Raft engine", 1)]));
        let table = samples.table("two nodes");
        assert!(table.contains("two nodes: 4 samples"), "{table}");
        let line = |part: &str| table.lines().find(|line| line.trim().starts_with(part)).unwrap().to_owned();
        let words = |part| line(part).split_whitespace().rev().take(3).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("the Raft engine"), ["25.0", "0.0", "25.0"]);
        assert_eq!(words("carrying out commands"), ["0.0", "25.0", "25.0"]);
    }

    #[test]
    fn nothing_sampled_is_said() {
        assert_eq!(Samples::parse("").table("one node"), "one node: no samples");
    }
}
