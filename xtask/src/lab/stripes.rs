//! The group `stripes`: an export with stripes. Kernels from 6.18 on write and read several extents
//! of a file through one segment of a layout; older ones, which could not read such a layout, get
//! one extent at a time.
//!
//! The counters say who carried the bytes and how many segments were asked for. Then a primary is
//! killed while the file is rewritten, and while it is read: no error, no wrong byte.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::agent::Ask;
use super::ec;
use super::guest::Guest;
use super::metrics::Metrics;
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::server::ours::shoal;
use super::stage::{self, Stage};

/// Data servers, each a process, and as many stripes.
const DATA_SERVERS: usize = 4;
/// Extents of the file.
const EXTENTS: u32 = 6;
/// Its length, MiB.
const FILE_MIB: u32 = 64 * EXTENTS;
/// Segments for one pass over the file with stripes: 1, 2, 4 and 4 extents while it grows, 4 and 4
/// of one that is there, and one more if a client's asks cross.
const STRIPED_SEGMENTS_MAX: f64 = 5.0;
/// A client on a busy machine writes by then.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// A client that met a dead primary is done by then.
const PASS_SECONDS: u64 = 240;
/// By then a server that came back has what it missed.
const WHOLE_SECONDS_MAX: u64 = 120;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "stripes",
    name: "striped-export",
    proves: "an export with stripes: kernels from 6.18 on write and read a file through few segments over all data servers, older ones \
             through one for each extent; a home killed under either: no error, every byte right",
    needs: Needs::DataServers,
    play: striped_export,
}];

fn striped_export(stage: &mut Stage) -> Result<()> {
    stage.with_server_of(Kind::ShoalStriped, None, play)
}

fn play(stage: &mut Stage) -> Result<()> {
    let takes = takes_stripes(stage.a.kernel.name)?;
    let before = Counters::read(stage)?;
    write(stage, 0)?;
    let written = Counters::read(stage)?;
    passed(takes, "written", &before, &written, |counters| &counters.written)?;
    stage::remount(&stage.a)?;
    check(&stage.a, 0)?;
    passed(takes, "read cold", &written, &Counters::read(stage)?, |counters| &counters.read)?;
    let dead = write_while_one_dies(stage)?;
    stage::remount(&stage.a)?;
    check(&stage.a, 1).with_context(|| format!("data server {dead} is dead"))?;
    shoal(&mut stage.server)?.start_one(dead)?;
    ec::wait(stage, "whole", WHOLE_SECONDS_MAX, ec::is_whole)?;
    let dead = read_while_one_dies(stage)?;
    shoal(&mut stage.server)?.start_one(dead)?;
    ec::wait(stage, "whole", WHOLE_SECONDS_MAX, ec::is_whole)?;
    stage::remount(&stage.b)?;
    check(&stage.b, 1).context("the other client, when all are back")
}

/// Whether this kernel's client takes several data servers for a mirror.
fn takes_stripes(kernel: &str) -> Result<bool> {
    let mut numbers = kernel.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((6, 18) <= (major, minor)),
        _ => bail!("no kernel version: {kernel}"),
    }
}

/// Bytes of the lab's random file, another part of it for each version.
fn bytes_of(version: u32) -> String {
    format!("tail -c +{} /mnt/lab/random | head -c {FILE_MIB}M", 1 + version * 4099)
}

fn write_script(version: u32) -> String {
    format!(
        "{} | dd of=/mnt/c/striped bs=1M iflag=fullblock conv=notrunc,fsync status=none 2>&1",
        bytes_of(version)
    )
}

fn check_script(version: u32) -> String {
    let sum = |what: &str| format!("$({what} | sha256sum | cut -d' ' -f1)");
    format!("test {} = {}", sum("cat /mnt/c/striped"), sum(&bytes_of(version)))
}

fn write(stage: &Stage, version: u32) -> Result<()> {
    stage.a.run_within(&write_script(version), PASS_SECONDS).map(drop)
}

/// Compares the SHA-256 of the file with what it should be.
fn check(guest: &Guest, version: u32) -> Result<()> {
    guest.run_within(&check_script(version), PASS_SECONDS).map(drop)
}

