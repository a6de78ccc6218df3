//! The group `long`: what takes minutes by its nature, or much memory and disk, and so is not in
//! every run.

use anyhow::{Context, Result, ensure};

use super::basic::failures;
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::stage::{self, Stage};
use crate::bench::cpu::peak_resident_kib;
use crate::process;

const NAMES: u32 = 100_000;
const STREAM_GIB: u64 = 20;
/// No server process may grow beyond this while 20 GiB stream through.
const RESIDENT_MIB_MAX: u64 = 512;
/// Nor beyond this while nothing happens.
const IDLE_MIB_MAX: u64 = 256;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        group: "long",
        name: "idle-memory",
        proves: "a cluster of six data servers in one process that is not used yet fits into 256 MiB",
        needs: Needs::DataServers,
        play: idle,
    },
    Scenario {
        group: "long",
        name: "readdir-100000",
        proves: "a directory of 100,000 names lists each lasting one once while others change; memory stays bounded",
        needs: Needs::Mount,
        play: readdir,
    },
    Scenario {
        group: "long",
        name: "stream-20g",
        proves: "20 GiB written and read through a mount leave every server process below 512 MiB",
        needs: Needs::DataServers,
        play: stream,
    },
    Scenario {
        group: "long",
        name: "server-silent",
        proves: "one data server does not answer at all: no read or write waits for ever",
        needs: Needs::DataServers,
        play: failures::data_server_silent,
    },
];

fn idle(stage: &mut Stage) -> Result<()> {
    stage.new_server_of(Kind::ShoalSix, None)?;
    std::thread::sleep(std::time::Duration::from_secs(5));
    let outcome = expect_memory(stage, IDLE_MIB_MAX);
    stage.new_server(None)?;
    outcome
}

fn readdir(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    stage.a.run_within(&stage.a.op(&format!("create {dir}/list {} 0 --jobs 1", NAMES))?, 1200)?;
    stage.b.run(&format!(
        "rm -f /tmp/stop; (while [ ! -e /tmp/stop ]; do for i in $(seq 30); do : >{dir}/list/job0/come-$i; done; \
         rm -f {dir}/list/job0/come-*; done) >/dev/null 2>&1 &"
    ))?;
    let twice = format!(
        "ls -U {dir}/list/job0 | grep ^file | sort | uniq -c | awk '$1!=1{{n++}}END{{print NR, n+0}}'"
    );
    for guest in stage.guests() {
        guest.run("echo 3 >/proc/sys/vm/drop_caches")?;
        let seen = guest.run_within(&twice, 600)?;
        ensure!(seen.trim() == format!("{NAMES} 0"), "{} names, listed more than once", seen.trim());
    }
    stage.b.run("touch /tmp/stop; sleep 1")?;
    expect_memory(stage, RESIDENT_MIB_MAX)?;
    stage.a.run_within(&format!("rm -rf {dir}/list"), 1200).map(drop)
}

fn stream(stage: &mut Stage) -> Result<()> {
    // Two copies, and what a data server keeps free for compaction.
    let (free_gib, wanted_gib) = (free_gib(stage)?, 5 * STREAM_GIB / 2);
    let kind = if wanted_gib < free_gib { stage.kind } else { Kind::ShoalOneCopy };
    println!("  the disk has {free_gib} GiB free: {}", kind.label());
    stage.new_server_of(kind, None)?;
    stage.mount_both("vers=4.2")?;
    let outcome = stream_through(stage);
    stage.unmount_both();
    stage.new_server(None)?;
    outcome
}

fn free_gib(stage: &Stage) -> Result<u64> {
    let said = process::words(&format!("df --output=avail -BG {}", stage.folder.display()))?;
    let last = said.lines().last().context("df says nothing")?;
    last.trim().trim_end_matches('G').parse().context("df")
}

fn stream_through(stage: &Stage) -> Result<()> {
    // A hole is the source: what counts here is how much passes, not what.
    let write = format!(
        "truncate -s {STREAM_GIB}G /tmp/hole && dd if=/tmp/hole of=/mnt/c/stream bs=1M conv=fsync status=none"
    );
    stage.a.run_within(&write, 1800)?;
    stage::remount(&stage.a)?;
    let count = stage.a.run_within("dd if=/mnt/c/stream bs=1M status=none | wc -c", 1800)?;
    ensure!(count.trim() == (STREAM_GIB << 30).to_string(), "{} bytes came back", count.trim());
    stage.a.run("rm /mnt/c/stream /tmp/hole")?;
    expect_memory(stage, RESIDENT_MIB_MAX)
}

/// Fails when a server process has ever been larger than that.
fn expect_memory(stage: &Stage, mib_max: u64) -> Result<()> {
    let peaks = stage.server.processes().into_iter().filter_map(peak_resident_kib).map(|kib| kib >> 10);
    let peak = peaks.max().unwrap_or(0);
    println!("  the largest server process had {peak} MiB at most");
    ensure!(!stage.kind.is_ours() || peak <= mib_max, "{peak} MiB, {mib_max} MiB allowed");
    Ok(())
}
