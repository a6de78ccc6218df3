//! `cargo xtask bench idle-shards`: what a cluster costs that has nothing to do: three metadata servers with many shards each, their
//! processor time and messages, with hibernation and without.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::cpu;
use crate::lab::bench_parts::{Metrics, build_shoal, read_metrics_at, shoal_program};
use crate::process::{command, start_logged, tail, workspace};

/// What the issue asks for, in per cent of one core, of each process.
const AIM_PERCENT: f64 = 2.0;
/// By then all shards have leaders, and hibernate if they may.
const SETTLE_MAX: Duration = Duration::from_secs(120);
const NODES: usize = 3;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct IdleShards {
    /// Shards of the cluster.
    #[arg(long, default_value_t = 256)]
    shards: u32,
    /// How long to look on.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Where the servers keep what they have; it is removed. Default: target/idle-shards.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Fails if a process takes more than 2 % of a core with hibernation.
    #[arg(long)]
    check: bool,
}

/// One node under measurement.
struct Node {
    child: Child,
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

/// What one node did in the time.
struct Seen {
    cpu_percent: f64,
    calls_per_s: f64,
    beats_per_s: f64,
    flushes: f64,
    resident_mib: u64,
}

impl IdleShards {
    /// Measures and prints.
    ///
    /// # Errors
    /// When a server does not start or settle, or (`--check`) costs too much.
    pub(crate) fn run(&self) -> Result<()> {
        build_shoal()?;
        let dir = self.dir.clone().unwrap_or_else(|| workspace().join("target/idle-shards"));
        println!("{} shards on {NODES} metadata servers, idle for {} s", self.shards, self.seconds);
        println!(
            "{:22} {:>8} {:>9} {:>9} {:>8} {:>9}",
            "", "CPU %", "calls/s", "beats/s", "flushes", "RSS MiB"
        );
        let mut worst: f64 = 0.0;
        for (label, hibernate_ms) in [("hibernating", 3_000), ("hibernation off", 0)] {
            let dir = dir.join(label.replace(' ', "-"));
            if dir.exists() {
                std::fs::remove_dir_all(&dir)?;
            }
            let nodes = self.start(&dir, hibernate_ms)?;
            settle(&nodes, self.shards, hibernate_ms != 0)?;
            for (at, seen) in self.watch(&nodes)?.iter().enumerate() {
                println!(
                    "{label:16} node {} {:8.2} {:9.1} {:9.1} {:8} {:9}",
                    at + 1,
                    seen.cpu_percent,
                    seen.calls_per_s,
                    seen.beats_per_s,
                    seen.flushes,
                    seen.resident_mib
                );
                if hibernate_ms != 0 {
                    worst = worst.max(seen.cpu_percent);
                }
            }
        }
        std::fs::remove_dir_all(&dir)?;
        println!("most with hibernation: {worst:.2} % of a core; aim: at most {AIM_PERCENT} %");
        ensure!(!self.check || worst <= AIM_PERCENT, "more than the aim");
        Ok(())
    }

    fn start(&self, dir: &Path, hibernate_ms: u64) -> Result<Vec<Node>> {
        // Bound at once so that all differ, and let go together.
        let free: Vec<TcpListener> = (0..4 * NODES)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<std::io::Result<_>>()?;
        let at: Vec<SocketAddr> = free.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?;
        drop(free);
        let member = |node: usize| format!("{}={}", node + 1, at[4 * node + 3]);
        let members = (0..NODES).map(member).collect::<Vec<_>>().join(",");
        std::fs::create_dir_all(dir)?;
        // Every node proves that it has the same key.
        std::fs::write(dir.join("key"), "5a".repeat(32))?;
        (0..NODES)
            .map(|node| {
                let own = dir.join(format!("mds-{}", node + 1));
                let log = dir.join(format!("mds-{}.log", node + 1));
                let [nfs, control, metrics] = [0, 1, 2].map(|port| at[4 * node + port]);
                let arguments = [
                    "mds".to_owned(),
                    format!("--dir={}", own.display()),
                    format!("--listen={nfs}"),
                    format!("--control={control}"),
                    format!("--metrics={metrics}"),
                    format!("--cluster-key={}", dir.join("key").display()),
                    format!("--id={}", node + 1),
                    format!("--members={members}"),
                    format!("--shards={}", self.shards),
                    format!("--hibernate-ms={hibernate_ms}"),
                ];
                let program = shoal_program();
                let mut started = command(&program.display().to_string(), arguments);
                Ok(Node { child: start_logged(&mut started, &log)?, metrics, log })
            })
            .collect()
    }

    fn watch(&self, nodes: &[Node]) -> Result<Vec<Seen>> {
        let read = |node: &Node| -> Result<(f64, Metrics)> {
            Ok((cpu::seconds(&[node.child.id()]), metrics(node)?))
        };
        let before = nodes.iter().map(read).collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        sleep(Duration::from_secs(self.seconds));
        let seconds = began.elapsed().as_secs_f64();
        let after = nodes.iter().map(read).collect::<Result<Vec<_>>>()?;
        let seen = nodes.iter().zip(before.iter().zip(&after)).map(|(node, (before, after))| {
            let grown = |name: &str| after.1.sum(name, &[]) - before.1.sum(name, &[]);
            Seen {
                cpu_percent: 100.0 * (after.0 - before.0) / seconds,
                calls_per_s: grown("shoal_node_calls_total") / seconds,
                beats_per_s: grown("shoal_node_heartbeats_total") / seconds,
                flushes: grown("shoal_raft_log_flushes_total"),
                resident_mib: cpu::peak_resident_kib(node.child.id()).unwrap_or(0) / 1024,
            }
        });
        Ok(seen.collect())
    }
}

/// Waits until every shard is led, and hibernates if it may (shard 0 never does).
fn settle(nodes: &[Node], shards: u32, hibernates: bool) -> Result<()> {
    let began = Instant::now();
    let last = loop {
        let all = nodes.iter().map(metrics).collect::<Result<Vec<_>>>();
        if let Ok(all) = &all {
            let sum = |name: &str| all.iter().map(|one| one.sum(name, &[])).sum::<f64>();
            let (led, asleep) = (sum("shoal_shards_led"), sum("shoal_shards_hibernating"));
            if led == f64::from(shards) && (!hibernates || asleep == f64::from(shards) - 1.0) {
                println!("# led and settled after {:.1} s", began.elapsed().as_secs_f64());
                break None;
            }
            if SETTLE_MAX < began.elapsed() {
                break Some(format!("{led} led, {asleep} hibernate"));
            }
        } else if SETTLE_MAX < began.elapsed() {
            break all.err().map(|error| format!("{error:#}"));
        }
        sleep(Duration::from_millis(200));
    };
    if let Some(last) = last {
        bail!("not settled: {last}\n{}", nodes.iter().map(|node| tail(&node.log, 10)).collect::<String>());
    }
    // What they did for that is not idleness.
    sleep(Duration::from_secs(5));
    Ok(())
}

fn metrics(node: &Node) -> Result<Metrics> {
    let text = read_metrics_at(node.metrics).with_context(|| format!("metrics of {}", node.metrics))?;
    Ok(Metrics::parse(&text))
}
