//! What sealing costs those who write: a large file while another one is sealed, and the same on
//! servers that do not seal.
//!
//! The measured write begins when sealing of the other file has begun: full extents are sealed soon
//! after they filled, those of the measured file too. How much was sealed during the write is told
//! beside: one that met no sealing shows nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use super::aim::Aim;
use super::ground::Ground;
use super::machine::disk_bytes;
use crate::bench::meter::Meter;
use crate::bench::mounted::Mounted;
use crate::bench::report::{Report, middle};
use crate::lab::bench_parts::{Kind, Server};

const RATIO_MIN: f64 = 0.8;
const PHASE: (&str, &str) = ("sequential write + fsync, after another", "MiB/s");
const BOTH: [Kind; 2] = [Kind::ShoalEc, Kind::ShoalUnsealed];
/// Servers that seal begin to within this time. Those that do not wait as long as the others took.
const BEGIN_SECONDS_MAX: u64 = 60;

/// Both series, and how much was sealed meanwhile.
#[derive(Debug, Serialize)]
pub(super) struct Foreground {
    report: Report,
    /// Images, parity among them, written to disk during the measured write, a round each.
    images_meanwhile_mib: Vec<f64>,
}

pub(super) fn measure(ground: &Ground<'_>) -> Result<Foreground> {
    let report = Report::new(ground.kernel.version.clone(), ground.rounds, ground.mib, 0);
    let mut found = Foreground { report, images_meanwhile_mib: Vec::new() };
    let mut rest_s = 0.0;
    for round in 0..ground.rounds {
        for turn in 0..BOTH.len() {
            let kind = BOTH[(round + turn) % BOTH.len()];
            ground.with_server(kind, round, |server, mounted| {
                sample(ground, kind, server, mounted, &mut found, &mut rest_s)
            })?;
        }
    }
    Ok(found)
}

fn sample(
    ground: &Ground<'_>,
    kind: Kind,
    server: &Server,
    mounted: &Mounted<'_>,
    found: &mut Foreground,
    rest_s: &mut f64,
) -> Result<()> {
    let bytes = ground.mib << 20;
    let act = |name: &str| format!("time-write {} {bytes}", mounted.path(name));
    mounted.op(&act("rests"), 900)?;
    if kind == Kind::ShoalEc {
        *rest_s = until_sealing(server)?;
    } else {
        std::thread::sleep(Duration::from_secs_f64(*rest_s));
    }
    let before = images_bytes(server);
    let mib = ground.mib as f64;
    let mut meter = Meter { folder: ground.folder, mounted, kind, report: &mut found.report };
    meter.phase(server, PHASE, |seconds| mib / seconds, &act("written"))?;
    if kind == Kind::ShoalEc {
        let images_mib = images_bytes(server).saturating_sub(before) as f64 / f64::from(1 << 20);
        println!("                images made meanwhile: {images_mib:.0} MiB");
        found.images_meanwhile_mib.push(images_mib);
    }
    Ok(())
}

/// Seconds until the first image is begun.
fn until_sealing(server: &Server) -> Result<f64> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(BEGIN_SECONDS_MAX) {
        if 0 < images_bytes(server) {
            return Ok(began.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("no image was begun in {BEGIN_SECONDS_MAX} s")
}

/// What images take on the disk, those that are not finished included.
fn images_bytes(server: &Server) -> u64 {
    let Server::Shoal(shoal) = server else { return 0 };
    (1..=shoal.data_addresses().len())
        .map(|number| disk_bytes(&shoal.data_folder(number).join("images")))
        .sum()
}

impl Foreground {
    pub(super) fn aims(&self) -> Vec<Aim> {
        let of =
            |kind: Kind| self.report.find(kind.label(), PHASE.0).map_or(f64::NAN, |one| one.median().value);
        let [on, off] = BOTH.map(of);
        vec![
            Aim::at_least("sequential write while sealing / without", on / off, RATIO_MIN),
            Aim::beside("the same, MiB/s while sealing", on),
            Aim::beside("the same, MiB/s without", off),
            Aim::beside("images made meanwhile, MiB", middle(self.images_meanwhile_mib.clone())),
        ]
    }
}
