//! The contest: in each round each server is started over an empty folder, mounted, put through all
//! phases and ended, one after another, the order turning from round to round.
//!
//! One guest is the client throughout. All data lies in files of one disk of this machine, and
//! every server answers COMMIT only after a flush of it; knfsd does so from its own guest, whose
//! emulated processor it pays for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::meter::Meter;
use super::mounted::Mounted;
use super::plot;
use super::report::Report;
use crate::lab::bench_parts::{self, Guest, Kernel, Kind, Plan, Server, Setup};

/// How long random reads go on.
const RANDOM_SECONDS: u64 = 5;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Contest {
    /// Rounds; the table has medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Size of the large file.
    #[arg(long, default_value_t = 2048)]
    mib: u64,
    /// How many small files, in all.
    #[arg(long, default_value_t = 4000)]
    files: u64,
    /// How often the one small file is used, in each phase that has one.
    #[arg(long, default_value_t = 500)]
    turns: u64,
    /// Only phases whose name holds this; may be given again. What a phase needs is done all the
    /// same.
    #[arg(long)]
    only: Vec<String>,
    /// Which servers.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "shoal,shoal-one-copy,ganesha,ganesha-durable,knfsd-plain"
    )]
    server: Vec<Kind>,
    /// The client's kernel.
    #[arg(long, default_value = "7.2")]
    kernel: String,
    /// Write all figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw them there.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Where kernels are kept.
    #[arg(long, env = "SHOAL_LAB_CACHE")]
    cache: Option<PathBuf>,
}

/// The phases, in order.
const PHASES: [(&str, &str); 15] = [
    ("sequential write + fsync", "MiB/s"),
    ("sequential read", "MiB/s"),
    ("random read 4 KiB", "1/s"),
    ("create 4 KiB + close", "1/s"),
    ("create 4 KiB + close, 4 jobs", "1/s"),
    ("stat, cold client", "1/s"),
    ("unlink", "1/s"),
    ("unlink, 4 jobs", "1/s"),
    ("again: open, write 100 B, read, close", "1/s"),
    ("again: open, write 20 kB, read, close", "1/s"),
    ("again: replace 100 B", "1/s"),
    ("again: replace 20 kB", "1/s"),
    ("again: write 20 kB, ftruncate", "1/s"),
    ("again: stat of a closed file", "1/s"),
    ("again: stat of a file being written", "1/s"),
];
/// The last of them, one small file each: bytes, and the turn of `guest-op again`.
const AGAIN: [(usize, &str); 7] = [
    (100, "rewrite"),
    (20_000, "rewrite"),
    (100, "replace"),
    (20_000, "replace"),
    (20_000, "empty"),
    (20_000, "stat"),
    (20_000, "stat-written"),
];

impl Contest {
    pub(super) fn run(&self) -> Result<()> {
        if bench_parts::is_inside() {
            return self.inside();
        }
        bench_parts::prepare(
            self.cache.as_deref(),
            &self.kernel,
            self.server.iter().any(|kind| kind.is_ours()),
        )?;
        std::process::exit(bench_parts::enter(false)?)
    }

    fn inside(&self) -> Result<()> {
        let (folder, kernel) = bench_parts::settle(self.cache.as_deref(), &self.kernel)?;
        let report = self.measure(&folder, &kernel)?;
        println!("\n{}", report.table());
        let text = serde_json::to_string_pretty(&report)?;
        if let Some(path) = &self.json {
            std::fs::write(path, text + "\n").with_context(|| format!("{}", path.display()))?;
        }
        if let Some(path) = &self.svg {
            std::fs::write(path, plot::draw(&report)).with_context(|| format!("{}", path.display()))?;
        }
        bench_parts::leave(0)
    }

