//! `cargo xtask bench metadata`: files made and looked up per second: one and three metadata
//! servers, and nfs-ganesha on the same disk, under the same client, in interleaved rounds; beside
//! it what a flush of that disk takes.

mod flush;
mod profile;
mod report;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::flush::Flush;
use self::profile::{Sampler, Samples};
use self::report::{Figures, Report};
use super::cpu;
use super::disk::Disk;
use super::load::{self, Load, Measured, Plan};
use super::nodes::{Arrangement, Node, Nodes};
use crate::lab::bench_parts::{self, Kernel, Kind, SERVER, Server, Setup};

/// Enough for any number of seconds.
const FILES_MAX: u64 = 10_000_000;
const ACTS: &[&str] = &["mkdir", "create", "stat"];

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Metadata {
    /// Rounds; the tables have medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long files are made, and how long they are looked up.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Clients at once, each with one request under way.
    #[arg(long, default_value_t = 64)]
    sessions: usize,
    /// Directories.
    #[arg(long, default_value_t = 64)]
    directories: u64,
    /// Metadata servers.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    nodes: Vec<usize>,
    /// Shards; each number with each number of servers. `shoal mds` refuses more than one for a new
    /// cluster.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    shards: Vec<u32>,
    /// Without nfs-ganesha, and so without root.
    #[arg(long)]
    no_rivals: bool,
    /// Instead of measuring: where the processor time of ours goes while files are made, by `perf`.
    #[arg(long, conflicts_with_all = ["json", "rounds"])]
    profile: bool,
    /// Write all figures there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where kernels are kept.
    #[arg(long, env = "SHOAL_LAB_CACHE")]
    cache: Option<PathBuf>,
}

/// Who is measured.
#[derive(Clone, Copy, Debug)]
enum Contender {
    Ours { nodes: usize, shards: u32 },
    Rival(Kind),
}

impl Contender {
    fn label(self) -> String {
        match self {
            Self::Ours { nodes, shards } => format!("{nodes} x shoal mds, {shards} shards"),
            Self::Rival(kind) => kind.label().to_owned(),
        }
    }
}

impl Metadata {
    /// Measures, prints and writes.
    ///
    /// # Errors
    /// When a server or the load fails.
    pub(super) fn run(&self) -> Result<()> {
        if bench_parts::is_inside() {
            let (folder, kernel) = bench_parts::settle(self.cache.as_deref(), "7.2")?;
            self.measure(&folder, Some(&kernel))?;
            bench_parts::leave(0);
        }
        load::build()?;
        if self.no_rivals || self.profile {
            bench_parts::build_shoal()?;
            let folder = crate::process::workspace().join("target/bench-metadata");
            std::fs::create_dir_all(&folder)?;
            let outcome = self.measure(&folder, None);
            std::fs::remove_dir_all(&folder)?;
            return outcome;
        }
        bench_parts::prepare(self.cache.as_deref(), "7.2", true)?;
        std::process::exit(bench_parts::enter(false)?)
    }

    fn contenders(&self) -> Vec<Contender> {
        let ours = self.nodes.iter().flat_map(|nodes| {
            self.shards.iter().map(|shards| Contender::Ours { nodes: *nodes, shards: *shards })
        });
        let rivals = [Kind::GaneshaDurable, Kind::Ganesha].map(Contender::Rival);
        ours.chain(rivals.into_iter().filter(|_| !self.no_rivals)).collect()
    }