/// One pass over the file: who carried it, and how many segments it took.
fn passed(
    takes: bool,
    what: &str,
    before: &Counters,
    after: &Counters,
    bytes: fn(&Counters) -> &Vec<f64>,
) -> Result<()> {
    let carried: Vec<f64> =
        bytes(after).iter().zip(bytes(before)).map(|(after, before)| after - before).collect();
    let segments = after.segments - before.segments;
    let striped = after.striped - before.striped;
    let mib: Vec<String> = carried.iter().map(|bytes| format!("{:.0}", bytes / 1_048_576.0)).collect();
    println!(
        "  {FILE_MIB} MiB {what}: {segments} segments, {striped} of them striped; MiB by data server: {}",
        mib.join(", ")
    );
    let all = carried.iter().sum::<f64>();
    ensure!(f64::from(FILE_MIB) * 1_048_576.0 <= all, "data servers carried {all} bytes");
    ensure!(carried.iter().all(|bytes| 0.0 < *bytes), "a data server carried nothing");
    if takes {
        ensure!(0.0 < striped, "no segment was striped");
        ensure!(segments <= STRIPED_SEGMENTS_MAX, "{segments} segments, {STRIPED_SEGMENTS_MAX} allowed");
    } else {
        ensure!(striped == 0.0, "a kernel that cannot read them was given {striped} striped segments");
        ensure!(f64::from(EXTENTS) <= segments, "{segments} segments for {EXTENTS} extents");
    }
    Ok(())
}

/// The file is rewritten, and a data server killed as soon as it has got some of that; which
/// one.
fn write_while_one_dies(stage: &mut Stage) -> Result<usize> {
    let before = Counters::read(stage)?.written;
    while_one_dies(stage, "rewritten", write_script(1), |counters| counters.written.clone(), &before)
}

fn read_while_one_dies(stage: &mut Stage) -> Result<usize> {
    stage::remount(&stage.a)?;
    let before = Counters::read(stage)?.read;
    while_one_dies(stage, "read", check_script(1), |counters| counters.read.clone(), &before)
}

fn while_one_dies(
    stage: &mut Stage,
    what: &str,
    script: String,
    bytes: fn(&Counters) -> Vec<f64>,
    before: &[f64],
) -> Result<usize> {
    let ask = Ask { script, uid: None, timeout_s: PASS_SECONDS };
    let began = Instant::now();
    let (a, server) = (&stage.a, &mut stage.server);
    let (reply, dead) = std::thread::scope(|scope| {
        let pass = scope.spawn(|| a.ask(&ask));
        let dead = shoal(server).and_then(|shoal| {
            loop {
                let now = Counters::of_data_servers(|number| shoal.data_server_metrics(number))?;
                let now = bytes(&now);
                let busy = (1..).zip(now.iter().zip(before)).find(|(_, (now, before))| before < now);
                if let Some((number, _)) = busy {
                    shoal.kill_data_server(number);
                    return Ok(number);
                }
                ensure!(began.elapsed() < BEGIN_MAX, "no data server carries anything");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        (pass.join(), dead)
    });
    let dead = dead?;
    let reply = reply.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let took = began.elapsed().as_secs_f64();
    println!("  {what} while data server {dead} died: {took:.1} s");
    ensure!(reply.code == Some(0), "{what}: {:?}\n{}{}", reply.code, reply.stdout, reply.stderr);
    Ok(dead)
}

/// What the servers have counted.
#[derive(Clone, Debug, Default)]
struct Counters {
    /// Segments of layouts.
    segments: f64,
    /// Those of several extents.
    striped: f64,
    /// Bytes of clients, by data server.
    written: Vec<f64>,
    read: Vec<f64>,
}

impl Counters {
    fn read(stage: &mut Stage) -> Result<Self> {
        let all = stage.metrics()?;
        let shoal = shoal(&mut stage.server)?;
        let counters = Self::of_data_servers(|number| shoal.data_server_metrics(number))?;
        let (segments, striped) =
            (all.sum("shoal_layouts_granted_total", &[]), all.sum("shoal_striped_layouts_total", &[]));
        Ok(Self { segments, striped, ..counters })
    }

    fn of_data_servers(metrics: impl Fn(usize) -> Result<Metrics>) -> Result<Self> {
        let mut counters = Self::default();
        for number in 1..=DATA_SERVERS {
            let one = metrics(number)?;
            counters.written.push(one.sum("shoal_data_bytes_total", &["direction=\"write\""]));
            counters.read.push(one.sum("shoal_data_bytes_total", &["direction=\"read\""]));
        }
        Ok(counters)
    }
}
