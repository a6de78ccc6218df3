//! The client of the metadata benches: our own NFSv4.1 client of `conformance/load`, as a process
//! that does one act when it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::{self, workspace};

/// What is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) sessions: usize,
    pub(super) directories: u64,
    pub(super) files: u64,
    /// Making and looking up end after so many seconds.
    pub(super) seconds: Option<u64>,
    pub(super) acts: &'static [&'static str],
}

/// What it says of an act.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measured {
    pub(super) act: String,
    pub(super) done: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) longest_us: u64,
}

/// It, running.
pub(super) struct Load {
    child: Child,
    signal: ChildStdin,
    said: BufReader<ChildStdout>,
}

/// Builds it.
///
/// # Errors
/// When it does not compile.
pub(super) fn build() -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--quiet", "--package", "conformance-load"]);
    process::run_command(cargo.current_dir(workspace()))
}

fn program() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("release/nfs-load")
}

impl Load {
    /// Starts it. It makes its sessions, and waits.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(plan: &Plan) -> Result<Self> {
        let servers = plan.servers.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(program());
        command.args(["--steps", "--server", &servers, "--act", &plan.acts.join(",")]);
        command.args(["--sessions", &plan.sessions.to_string()]);
        command.args(["--directories", &plan.directories.to_string()]);
        command.args(["--files", &plan.files.to_string()]);
        if let Some(seconds) = plan.seconds {
            command.args(["--seconds", &seconds.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let signal = child.stdin.take().context("no pipe to the load")?;
        let said = BufReader::new(child.stdout.take().context("no pipe from the load")?);
        Ok(Self { child, signal, said })
    }

    /// Has it do its next act.
    ///
    /// # Errors
    /// When it fails; it has said why.
    pub(super) fn step(&mut self) -> Result<Measured> {
        self.signal.write_all(b"\n").context("the load has ended")?;
        let mut line = String::new();
        if self.said.read_line(&mut line)? == 0 {
            bail!("the load ended: {}", self.child.wait()?);
        }
        serde_json::from_str(&line).context("the load's figures")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
