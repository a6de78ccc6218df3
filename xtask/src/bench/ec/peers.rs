//! GlusterFS disperse 4+2 by FUSE and by NFS, and us: the same acts on the same machine and disk.
//! NFS has the guest as its client; the FUSE client codes in user space and would pay for the
//! guest's emulated processor, so it runs on this machine.

use std::time::Duration;

use anyhow::Result;

use super::aim::Aim;
use super::ground::{Ground, wait};
use crate::bench::meter::Meter;
use crate::bench::mounted::Mounted;
use crate::bench::report::{Figure, Report};
use crate::lab::bench_parts::{Kind, Server, is_sealed};

const CREATE: (&str, &str) = ("create 4 KiB + fsync + close", "1/s");
const OVERWRITE: (&str, &str) = ("overwrite 4 KiB + fsync", "1/s");
const COMMITS: (&str, &str) = ("4 KiB + fsync, 64 files at once", "1/s");
const WRITE: (&str, &str) = ("sequential write + fsync", "MiB/s");
const READ: [(&str, &str); 3] = [
    ("sequential read", "MiB/s"),
    ("sequential read, one server killed", "MiB/s"),
    ("sequential read, two servers killed", "MiB/s"),
];

/// How long small overwrites go on.
const SECONDS: u64 = 5;
const COMMITTERS: u64 = 64;
/// Larger than what we keep with the metadata.
const COMMITTED_BYTES: u64 = 1 << 20;
const OVERWRITTEN_BYTES: u64 = 64 << 20;
/// After a loss: leases end, clients find out.
const SETTLE: Duration = Duration::from_secs(10);
/// Which two of six are killed in the first round; the next in the next.
const LOST: [usize; 2] = [1, 4];

const ABOUT: &str = "The NFS client is a guest (user-mode Linux), so its processor is emulated; gluster-ec's FUSE client runs on \
     this machine's own kernel, which favours it. It does the coding, and its CPU seconds count as its servers' (those of \
     gluster-ec-guest do not). Ours keeps two copies when a write is answered and is sealed into 4+2 before it is read.";

pub(super) fn measure(ground: &Ground<'_>, kinds: &[Kind]) -> Result<Report> {
    let report = Report::new(ground.kernel.version.clone(), ground.rounds, ground.mib, ground.files);
    let mut report = Report { about: ABOUT.to_owned(), ..report };
    for round in 0..ground.rounds {
        for turn in 0..kinds.len() {
            let kind = kinds[(round + turn) % kinds.len()];
            ground.with_server(kind, round, |server, mounted| {
                let meter = Meter { folder: ground.folder, mounted, kind, report: &mut report };
                let mut play = Play { ground, mounted, server, meter };
                play.small()?;
                play.large(round)
            })?;
        }
    }
    Ok(report)
}

struct Play<'a> {
    ground: &'a Ground<'a>,
    mounted: &'a Mounted<'a>,
    server: &'a mut Server,
    meter: Meter<'a>,
}

