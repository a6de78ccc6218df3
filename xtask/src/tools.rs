//! What a Debian machine must have for the lab and the bench, and how it gets there without any
//! daemon of it running.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// For guests, mounts and the programs that run on them.
const LAB: [&str; 16] = [
    "kmod",
    "nfs-common",
    "iproute2",
    "iputils-ping",
    "rpcbind",
    "patchelf",
    "e2fsprogs",
    "fio",
    "sqlite3",
    "make",
    "gcc",
    "libc6-dev",
    "git",
    "tar",
    "debian-archive-keyring",
    "postgresql",
];
/// For the lines of `lab shell`, and their reference.
const SHELL: [&str; 10] = [
    "nfs-kernel-server",
    "bash",
    "bsdextrautils",
    "diffutils",
    "ed",
    "patch",
    "python3-minimal",
    "rsync",
    "util-linux",
    "xfsprogs",
];
/// The rivals.
const BENCH: [&str; 7] = [
    "nfs-ganesha",
    "nfs-ganesha-vfs",
    "nfs-kernel-server",
    "glusterfs-server",
    "glusterfs-client",
    "nfs-ganesha-gluster",
    "fuse3",
];
/// Units these packages bring: none may stay enabled that was not there before.
const UNITS: [(&str, &[&str]); 6] = [
    ("postgresql", &["postgresql.service"]),
    ("rpcbind", &["rpcbind.service", "rpcbind.socket"]),
    ("nfs-common", &["nfs-client.target", "rpc-statd.service"]),
    ("nfs-ganesha", &["nfs-ganesha.service", "nfs-ganesha-lock.service"]),
    ("nfs-kernel-server", &["nfs-server.service", "nfs-blkmap.service"]),
    ("glusterfs-server", &["glusterd.service", "glustereventsd.service"]),
];
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Which tools.
#[derive(Debug, clap::Args)]
pub(crate) struct Tools {
    /// Also the rival servers of the bench.
    #[arg(long)]
    bench: bool,
    /// Only say what is missing.
    #[arg(long)]
    check: bool,
}

impl Tools {
    /// Names or installs what is missing.
    ///
    /// # Errors
    /// When something is missing and is not installed.
    pub(crate) fn run(&self) -> Result<()> {
        let missing = missing(&wanted(self.bench, true))?;
        if missing.is_empty() {
            println!("nothing is missing");
            return Ok(());
        }
        if self.check {
            bail!("missing: {}", missing.join(" "));
        }
        install_missing(&wanted(self.bench, true))
    }
}

/// Installs what is missing, as root; otherwise names it.
///
/// # Errors
/// When something stays missing.
pub(crate) fn ensure(bench: bool) -> Result<()> {
    install_missing(&wanted(bench, false))
}

/// [`ensure`] for what the lines of `lab shell` run, and for knfsd, their reference.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_for_shell() -> Result<()> {
    install_missing(&wanted(false, true))
}

fn wanted(bench: bool, shell: bool) -> Vec<&'static str> {
    let rivals: &[&str] = if bench { &BENCH } else { &[] };
    let lines: &[&str] = if shell { &SHELL } else { &[] };
    LAB.iter().chain(rivals).chain(lines).copied().collect()
}

fn install_missing(wanted: &[&'static str]) -> Result<()> {
    let absent = missing(wanted)?;
    if absent.is_empty() {
        return Ok(());
    }
    if !process::is_root() {
        bail!("this machine lacks: {0}\nas root: apt-get install {0}", absent.join(" "));
    }
    println!("installing {}", absent.join(" "));
    let guard = Guard::place()?;
    let installed = install(&absent);
    drop(guard);
    installed?;
    disable_units(&absent);
    match missing(wanted)? {
        left if left.is_empty() => Ok(()),
        left => bail!("still missing: {}", left.join(" ")),
    }
}

fn missing(wanted: &[&'static str]) -> Result<Vec<&'static str>> {
    if process::find_program("dpkg-query").is_none() {
        bail!("this is no Debian-like machine (no dpkg); the lab needs the programs of: {}", LAB.join(" "));
    }
    let absent = |package: &&'static str| !is_installed(package) && !has_programs_of(package);
    Ok(wanted.iter().copied().filter(absent).collect())
}

fn is_installed(package: &str) -> bool {
    process::output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev}", package]))
        .is_ok_and(|state| state.starts_with("ii"))
}

/// A compiler or a git from elsewhere does as well as Debian's.
fn has_programs_of(package: &str) -> bool {
    matches!(package, "git" | "gcc" | "make" | "tar" | "fio" | "sqlite3" | "patchelf")
        && process::find_program(package).is_some()
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-y", "--no-install-recommends"]).args(arguments);
        process::output(command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C"))
    };
    apt(&["update"])?;
    apt(&[&["install"], packages].concat()).map(drop)
}

/// Freshly installed servers are for the sandbox only: nothing of them starts with this machine.
fn disable_units(installed: &[&str]) {
    for (package, units) in UNITS {
        if installed.contains(&package) && process::find_program("systemctl").is_some() {
            let _ = process::output(Command::new("systemctl").args(["disable", "--now"]).args(units));
            // Without a running systemd `--now` fails before it has disabled anything.
            let _ = process::output(Command::new("systemctl").arg("disable").args(units));
        }
    }
}

/// Debian's own way to keep package scripts from starting services: while it lives, they are told
/// no.
struct Guard {
    ours: bool,
}

impl Guard {
    fn place() -> Result<Self> {
        let mut options = fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o755).open(POLICY) {
            Ok(mut file) => {
                file.write_all(b"#!/bin/sh\nexit 101\n").with_context(|| POLICY.to_owned())?;
                Ok(Self { ours: true })
            }
            // The machine has a policy already: it stays as it is.
            Err(_) if Path::new(POLICY).exists() => Ok(Self { ours: false }),
            Err(error) => Err(error).context(POLICY),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
