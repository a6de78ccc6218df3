//! The lab's own network, mounts and processes: namespaces that vanish with the process that made
//! them.
//!
//! `enter` starts this program again under `unshare` with a new network, mount and process
//! namespace. The inner program is the first process there, so the kernel ends every guest and
//! server when it ends, and with them go the bridge, the taps and the mounts. Nothing outside has a
//! name that could collide, so labs run side by side.
//!
//! INVARIANT: the inner program ends when the outer one does, however that one ends: it holds the
//! reading end of a pipe whose writing end only the outer one has.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::process;

const INSIDE: &str = "SHOAL_LAB_INSIDE";
/// The program under test, in the run's folder.
const SERVED: &str = "shoal";
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether this process is the one inside.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The copy of the program under test that this run has, inside.
pub(crate) fn served() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(|folder| PathBuf::from(folder).join(SERVED)).filter(|copy| copy.exists())
}

/// Runs this program again, with the same arguments, inside new namespaces, with a copy of the
/// program under test; returns its exit code. The run's folder is made before and, unless it is to
/// be kept, removed afterwards.
///
/// # Errors
/// When this is not root, or the folder cannot be made, or `unshare` cannot be started.
pub(crate) fn enter(keep: bool, served: &Path) -> Result<i32> {
    if !process::is_root() {
        bail!(
            "the lab makes namespaces and taps: run it as root (sudo -E env PATH=\"$PATH\" cargo xtask lab ...)"
        );
    }
    let folder = make_folder()?;
    // Copies, which guests run too: both programs may be rebuilt while the lab runs.
    let own = folder.join("xtask");
    std::fs::copy(std::env::current_exe()?, &own).context("cannot copy this program to the run's folder")?;
    if served.exists() {
        std::fs::copy(served, folder.join(SERVED)).context("cannot copy shoal to the run's folder")?;
    }
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--"])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, &folder)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start unshare (Debian package util-linux)")?;
    // The pipe's writing end lives as long as this process: its closing is the word to end.
    let held = child.stdin.take();
    let status = child.wait()?;
    drop(held);
    if !keep {
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(status.code().unwrap_or(1))
}

/// A new folder below `.lab/` of the workspace: on the same disk as the build, never in a tmpfs.
fn make_folder() -> Result<PathBuf> {
    let base = process::workspace().join(".lab");
    std::fs::create_dir_all(&base)?;
    for number in 1..1000 {
        let folder = base.join(format!("run-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", folder.display())),
        }
    }
    bail!("{} is full of runs: remove some", base.display())
}

/// Prepares the inside: a watch on the outer process, room for the guests' memory, the loop-back
/// link. Returns the run's folder.
///
/// # Errors
/// When a mount or a link is refused.
pub(crate) fn settle(keep: bool) -> Result<PathBuf> {
    let folder = PathBuf::from(std::env::var_os(INSIDE).context("this is not the inside")?);
    let doomed = (!keep).then(|| folder.clone());
    std::thread::spawn(move || watch_outer(doomed));
    // A guest's memory is a file there; a container's own is often 64 MiB.
    process::words("mount -t tmpfs -o size=90% tmpfs /dev/shm")?;
    process::words("ip link set lo up")?;
    Ok(folder)
}

/// Ends the inner process, unless the watch has begun to: then that one ends it, when it has tidied
/// up.
pub(crate) fn leave(code: i32) -> ! {
    while ENDING.load(Ordering::Acquire) {
        std::thread::park();
    }
    std::process::exit(code)
}

fn watch_outer(doomed: Option<PathBuf>) {
    let mut byte = [0u8; 1];
    // Nothing is ever written: whatever comes back is the end of the outer process.
    let _ = std::io::stdin().read(&mut byte);
    ENDING.store(true, Ordering::Release);
    // Twice: the other thread may be about to start something.
    for _ in 0..2 {
        let _ = process::words("kill -KILL -1");
        if let Some(folder) = &doomed {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    std::process::exit(130);
}