impl Play<'_> {
    fn phase(&mut self, phase: (&str, &str), figure: impl Fn(f64) -> f64, act: &str) -> Result<()> {
        self.meter.phase(self.server, phase, figure, act)
    }

    /// First, and removed again: nothing of it is sealed while large files are measured.
    fn small(&mut self) -> Result<()> {
        let [created, over, many] = ["created", "over", "many"].map(|name| self.mounted.path(name));
        let files = self.ground.files as f64;
        let act = format!("create {created} {} 4096 --sync", self.ground.files);
        self.phase(CREATE, |seconds| files / seconds, &act)?;
        self.mounted.op(&format!("create {over} 1 {OVERWRITTEN_BYTES} --sync"), 300)?;
        self.phase(OVERWRITE, |rate| rate, &format!("commits {over} {SECONDS}"))?;
        self.mounted.op(&format!("create {many} {COMMITTERS} {COMMITTED_BYTES} --sync"), 300)?;
        self.phase(COMMITS, |rate| rate, &format!("commits {many} {SECONDS}"))?;
        self.mounted.run(&format!("rm -r {created} {over} {many}"), 300).map(drop)
    }

    fn large(&mut self, round: usize) -> Result<()> {
        let large = self.mounted.path("large");
        let mib = self.ground.mib as f64;
        let rate = move |seconds: f64| mib / seconds;
        self.phase(WRITE, rate, &format!("time-write {large} {}", self.ground.mib << 20))?;
        if self.meter.kind == Kind::ShoalEc {
            let seconds = wait(self.server, "sealed", is_sealed)?;
            println!("                sealed after {seconds:.0} s");
        }
        // Two plain copies do not promise to survive two losses.
        let losses = if self.meter.kind == Kind::ShoalUnsealed { 0 } else { READ.len() - 1 };
        for (lost, phase) in READ.into_iter().take(1 + losses).enumerate() {
            if let Some(first) = lost.checked_sub(1).map(|at| LOST[at]) {
                self.server.lose_data_server((first + round - 1) % 6 + 1)?;
                std::thread::sleep(SETTLE);
            }
            self.meter.cold(self.server)?;
            self.phase(phase, rate, &format!("time-read {large}"))?;
        }
        Ok(())
    }
}

/// Ours beside each rival.
pub(super) fn aims(report: &Report) -> Vec<Aim> {
    let all = report.servers();
    let (ours, rivals): (Vec<&str>, Vec<&str>) =
        all.iter().copied().partition(|name| name.starts_with("shoal"));
    let of = |server: &str, phase: (&str, &str)| report.find(server, phase.0).map(|series| series.median());
    let bounds =
        [(WRITE, 2.0), (READ[0], 1.5), (READ[1], 1.5), (READ[2], 1.5), (CREATE, 10.0), (OVERWRITE, 5.0)];
    let mut aims = Vec::new();
    for one in &ours {
        for (phase, bound) in bounds {
            for rival in &rivals {
                if let (Some(own), Some(other)) = (of(one, phase), of(rival, phase)) {
                    let what = format!("{}, {one} / {rival}", phase.0);
                    aims.push(Aim::at_least(what, own.value / other.value, bound));
                }
            }
        }
    }
    let gib = report.large_file_mib as f64 / 1024.0;
    for server in &all {
        let is_ours = ours.contains(server);
        if let Some(write) = of(server, WRITE) {
            let what = format!("server CPU s per GiB written, {server}");
            let seen = write.server_cpu_s / gib;
            aims.push(if is_ours { Aim::at_most(what, seen, 4.0) } else { Aim::beside(what, seen) });
        }
        if let Some(create) = of(server, CREATE) {
            aims.extend(per_create(server, &create, report.small_files));
        }
        if let Some(commits) = of(server, COMMITS) {
            aims.extend(per_commit(server, &commits, is_ours));
        }
    }
    aims
}

fn per_create(server: &str, create: &Figure, files: u64) -> Vec<Aim> {
    let files = files as f64;
    let flushes = create.disk_flushes.map(|count| count as f64 / files);
    let kib = create.disk_mib.map(|mib| mib * 1024.0 / files);
    let flushes = flushes.map(|seen| Aim::beside(format!("flushes per durable create, {server}"), seen));
    let kib = kib.map(|seen| Aim::beside(format!("KiB to disk per durable create, {server}"), seen));
    flushes.into_iter().chain(kib).collect()
}

/// By the data servers' own count where there is one: the disk's has everybody's.
fn per_commit(server: &str, commits: &Figure, is_ours: bool) -> Vec<Aim> {
    let Some(flushes) = commits.own_flushes.or(commits.disk_flushes) else { return Vec::new() };
    let flushes_per_s = flushes as f64 / SECONDS as f64;
    let what = format!("commits per flush, {COMMITTERS} at once, {server}");
    let seen = commits.value / flushes_per_s;
    vec![
        Aim::beside(format!("commits a second, {COMMITTERS} at once, {server}"), commits.value),
        Aim::beside(format!("flushes a second meanwhile, {server}"), flushes_per_s),
        if is_ours { Aim::at_least(what, seen, 10.0) } else { Aim::beside(what, seen) },
    ]
}
