//! Running other programs: one line for "it must succeed", one for "tell me what it said".
//!
//! Every failure carries the command and what the program wrote, so that no caller has to.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command with its arguments, ready to run.
pub(crate) fn command<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs a command to its end with this process's own output.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub(crate) fn run_command(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the error holds what it wrote.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        bail!("{command:?}: {}\n{text}{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    Ok(text)
}

/// Runs `words` split at spaces: for commands without any argument that holds one.
///
/// # Errors
/// As [`output`].
pub(crate) fn words(line: &str) -> Result<String> {
    let mut parts = line.split_whitespace();
    let program = parts.next().context("an empty command")?;
    output(&mut command(program, parts))
}

/// Starts a command in the background, its output appended to `log`.
///
/// # Errors
/// When the log cannot be written or the command not be started.
pub(crate) fn start_logged(command: &mut Command, log: &Path) -> Result<Child> {
    let file =
        File::options().create(true).append(true).open(log).with_context(|| format!("{}", log.display()))?;
    let errors = file.try_clone()?;
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))
}

/// Where a program is on the search path or in the system folders, if it is anywhere.
pub(crate) fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether this process may do everything (its user is root).
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The last `lines` lines of a file, or a word on why there are none.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes), lines),
        Err(error) => format!("({}: {error})", path.display()),
    }
}

/// The last `lines` lines of a text.
pub(crate) fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The workspace's root folder.
pub(crate) fn workspace() -> std::path::PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Runs a command, passes on every line it writes, and returns its status and the lines.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn echo(command: &mut Command) -> Result<(std::process::ExitStatus, Vec<String>)> {
    use std::io::{BufRead, BufReader};
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let errors = child.stderr.take().context("no standard error")?;
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(errors).lines().map_while(Result::ok);
        lines.inspect(|line| eprintln!("{line}")).collect::<Vec<_>>()
    });
    let from = child.stdout.take().context("no standard output")?;
    let written: Vec<String> =
        BufReader::new(from).lines().map_while(Result::ok).inspect(|line| println!("{line}")).collect();
    let mut lines = reader.join().unwrap_or_default();
    lines.extend(written);
    Ok((child.wait()?, lines))
}
