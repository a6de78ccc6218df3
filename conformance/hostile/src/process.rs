//! One server process: started with everybody's umask at its loosest, watched through `/proc`, signalled, and killed in the end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::failed::{During, Outcome, failed};

/// A running server.
pub(crate) struct Process {
    pub(crate) name: String,
    arguments: Vec<String>,
    program: PathBuf,
    log: PathBuf,
    child: Child,
}

/// What a process uses now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    pub(crate) rss_bytes: u64,
    pub(crate) descriptors: u64,
}

impl Process {
    /// Starts one; what it says goes to `log`, behind what is there.
    pub(crate) fn start(program: &Path, name: &str, arguments: Vec<String>, log: PathBuf) -> Outcome<Self> {
        let child = spawn(program, &arguments, &log).during(&format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), arguments, program: program.to_owned(), log, child })
    }

    /// The same again, after it ended.
    pub(crate) fn start_again(&mut self) -> Outcome<()> {
        self.child = spawn(&self.program, &self.arguments, &self.log)
            .during(&format!("cannot start {} again", self.name))?;
        Ok(())
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if it has ended.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Everything that it said.
    pub(crate) fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes that it said.
    pub(crate) fn said_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// Sends a signal, by the name that `kill` knows.
    pub(crate) fn signal(&self, signal: &str) -> Outcome<()> {
        command("kill", &[&format!("-{signal}"), &self.id().to_string()]).map(drop)
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Memory and descriptors now; nothing if it has ended.
    pub(crate) fn used(&self) -> Option<Use> {
        let place = PathBuf::from(format!("/proc/{}", self.id()));
        let status = std::fs::read_to_string(place.join("status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        let descriptors = std::fs::read_dir(place.join("fd")).ok()?.count() as u64;
        Some(Use { rss_bytes: kib << 10, descriptors })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was stopped by a signal ends all the same.
        self.kill();
    }
}

fn spawn(program: &Path, arguments: &[String], log: &Path) -> std::io::Result<Child> {
    let out = File::options().create(true).append(true).open(log)?;
    let errors = out.try_clone()?;
    // A write beyond a limit of the file's size is an error then, and does not end the process.
    Command::new("env")
        .args(["--ignore-signal=XFSZ", "sh", "-c", "umask 000; exec \"$@\"", "sh"])
        .arg(program)
        .args(arguments)
        .env_remove("SHOAL_LOG")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors)
        .spawn()
}

/// Runs a command that must succeed; what it printed.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Outcome<String> {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output().during(program)?;
    if !done.status.success() {
        let errors = String::from_utf8_lossy(&done.stderr);
        return Err(failed(format!("{program} {}: {}: {errors}", arguments.join(" "), done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
