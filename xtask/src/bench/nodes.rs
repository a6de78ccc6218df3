//! Metadata servers of ours on this machine's loopback, one process for each node, without any data
//! server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cpu;
use crate::lab::bench_parts::{Metrics, read_metrics_at, shoal_program};
use crate::process::{command, start_logged, tail};

/// By then all shards have leaders, and hibernate if that is waited for.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// How many, of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrangement {
    pub(super) nodes: usize,
    pub(super) shards: u32,
    pub(super) hibernate_ms: u32,
}

/// One of them.
pub(super) struct Node {
    child: Child,
    pub(super) dir: PathBuf,
    nfs: SocketAddr,
    metrics: SocketAddr,
    log: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// Its counters.
    pub(super) fn metrics(&self) -> Result<Metrics> {
        let text = read_metrics_at(self.metrics).with_context(|| format!("metrics of {}", self.metrics))?;
        Ok(Metrics::parse(&text))
    }

    /// The number of its process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had so far.
    pub(super) fn peak_resident_mib(&self) -> u64 {
        cpu::peak_resident_kib(self.child.id()).unwrap_or(0) / 1024
    }
}

/// All of them. They are killed when this goes.
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    /// Starts them over an empty folder.
    ///
    /// # Errors
    /// When the folder cannot be made or a program not be started.
    pub(super) fn start(dir: &Path, arrangement: Arrangement) -> Result<Self> {
        let Arrangement { nodes, shards, hibernate_ms } = arrangement;
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir)?;
        // Bound at once so that all differ, and released together.
        let free: Vec<TcpListener> = (0..4 * nodes)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<std::io::Result<_>>()?;
        let at: Vec<SocketAddr> = free.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?;
        drop(free);
        let member = |node: usize| format!("{}={}", node + 1, at[4 * node + 3]);
        let members = (0..nodes).map(member).collect::<Vec<_>>().join(",");
        // Every node proves that it has the same key.
        std::fs::write(dir.join("key"), "5a".repeat(32))?;
        // One that others can read is refused.
        std::fs::set_permissions(dir.join("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        // The load is a program: it takes whatever source port it gets.
        std::fs::write(dir.join("shoal.toml"), "[[export]]\npath = \"/\"\nsecure = false\n")?;
        let start = |node: usize| {
            let own = dir.join(format!("mds-{}", node + 1));
            let log = dir.join(format!("mds-{}.log", node + 1));
            let [nfs, control, metrics] = [0, 1, 2].map(|port| at[4 * node + port]);
            let mut arguments = vec![
                "mds".to_owned(),
                format!("--dir={}", own.display()),
                format!("--listen={nfs}"),
                format!("--control={control}"),
                format!("--metrics={metrics}"),
                format!("--cluster-key={}", dir.join("key").display()),
                format!("--config={}", dir.join("shoal.toml").display()),
                format!("--id={}", node + 1),
                format!("--shards={shards}"),
                format!("--hibernate-ms={hibernate_ms}"),
            ];
            if 1 < nodes {
                arguments.push(format!("--members={members}"));
            }
            let mut started = command(&shoal_program().display().to_string(), arguments);
            Ok(Node { child: start_logged(&mut started, &log)?, dir: own, nfs, metrics, log })
        };
        (0..nodes).map(start).collect::<Result<_>>().map(Self)
    }

    /// Waits until every shard is led, and as many hibernate as this says, if it says any.
    ///
    /// # Errors
    /// When that takes two minutes; the error holds the ends of the logs.
    pub(super) fn settle(&self, shards: u32, hibernating: Option<u32>) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let all = self.0.iter().map(Node::metrics).collect::<Result<Vec<_>>>();
            let last = match &all {
                Ok(all) => {
                    let sum = |name: &str| all.iter().map(|one| one.sum(name, &[])).sum::<f64>();
                    let (led, asleep) = (sum("shoal_shards_led"), sum("shoal_shards_hibernating"));
                    let sleeps = hibernating.is_none_or(|wanted| asleep == f64::from(wanted));
                    if led == f64::from(shards) && sleeps {
                        return Ok(began.elapsed());
                    }
                    format!("{led} led, {asleep} hibernate")
                }
                Err(error) => format!("{error:#}"),
            };
            if SETTLE_MAX < began.elapsed() {
                bail!("not settled: {last}\n{}", self.log_ends());
            }
            sleep(Duration::from_millis(200));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.0.iter()
    }

    /// Where clients may go; one of them serves them.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|node| node.nfs).collect()
    }

    /// What their logs end with.
    pub(super) fn log_ends(&self) -> String {
        self.0.iter().map(|node| tail(&node.log, 10)).collect()
    }
}
