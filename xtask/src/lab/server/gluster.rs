//! GlusterFS, disperse 4+2 over six bricks on this machine, as its packages come: the closest peer
//! of an erasure-coded cluster.
//!
//! Mounted by its own FUSE client, or served by nfs-ganesha over the same volume. A brick is a
//! process; killing it is losing one of six servers. For the bench: the lab's scenarios want an NFS
//! server.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::ganesha::{Export, Ganesha};
use super::setup::{Setup, wait_for_port};
use crate::lab::network;
use crate::process;

/// What a client asks for.
pub(crate) const VOLUME: &str = "vol";

const BRICKS: usize = 6;
const DAEMON_PORT: u16 = 24007;
const START_SECONDS_MAX: u64 = 90;
/// One program plays the daemon, the bricks, self-heal and the FUSE client.
const PROGRAM: &str = "glusterfsd";
/// Fixed places of the machine that its daemons write to: the sandbox has its own.
const PLACES: [&str; 4] = ["/run", "/var/lib/glusterd", "/var/log/glusterfs", "/var/lib/nfs"];

/// The daemon, its bricks, and perhaps an NFS server before them.
#[derive(Debug)]
pub(crate) struct Gluster {
    setup: Setup,
    daemon: Option<Child>,
    ganesha: Option<Ganesha>,
}

impl Gluster {
    /// Starts it over empty bricks; `by_nfs` puts nfs-ganesha before it.
    pub(super) fn start(setup: Setup, by_nfs: bool) -> Result<Self> {
        for place in PLACES {
            process::words(&format!("mount -t tmpfs tmpfs {place}"))?;
        }
        for folder in ["/run/gluster", "/run/ganesha", "/var/lib/nfs/ganesha"] {
            std::fs::create_dir_all(folder)?;
        }
        network::add_address(network::SERVER)?;
        let mut server = Self { setup, daemon: None, ganesha: None };
        server.start_daemon()?;
        server.make_volume()?;
        server.wait_for("all bricks", |this| this.bricks_online() == BRICKS)?;
        if by_nfs {
            server.ganesha = Some(Ganesha::start(server.setup.clone(), Export::Volume)?);
        }
        Ok(server)
    }

    /// Starts what was killed; the daemon brings its bricks up by itself.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.start_daemon()?;
        self.wait_for("all bricks", |this| this.bricks_online() == BRICKS)?;
        self.ganesha.as_mut().map_or(Ok(()), Ganesha::resume)
    }

    fn start_daemon(&mut self) -> Result<()> {
        let mut child = process::start_logged(Command::new("glusterd").arg("-N"), &self.log())?;
        wait_for_port(network::SERVER, DAEMON_PORT, &mut child, &self.log())?;
        self.daemon = Some(child);
        self.wait_for("its daemon", |_| ask("volume list").is_ok())
    }

    fn make_volume(&self) -> Result<()> {
        let mut bricks = String::new();
        for number in 1..=BRICKS {
            let folder = self.brick(number);
            std::fs::create_dir_all(&folder)?;
            bricks = format!("{bricks} {}:{}", network::SERVER, folder.display());
        }
        ask(&format!("volume create {VOLUME} disperse-data 4 redundancy 2 transport tcp{bricks} force"))?;
        ask(&format!("volume start {VOLUME}")).map(drop)
    }

    fn brick(&self, number: usize) -> PathBuf {
        self.setup.data.join(format!("brick{number}"))
    }

    fn bricks_online(&self) -> usize {
        let said = ask(&format!("volume status {VOLUME} detail")).unwrap_or_default();
        let online = |line: &&str| {
            line.split_once(':').is_some_and(|(key, value)| key.trim() == "Online" && value.trim() == "Y")
        };
        said.lines().filter(online).count()
    }

    fn wait_for(&self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(START_SECONDS_MAX) {
            if done(self) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("GlusterFS: not {what} in {START_SECONDS_MAX} s\n{}", process::tail(&self.log(), 20))
    }

    /// Kills one brick; numbers begin at 1. It is not started again.
    pub(super) fn kill_brick(&self, number: usize) -> Result<()> {
        let folder = self.brick(number).display().to_string();
        let serves = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == folder.as_bytes())
        };
        let pid =
            running().into_iter().find(serves).with_context(|| format!("brick {number} does not run"))?;
        process::words(&format!("kill -KILL {pid}")).map(drop)
    }

    pub(super) fn kill(&mut self) {
        if let Some(ganesha) = &mut self.ganesha {
            ganesha.kill();
        }
        for pid in running() {
            let _ = process::words(&format!("kill -KILL {pid}"));
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
    }

    /// All of them: the daemon, the bricks, self-heal, nfs-ganesha, and a FUSE client on this
    /// machine, which does the coding.
    pub(super) fn process_ids(&self) -> Vec<u32> {
        running().into_iter().chain(self.ganesha.as_ref().and_then(Ganesha::process_id)).collect()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.setup.folder.join("gluster.log")
    }
}

impl Drop for Gluster {
    fn drop(&mut self) {
        self.kill();
        self.ganesha = None;
        let _ = network::drop_address(network::SERVER);
        for place in PLACES {
            let _ = process::words(&format!("umount -l {place}"));
        }
    }
}

fn ask(words: &str) -> Result<String> {
    process::words(&format!("timeout 60 gluster --mode=script {words}"))
}

/// Its processes in this sandbox. They detach themselves, so they are no children of this process.
fn running() -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pid = |entry: std::fs::DirEntry| {
        let program = std::fs::read_link(entry.path().join("exe")).ok()?;
        let is_one = program.file_name().is_some_and(|name| name == PROGRAM);
        is_one.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    };
    folder.filter_map(Result::ok).filter_map(pid).collect()
}
