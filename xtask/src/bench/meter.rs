//! One phase under measurement: the act on the mount, and beside it what the servers, the disk and
//! both ends' clocks count.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::disk::Disk;
use super::mounted::Mounted;
use super::report::{Figure, Report};
use super::{cpu, round_trips, spent};
use crate::lab::bench_parts::{Kind, Metrics, Server};
use crate::process;

/// By then an act has ended.
const ACT_SECONDS_MAX: u64 = 900;
/// What our data servers count themselves.
const FLUSHES: &str = "shoal_flushes_total";
/// They do so with each heartbeat, a third of a lease of 3 s.
const COUNTS_RENEWED: Duration = Duration::from_millis(1500);

/// One server in one round.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    /// On the disk whose flushes are counted.
    pub(super) folder: &'a Path,
    pub(super) mounted: &'a Mounted<'a>,
    pub(super) kind: Kind,
    pub(super) report: &'a mut Report,
}

impl Meter<'_> {
    /// Measures one act, prints and keeps the figure that `figure` makes of the number it said.
    pub(super) fn phase(
        &mut self,
        server: &Server,
        (name, unit): (&str, &str),
        figure: impl Fn(f64) -> f64,
        act: &str,
    ) -> Result<()> {
        let processes = server.processes();
        let counted = renewed_metrics(server)?;
        let sent = self.mounted.round_trips()?;
        // What others left unwritten is theirs, and what this act leaves unwritten is its own.
        process::words("sync")?;
        let (cpu_before, disk_before) = (cpu::seconds(&processes), Disk::of(self.folder));
        let value = figure(self.mounted.op(act, ACT_SECONDS_MAX)?);
        let (cpu_after, flushed) = (cpu::seconds(&processes), Disk::of(self.folder));
        process::words("sync")?;
        let written = Disk::of(self.folder);
        let (mut spent, mut own_flushes) = (Vec::new(), None);
        if let (Some(before), Some(after)) = (counted, renewed_metrics(server)?) {
            spent = spent::between(&before, &after);
            own_flushes = Some((after.sum(FLUSHES, &[]) - before.sum(FLUSHES, &[])) as u64);
        }
        let measured = Figure {
            value,
            server_cpu_s: cpu_after - cpu_before,
            disk_flushes: flushed.zip(disk_before).map(|(after, before)| after.flushes - before.flushes),
            own_flushes,
            disk_mib: written.zip(disk_before).map(|(after, before)| {
                (after.written_bytes - before.written_bytes) as f64 / f64::from(1 << 20)
            }),
            server_peak_mib: processes
                .iter()
                .filter_map(|pid| cpu::peak_resident_kib(*pid))
                .max()
                .map(|kib| kib / 1024),
            spent,
            round_trips: round_trips::between(&sent, &self.mounted.round_trips()?),
        };
        self.print((name, unit), &measured);
        self.report.add(self.kind.label(), name, unit, measured);
        Ok(())
    }

    fn print(&self, (name, unit): (&str, &str), seen: &Figure) {
        let flushes = seen.disk_flushes.map_or_else(String::new, |count| format!(", {count} disk flushes"));
        let own =
            seen.own_flushes.map_or_else(String::new, |count| format!(" ({count} of the data servers)"));
        let written = seen.disk_mib.map_or_else(String::new, |mib| format!(", {mib:.0} MiB to disk"));
        let (server, value, cpu_s) = (self.kind.label(), seen.value, seen.server_cpu_s);
        println!(
            "{server:15} {name:36} {value:9.1} {unit:6} server CPU {cpu_s:6.2} s{flushes}{own}{written}"
        );
        if !seen.spent.is_empty() {
            println!("                in the server: {}", spent::line(&seen.spent));
        }
        if !seen.round_trips.is_empty() {
            println!("                to the client: {}", round_trips::line(&seen.round_trips));
        }
    }

    /// Nothing of the files stays in memory: not the client's, the server's, nor this
    /// machine's.
    pub(super) fn cold(&self, server: &Server) -> Result<()> {
        self.mounted.unmount()?;
        server.drop_caches()?;
        process::words("sync")?;
        std::fs::write("/proc/sys/vm/drop_caches", "3").context("this machine's page cache")?;
        self.mounted.mount()
    }
}

/// Its counters, where it has any, as of now.
fn renewed_metrics(server: &Server) -> Result<Option<Metrics>> {
    if matches!(server, Server::Shoal(_)) {
        std::thread::sleep(COUNTS_RENEWED);
    }
    server.metrics()
}
