//! What a scenario plays on: two guests of one kernel, a server, a folder of its own on the mount.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::failover::Fault;
use super::fsx::Bounds;
use super::guest::{Guest, Plan};
use super::kernels::Kernel;
use super::metrics::Metrics;
use super::network;
use super::server::knfsd::Knfsd;
use super::server::{Kind, Server, Setup};

/// Where the reference is mounted in the guests.
pub(crate) const REFERENCE_MOUNT: &str = "/mnt/reference";

/// Everything a scenario may use.
pub(crate) struct Stage {
    pub(crate) a: Guest,
    pub(crate) b: Guest,
    pub(crate) server: Server,
    pub(crate) kind: Kind,
    /// The run's folder, `/mnt/lab` in the guests.
    pub(crate) folder: PathBuf,
    /// The cache folder of the machine (kernels, programs).
    pub(crate) cache: PathBuf,
    pub(crate) rounds: u32,
    /// What is done in each round of the failover scenario, if it is always the same.
    pub(crate) fault: Option<Fault>,
    pub(crate) seed: u64,
    /// How long the exerciser runs.
    pub(crate) fsx: Bounds,
    /// The words of `--only`, for scenarios that have parts.
    pub(crate) only: Vec<String>,
    /// The scenario's folder on the mount.
    pub(crate) dir: String,
    /// knfsd beside the server under test, from the first scenario that compares with it.
    reference: Option<Knfsd>,
    setup: Setup,
    servers: u32,
}

impl Stage {
    /// Boots both guests and starts the server over an empty folder.
    ///
    /// # Errors
    /// When any of them does not come up.
    pub(crate) fn build(kind: Kind, kernel: &Kernel, mut setup: Setup, cache: PathBuf) -> Result<Self> {
        let folder = setup.folder.clone();
        let plan = |name: &str, address: &str| Plan {
            name: name.to_owned(),
            address: address.to_owned(),
            memory_mib: 1024,
            disk: None,
        };
        let booted = std::thread::scope(|scope| {
            let b = scope.spawn(|| Guest::boot(&folder, kernel, plan("b", "10.77.0.3")));
            let a = Guest::boot(&folder, kernel, plan("a", "10.77.0.2"));
            (a, b.join())
        });
        let a = booted.0?;
        let b = booted.1.map_err(|_| anyhow::anyhow!("the second guest's boot panicked"))??;
        setup.data = folder.join(format!("server-{}-0", kernel.name));
        let server = Server::start(kind, setup.clone())?;
        let dir = String::new();
        Ok(Self {
            a,
            b,
            server,
            kind,
            folder,
            cache,
            rounds: 0,
            fault: None,
            seed: 0,
            fsx: Bounds::default(),
            only: Vec::new(),
            dir,
            reference: None,
            setup,
            servers: 0,
        })
    }

