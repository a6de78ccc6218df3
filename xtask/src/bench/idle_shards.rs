//! `cargo xtask bench idle-shards`: what a cluster costs that has nothing to do: three metadata
//! servers with many shards each, their processor time and messages, with hibernation and without.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::cpu;
use super::nodes::{Arrangement, Node, Nodes};
use crate::lab::bench_parts::{Metrics, build_shoal};
use crate::process::workspace;

/// What the issue asks for, in per cent of one core, of each process.
const AIM_PERCENT: f64 = 2.0;
const NODES: usize = 3;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct IdleShards {
    /// Shards of the cluster. `shoal mds` refuses more than one for a new cluster.
    #[arg(long, default_value_t = 1)]
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
            let nodes = Nodes::start(&dir, Arrangement { nodes: NODES, shards: self.shards, hibernate_ms })?;
            // Shard 0 never hibernates.
            let settled = nodes.settle(self.shards, (hibernate_ms != 0).then_some(self.shards - 1))?;
            println!("# led and settled after {:.1} s", settled.as_secs_f64());
            // What they did for that is not idleness.
            sleep(Duration::from_secs(5));
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

    fn watch(&self, nodes: &Nodes) -> Result<Vec<Seen>> {
        let read = |node: &Node| -> Result<(f64, Metrics)> {
            Ok((cpu::seconds(&[node.process()]), node.metrics()?))
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
                resident_mib: node.peak_resident_mib(),
            }
        });
        Ok(seen.collect())
    }
}
