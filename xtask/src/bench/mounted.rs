//! The client's side of one server: how it is mounted, and acts on the mount, in the guest or, for
//! a FUSE client on this machine's own kernel, here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::round_trips::{self, RoundTrips};
use crate::lab::bench_parts::{self, Guest, Mounting, SERVER, VOLUME};
use crate::process;

/// A mount that comes and goes.
#[derive(Debug)]
pub(super) struct Mounted<'a> {
    guest: &'a Guest,
    how: Mounting,
    at: PathBuf,
}

impl<'a> Mounted<'a> {
    /// Nothing is mounted yet. `folder` is the run's.
    pub(super) fn new(guest: &'a Guest, how: Mounting, folder: &Path) -> Self {
        let at = if how == Mounting::FuseHere { folder.join("mnt") } else { PathBuf::from("/mnt/c") };
        Self { guest, how, at }
    }

    /// The path of something on the mount.
    pub(super) fn path(&self, name: &str) -> String {
        self.at.join(name).display().to_string()
    }

    pub(super) fn mount(&self) -> Result<()> {
        let fuse = |log: &str| {
            let place = self.at.display();
            format!(
                "mkdir -p {place}; glusterfs --volfile-server={SERVER} --volfile-id={VOLUME} --log-file={log} {place} && \
                 for i in $(seq 150); do mountpoint -q {place} && stat {place}/. >/dev/null && exit 0; sleep 0.2; done; \
                 tail -20 {log} >&2; exit 1"
            )
        };
        match self.how {
            Mounting::Nfs(version) => bench_parts::mount(self.guest, version),
            Mounting::FuseInGuest => {
                let script = format!("ip neigh flush all; /run/modprobe fuse; {}", fuse("/tmp/gluster.log"));
                self.run(&script, 90).map(drop)
            }
            Mounting::FuseHere => self.run(&fuse("/run/gluster/client.log"), 90).map(drop),
        }
    }

    /// Unmounts, and nothing of the files stays in the client's memory.
    pub(super) fn unmount(&self) -> Result<()> {
        let place = self.at.display();
        self.run(&format!("umount {place}; sync; echo 3 >/proc/sys/vm/drop_caches"), 200).map(drop)
    }

    /// Whatever is still mounted goes, by force.
    pub(super) fn end(&self) {
        let place = self.at.display();
        let _ =
            self.run(&format!("mountpoint -q {place} && (umount -f {place} || umount -l {place}); true"), 60);
    }

    /// Runs a script where the mount is.
    pub(super) fn run(&self, script: &str, seconds: u64) -> Result<String> {
        if self.how != Mounting::FuseHere {
            return self.guest.run_within(script, seconds);
        }
        let limit = format!("{seconds}s");
        process::output(Command::new("timeout").args(["-s", "KILL", &limit, "sh", "-c", script]))
    }

    /// Runs an act of `guest-op` where the mount is; the number it prints.
    pub(super) fn op(&self, act: &str, seconds: u64) -> Result<f64> {
        let line = if self.how == Mounting::FuseHere {
            let own = std::env::current_exe().context("this program has no path")?;
            format!("{} guest-op {act}", own.display())
        } else {
            self.guest.op(act)?
        };
        let said = self.run(&line, seconds)?;
        let Ok(number) = said.trim().parse() else { bail!("{act} said {said:?}") };
        Ok(number)
    }

    /// What the client's kernel counts, if it is an NFS client.
    pub(super) fn round_trips(&self) -> Result<Vec<RoundTrips>> {
        match self.how {
            Mounting::Nfs(_) => Ok(round_trips::parse(&self.guest.run(round_trips::STATISTICS)?)),
            Mounting::FuseInGuest | Mounting::FuseHere => Ok(Vec::new()),
        }
    }
}
