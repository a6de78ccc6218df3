//! One server process: started with everybody's umask at its loosest, watched through `/proc`,
//! signalled, and killed in the end.

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

/// What a process uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    /// The most so far, as the kernel counts it: what is there between two samples counts, too.
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

    /// Waits until it has ended by itself.
    #[cfg(test)]
    fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait()
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

    /// Whether a signal has stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The most memory since its start, and descriptors now; nothing if it has ended.
    pub(crate) fn used(&self) -> Option<Use> {
        let place = PathBuf::from(format!("/proc/{}", self.id()));
        let status = std::fs::read_to_string(place.join("status")).ok()?;
        let kib = most_kib(&status)?;
        let descriptors = std::fs::read_dir(place.join("fd")).ok()?.count() as u64;
        Some(Use { rss_bytes: kib << 10, descriptors })
    }
}

/// The most memory that a process had at any time, of its `/proc/PID/status`; none if it is ending.
fn most_kib(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was stopped by a signal ends all the same.
        self.kill();
    }
}

/// Starts the program with no file private by itself. The kernel ends it with the thread that
/// started it, for nothing is dropped where this process is killed; where `setpriv` is missing, it
/// is only ended by [`Process::kill`].
const START: &str =
    r#"umask 000; command -v setpriv >/dev/null && exec setpriv --pdeathsig KILL -- "$@"; exec "$@""#;

fn spawn(program: &Path, arguments: &[String], log: &Path) -> std::io::Result<Child> {
    let out = File::options().create(true).append(true).open(log)?;
    let errors = out.try_clone()?;
    // A write beyond a limit of the file's size is an error then, and does not end the process.
    Command::new("env")
        .args(["--ignore-signal=XFSZ", "sh", "-c", START, "sh"])
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

#[cfg(test)]
mod tests {
    use super::{Process, most_kib};

    #[test]
    fn the_most_memory_counts_not_what_is_left_of_it() {
        assert_eq!(most_kib("VmPeak:\t 9000 kB\nVmHWM:\t 2048 kB\nVmRSS:\t 1024 kB\n"), Some(2048));
        assert_eq!(most_kib("State:\tZ (zombie)\n"), None);
    }

    #[test]
    fn a_process_is_told_to_end_with_the_thread_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let start = move || {
            let words = vec!["60".to_owned()];
            let started = Process::start("sleep".as_ref(), "sleep", words, log).unwrap();
            let comm = format!("/proc/{}/comm", started.id());
            while std::fs::read_to_string(&comm).unwrap().trim() != "sleep" {
                std::thread::yield_now();
            }
            started
        };
        let mut left = std::thread::spawn(start).join().unwrap();
        // Without `setpriv` there is nothing to see.
        if std::process::Command::new("setpriv").arg("--version").output().is_ok() {
            assert!(!left.wait().unwrap().success());
        }
    }
}