    /// Ends the server, removes its data and starts a new one over an empty folder, with
    /// `capacity_bytes` at most. Nothing may be mounted.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn new_server(&mut self, capacity_bytes: Option<u64>) -> Result<()> {
        self.new_server_of(self.kind, capacity_bytes)
    }

    /// [`Self::new_server`] of another kind than the run's.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn new_server_of(&mut self, kind: Kind, capacity_bytes: Option<u64>) -> Result<()> {
        self.server.kill();
        let old = self.setup.data.clone();
        self.servers += 1;
        let setup = Setup {
            data: self.folder.join(format!("server-{}-{}", self.a.kernel.name, self.servers)),
            capacity_bytes,
            ..self.setup.clone()
        };
        self.server = Server::Ended;
        let _ = std::fs::remove_dir_all(old);
        self.server = Server::start(kind, setup.clone())?;
        self.setup = setup;
        Ok(())
    }

    /// Plays on a server of another kind than the run's, of `capacity_bytes` at most, mounted in
    /// both guests; the run's own follows. Tells what is blocked when it went wrong.
    ///
    /// # Errors
    /// What `play` says, or when a server does not come up or cannot be mounted.
    pub(crate) fn with_server_of(
        &mut self,
        kind: Kind,
        capacity_bytes: Option<u64>,
        play: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.new_server_of(kind, capacity_bytes)?;
        self.mount_both("vers=4.2")?;
        let outcome = play(self);
        if outcome.is_err() {
            println!("  {}", self.a.blocked_tasks());
        }
        self.unmount_both();
        self.new_server(None)?;
        outcome
    }

    /// Both guests.
    pub(crate) fn guests(&self) -> [&Guest; 2] {
        [&self.a, &self.b]
    }

    /// Mounts the server in both guests.
    ///
    /// # Errors
    /// When a mount fails.
    pub(crate) fn mount_both(&self, options: &str) -> Result<()> {
        self.guests().into_iter().try_for_each(|guest| mount(guest, options))
    }

    /// Mounts the reference at [`REFERENCE_MOUNT`] in both guests, starting it if it does not run
    /// yet.
    ///
    /// # Errors
    /// When it does not come up, or a mount fails.
    pub(crate) fn mount_reference(&mut self) -> Result<()> {
        if self.reference.is_none() {
            let data = self.folder.join(format!("reference-{}", self.a.kernel.name));
            let setup = Setup { data, capacity_bytes: None, ..self.setup.clone() };
            self.reference = Some(Knfsd::start_reference(setup)?);
        }
        let script = format!(
            "mountpoint -q {REFERENCE_MOUNT} || {{ mkdir -p {REFERENCE_MOUNT} && \
             mount -t nfs4 -o vers=4.2 {}:/ {REFERENCE_MOUNT}; }}",
            network::REFERENCE
        );
        self.guests().into_iter().try_for_each(|guest| guest.run_within(&script, 60).map(drop))
    }

    /// Unmounts in both guests, by force if it must be.
    pub(crate) fn unmount_both(&self) {
        for guest in self.guests() {
            let script = "cd /; mountpoint -q /mnt/c || exit 0; umount /mnt/c || umount -f -l /mnt/c";
            let _ = guest.run_within(script, 60);
        }
    }

    /// The server's counters, for the scenarios that only ours can play.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        self.server.metrics()?.context("this server has no counters")
    }

    /// Whether layouts are to be seen.
    pub(crate) fn has_layouts(&self) -> bool {
        self.kind.is_ours() || self.kind == Kind::Knfsd
    }

    /// Fails unless the mount of `guest` uses flexible-files layouts and has asked for some.
    ///
    /// # Errors
    /// When the guest's own statistics say otherwise.
    pub(crate) fn expect_layouts(&self, guest: &Guest) -> Result<()> {
        if !self.has_layouts() {
            return Ok(());
        }
        let stats = guest.run(
            "awk '/ mounted on \\/mnt\\/c /{on=1} /^device/&&!/\\/mnt\\/c /{on=0} on' /proc/self/mountstats",
        )?;
        ensure!(stats.contains("pnfs=LAYOUT_FLEX_FILES"), "no flexible-files layouts:\n{stats}");
        let asked = |line: &str| {
            line.trim().strip_prefix("LAYOUTGET:")?.split_whitespace().next()?.parse::<u64>().ok()
        };
        match stats.lines().find_map(asked) {
            Some(1..) => Ok(()),
            other => bail!("LAYOUTGET was sent {other:?} times"),
        }
    }
}

/// Mounts the server's root at `/mnt/c`.
///
/// # Errors
/// When the guest refuses.
pub(crate) fn mount(guest: &Guest, options: &str) -> Result<()> {
    guest
        // The address may have moved to another server's card since the last mount.
        .run_within(
            &format!("ip neigh flush all; mount -t nfs4 -o {options} {}:/ /mnt/c", network::SERVER),
            60,
        )
        .with_context(|| format!("mount -o {options}"))
        .map(drop)
}

/// Unmounts it.
///
/// # Errors
/// When it is busy.
pub(crate) fn unmount(guest: &Guest) -> Result<()> {
    guest.run("umount /mnt/c").map(drop)
}

/// Unmounts, forgets all cached of files, mounts again.
///
/// # Errors
/// When one of these fails.
pub(crate) fn remount(guest: &Guest) -> Result<()> {
    unmount(guest)?;
    guest.run("echo 3 >/proc/sys/vm/drop_caches")?;
    mount(guest, "vers=4.2")
}