    fn measure(&self, folder: &Path, kernel: &Kernel) -> Result<Report> {
        let guest = client(folder, kernel)?;
        let mut report = Report::new(kernel.version.clone(), self.rounds, self.mib, self.files);
        for round in 0..self.rounds {
            for turn in 0..self.server.len() {
                let kind = self.server[(round + turn) % self.server.len()];
                let setup = Setup {
                    folder: folder.to_owned(),
                    data: folder.join(format!("server-{round}-{turn}")),
                    kernel: kernel.clone(),
                    capacity_bytes: None,
                    shoal: crate::lab::shoal_program(),
                };
                let data = setup.data.clone();
                let mut server = Server::start(kind, setup)?;
                let mounted = Mounted::new(&guest, kind.mounting(), folder);
                let meter = Meter { folder, mounted: &mounted, kind, report: &mut report };
                let play = Play { contest: self, mounted: &mounted, server: &server, meter };
                let outcome = play.all().with_context(|| format!("round {round}, {kind:?}"));
                mounted.end();
                server.kill();
                drop(server);
                let _ = std::fs::remove_dir_all(data);
                outcome?;
            }
        }
        Ok(report)
    }
}

/// The guest that is everybody's client.
///
/// # Errors
/// When it does not boot.
pub(super) fn client(folder: &Path, kernel: &Kernel) -> Result<Guest> {
    let plan = Plan { name: "a".to_owned(), address: "10.77.0.2".to_owned(), memory_mib: 1024, disk: None };
    let guest = Guest::boot(folder, kernel, plan)?;
    // nfs-ganesha 4.3 answers GET_DIR_DELEGATION so that newer clients fail: they ask for
    // none.
    guest.run("p=/sys/module/nfsv4/parameters/directory_delegations; [ ! -e $p ] || echo N >$p")?;
    Ok(guest)
}

/// One server in one round.
struct Play<'a> {
    contest: &'a Contest,
    mounted: &'a Mounted<'a>,
    server: &'a Server,
    meter: Meter<'a>,
}

impl Play<'_> {
    fn all(mut self) -> Result<()> {
        self.mounted.mount()?;
        let at = |name: &str| self.mounted.path(name);
        let (large, one, four) = (at("large"), at("one"), at("four"));
        let per_job = self.contest.files / 4;
        let mib = self.contest.mib as f64;
        if self.wants(&PHASES[..3]) {
            let bytes = self.contest.mib << 20;
            self.phase(0, |seconds| mib / seconds, &format!("time-write {large} {bytes}"))?;
            self.meter.cold(self.server)?;
            self.phase(1, |seconds| mib / seconds, &format!("time-read {large}"))?;
            self.meter.cold(self.server)?;
            self.phase(2, |rate| rate, &format!("time-random {large} {RANDOM_SECONDS}"))?;
            self.mounted.run(&format!("rm {large}"), 120)?;
        }
        if self.wants(&PHASES[3..8]) {
            let files = self.contest.files as f64;
            let one = format!("{one} {} 4096", self.contest.files);
            let four = format!("{four} {per_job} 4096 --jobs 4");
            self.phase(3, |seconds| files / seconds, &format!("create {one}"))?;
            self.phase(4, |seconds| files / seconds, &format!("create {four}"))?;
            self.meter.cold(self.server)?;
            self.phase(5, |seconds| files / seconds, &format!("stat {one}"))?;
            self.phase(6, |seconds| files / seconds, &format!("unlink {one}"))?;
            self.phase(7, |seconds| files / seconds, &format!("unlink {four}"))?;
        }
        let turns = self.contest.turns;
        for (number, (bytes, how)) in (8..).zip(AGAIN) {
            if self.wants(&PHASES[number..=number]) {
                let act = format!("again {} {turns} {bytes} {how}", at(&format!("again-{number}")));
                self.phase(number, |seconds| turns as f64 / seconds, &act)?;
            }
        }
        Ok(())
    }

    fn wants(&self, phases: &[(&str, &str)]) -> bool {
        let named = |name: &str| self.contest.only.iter().any(|part| name.contains(part.as_str()));
        self.contest.only.is_empty() || phases.iter().any(|(name, _)| named(name))
    }

    fn phase(&mut self, number: usize, figure: impl Fn(f64) -> f64, act: &str) -> Result<()> {
        self.meter.phase(self.server, PHASES[number], figure, act)
    }
}
