//! `cargo xtask bench ec`: erasure coding in figures, in one run: the codec beside its library,
//! repair beside disk and loopback, GlusterFS disperse beside us, and what sealing in the
//! background costs. Each ratio stands beside its aim.

mod aim;
mod codec;
mod foreground;
mod ground;
mod machine;
mod peers;
mod repair;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use self::aim::Aim;
use self::ground::Ground;
use super::contest;
use super::report::Report;
use crate::lab::bench_parts::{self, Kernel, Kind};

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Encoding and rebuilding beside reed-solomon-simd called directly. Needs no root.
    Codec,
    /// One of six data servers lost with its disk: bytes made again per second.
    Repair,
    /// GlusterFS disperse 4+2 by FUSE and by NFS, and us.
    Peers,
    /// Sequential writes while earlier ones are sealed, and without sealing.
    Foreground,
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Ec {
    /// Rounds; tables have medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Size of the large file.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// How many small files.
    #[arg(long, default_value_t = 500)]
    files: u64,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// The peers.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "shoal-ec,shoal-unsealed,gluster-ec,ganesha-gluster-ec"
    )]
    server: Vec<Kind>,
    /// The client's kernel.
    #[arg(long, default_value = "7.2")]
    kernel: String,
    /// Write all figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where kernels are kept.
    #[arg(long, env = "SHOAL_LAB_CACHE")]
    cache: Option<PathBuf>,
}

/// All but the codec's figures, which are taken outside of the sandbox.
#[derive(Debug, Serialize)]
struct Findings {
    about: &'static str,
    client_kernel: String,
    processors: usize,
    rounds: usize,
    large_file_mib: u64,
    small_files: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repair: Vec<repair::Round>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreground: Option<foreground::Foreground>,
    aims: Vec<Aim>,
}

const ABOUT: &str = "Everybody's servers run on this machine and keep their data on one disk of it, one system at a time, in \
     interleaved rounds. Disk figures are of the whole disk: they mean something on a quiet machine only. docs/bench.md says \
     what is compared with what.";

impl Ec {
    pub(super) fn run(&self) -> Result<()> {
        if bench_parts::is_inside() {
            return self.inside();
        }
        let codec = if self.wants(Part::Codec) { codec::measure()? } else { Vec::new() };
        let mut code = 0;
        let all = [Part::Repair, Part::Peers, Part::Foreground];
        if all.into_iter().any(|part| self.wants(part)) {
            bench_parts::prepare(self.cache.as_deref(), &self.kernel, true)?;
            code = bench_parts::enter(false)?;
        }
        let aims = codec::aims(&codec);
        if !aims.is_empty() {
            println!("\n{}", aim::table(&aims));
        }
        if let Some(path) = self.json.as_deref().filter(|_| code == 0) {
            join(path, &codec, &aims).with_context(|| format!("{}", path.display()))?;
        }
        std::process::exit(code)
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn inside(&self) -> Result<()> {
        let (folder, kernel) = bench_parts::settle(self.cache.as_deref(), &self.kernel)?;
        let findings = self.measure(&folder, &kernel)?;
        if let Some(peers) = &findings.peers {
            println!("\n{}", peers.table());
        }
        println!("\n{}", aim::table(&findings.aims));
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&findings)? + "\n";
            std::fs::write(path, text).with_context(|| format!("{}", path.display()))?;
        }
        bench_parts::leave(0)
    }

    fn measure(&self, folder: &Path, kernel: &Kernel) -> Result<Findings> {
        let guest = contest::client(folder, kernel)?;
        let ground =
            Ground { folder, kernel, guest: &guest, rounds: self.rounds, mib: self.mib, files: self.files };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut findings = Findings {
            about: ABOUT,
            client_kernel: kernel.version.clone(),
            processors,
            rounds: self.rounds,
            large_file_mib: self.mib,
            small_files: self.files,
            repair: Vec::new(),
            peers: None,
            foreground: None,
            aims: Vec::new(),
        };
        if self.wants(Part::Repair) {
            findings.repair = repair::measure(&ground)?;
            findings.aims.extend(repair::aims(&findings.repair));
        }
        if self.wants(Part::Foreground) {
            let found = foreground::measure(&ground)?;
            findings.aims.extend(found.aims());
            findings.foreground = Some(found);
        }
        if self.wants(Part::Peers) {
            let report = peers::measure(&ground, &self.server)?;
            findings.aims.extend(peers::aims(&report));
            findings.peers = Some(report);
        }
        Ok(findings)
    }
}

/// Adds the codec's figures to what the inside wrote, if it was there at all.
fn join(path: &Path, codec: &[codec::Row], aims: &[Aim]) -> Result<()> {
    if codec.is_empty() {
        return Ok(());
    }
    let written = std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mut all: serde_json::Map<String, Value> = written.unwrap_or_default();
    all.insert("codec".to_owned(), serde_json::to_value(codec)?);
    let more = aims.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    match all.entry("aims").or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(known) => known.extend(more),
        other => *other = Value::Array(more),
    }
    Ok(std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?)
}
