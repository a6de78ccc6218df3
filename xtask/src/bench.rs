//! `cargo xtask bench`: our server and its rivals under one and the same client, and a plot of what
//! came out.

mod contest;
pub(crate) mod cpu;
mod disk;
mod ec;
mod idle_shards;
mod load;
mod metadata;
mod meter;
mod million_files;
mod mounted;
mod nodes;
mod plot;
mod report;
mod round_trips;
mod spent;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use self::contest::Contest;
use self::report::Report;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Measures all servers in interleaved rounds with a guest as the client.
    Lab(Contest),
    /// Measures erasure coding: the codec, repair, GlusterFS beside us, and what sealing costs.
    Ec(ec::Ec),
    /// Measures what many shards cost that have nothing to do.
    IdleShards(idle_shards::IdleShards),
    /// Measures files made and looked up per second, by shards and replicas, beside nfs-ganesha.
    Metadata(metadata::Metadata),
    /// Makes, lists, looks up and removes a million files: time, memory, and bytes on disk for
    /// each.
    MillionFiles(million_files::MillionFiles),
    /// Draws what `lab --json` wrote.
    Plot {
        /// The JSON file.
        file: PathBuf,
        /// Where the SVG goes.
        out: PathBuf,
    },
}

impl Bench {
    /// Does it.
    ///
    /// # Errors
    /// When a server or the guest fails, or a file cannot be read or written.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Lab(contest) => contest.run(),
            Self::Ec(bench) => bench.run(),
            Self::IdleShards(bench) => bench.run(),
            Self::Metadata(bench) => bench.run(),
            Self::MillionFiles(bench) => bench.run(),
            Self::Plot { file, out } => {
                let report: Report = serde_json::from_str(&std::fs::read_to_string(file)?)?;
                Ok(std::fs::write(out, plot::draw(&report))?)
            }
        }
    }
}