    fn measure(&self, folder: &Path, kernel: Option<&Kernel>) -> Result<()> {
        if self.profile {
            return self.look(folder);
        }
        let contenders = self.contenders();
        let mut report = Report::new(self.rounds, self.seconds, self.sessions, self.directories);
        for round in 0..self.rounds {
            let flush = flush::measure(folder)?;
            println!("round {}: {}", round + 1, flush.line());
            report.flushes.push(flush);
            for turn in 0..contenders.len() {
                let contender = contenders[(round + turn) % contenders.len()];
                let data = folder.join(format!("server-{round}-{turn}"));
                let figures = self.one(contender, &data, folder, kernel);
                let _ = std::fs::remove_dir_all(&data);
                let figures =
                    figures.with_context(|| format!("round {}, {}", round + 1, contender.label()))?;
                println!("  {:26} {}", contender.label(), figures.line());
                report.add(contender.label(), figures);
            }
        }
        println!("\n{}", report.tables());
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report)? + "\n";
            std::fs::write(path, text).with_context(|| format!("{}", path.display()))?;
        }
        Ok(())
    }

    fn look(&self, folder: &Path) -> Result<()> {
        for (nodes, shards) in
            self.nodes.iter().flat_map(|nodes| self.shards.iter().map(|shards| (*nodes, *shards)))
        {
            let data = folder.join("profile");
            let (samples, figures) = self.sampled(nodes, shards, &data, folder)?;
            let label = Contender::Ours { nodes, shards }.label();
            println!("{}\n  {:.0} creates/s meanwhile\n", samples.table(&label), figures.per_second);
            std::fs::remove_dir_all(&data)?;
        }
        Ok(())
    }

    fn sampled(&self, nodes: usize, shards: u32, data: &Path, folder: &Path) -> Result<(Samples, Measured)> {
        let ours = Nodes::start(data, Arrangement { nodes, shards, hibernate_ms: 3_000 })?;
        ours.settle(shards, None)?;
        let processes: Vec<u32> = ours.iter().map(Node::process).collect();
        let mut load = Load::start(&self.plan(ours.addresses()))?;
        load.step()?;
        let sampler = Sampler::start(&processes, folder)?;
        let create = load.step();
        let samples = sampler.stop()?;
        let create = create.with_context(|| format!("their logs end:\n{}", ours.log_ends()))?;
        Ok((samples, create))
    }

    fn plan(&self, servers: Vec<SocketAddr>) -> Plan {
        Plan {
            servers,
            sessions: self.sessions,
            directories: self.directories,
            files: FILES_MAX,
            seconds: Some(self.seconds),
            acts: ACTS,
        }
    }

    fn one(
        &self,
        contender: Contender,
        data: &Path,
        folder: &Path,
        kernel: Option<&Kernel>,
    ) -> Result<Figures> {
        match contender {
            Contender::Ours { nodes, shards } => {
                let ours = Nodes::start(data, Arrangement { nodes, shards, hibernate_ms: 3_000 })?;
                ours.settle(shards, None)?;
                let processes: Vec<u32> = ours.iter().map(Node::process).collect();
                let servers = ours.addresses().iter().map(ToString::to_string).collect();
                let own = || -> Result<f64> {
                    let all = ours.iter().map(Node::metrics).collect::<Result<Vec<_>>>()?;
                    Ok(all.iter().map(|one| one.sum("shoal_raft_log_flushes_total", &[])).sum())
                };
                let outcome = self.load(servers, &processes, folder, &own);
                outcome.with_context(|| format!("their logs end:\n{}", ours.log_ends()))
            }
            Contender::Rival(kind) => {
                let Some(kernel) = kernel else { bail!("rivals run in the sandbox only") };
                let setup = Setup {
                    folder: folder.to_owned(),
                    data: data.to_owned(),
                    kernel: kernel.clone(),
                    capacity_bytes: None,
                    shoal: crate::lab::shoal_program(),
                };
                let mut server = Server::start(kind, setup)?;
                let servers = vec![format!("{SERVER}:2049")];
                let outcome = self.load(servers, &server.processes(), folder, &|| Ok(0.0));
                server.kill();
                outcome.with_context(|| crate::process::tail(&server.log(), 10))
            }
        }
    }

    fn load(
        &self,
        servers: Vec<String>,
        processes: &[u32],
        folder: &Path,
        own_flushes: &dyn Fn() -> Result<f64>,
    ) -> Result<Figures> {
        let servers = servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;
        let mut load = Load::start(&self.plan(servers))?;
        load.step()?;
        // What others, and the making of directories, left unwritten is none of what follows.
        crate::process::words("sync")?;
        let (cpu_before, disk_before, own_before) =
            (cpu::seconds(processes), Disk::of(folder), own_flushes()?);
        let create = load.step()?;
        let (cpu_after, disk_after, own_after) = (cpu::seconds(processes), Disk::of(folder), own_flushes()?);
        let stat = load.step()?;
        let made = create.done.max(1) as f64;
        Ok(Figures {
            server_cpu_us_per_create: (cpu_after - cpu_before) * 1e6 / made,
            server_cpu_us_per_stat: (cpu::seconds(processes) - cpu_after) * 1e6 / stat.done.max(1) as f64,
            disk_flushes_per_create: disk_before
                .zip(disk_after)
                .map(|(before, after)| (after.flushes - before.flushes) as f64 / made),
            log_flushes_per_create: (0.0 < own_after).then(|| (own_after - own_before) / made),
            create,
            stat,
        })
    }
}

impl Flush {
    fn line(&self) -> String {
        format!("4 KiB written and flushed: p50 {} us, p99 {} us", self.p50_us, self.p99_us)
    }
}
