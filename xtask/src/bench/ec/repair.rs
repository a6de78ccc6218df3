//! Repair: everything is sealed in 4+2 groups on six data servers, one is lost with its disk, an
//! empty one comes in its place.
//!
//! A full group has an image on each of the six, so nearly all that is made again is written by one
//! server: what bounds it is that server's disk, and the loopback that four times as much is read
//! over. Both are measured in the same round.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use super::aim::Aim;
use super::ground::{Ground, WAIT_SECONDS_MAX, wait};
use super::machine::{Machine, disk_bytes};
use crate::bench::mounted::Mounted;
use crate::bench::report::middle;
use crate::lab::bench_parts::{Kind, Server, Shoal, is_sealed, is_whole};

const RATIO_MIN: f64 = 0.4;
const DATA_SERVERS: usize = 6;
/// Of a 4+2 group, for each byte made again.
const READ_PER_BYTE: f64 = 4.0;
/// The loss is to be many images, not a few: so many large files are written.
const LARGE_FILES: u64 = 2;
const IMAGE_BYTES: &str = "shoal_image_bytes";
const LOOK: Duration = Duration::from_millis(50);
const MIB: f64 = (1 << 20) as f64;

/// One loss.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    lost_mib: f64,
    /// From the loss until all lost bytes are there again: the grace time and finding out are in
    /// it.
    whole_after_s: f64,
    /// From the first byte that was made again.
    repair_s: f64,
    repair_mib_s: f64,
    machine: Machine,
    /// Of `repair_mib_s` to the lower of what the disk writes and loopback.
    ratio: f64,
    /// The same where all that is read for it comes from this one disk, as here: four bytes for
    /// each.
    ratio_of_reading: f64,
}

pub(super) fn measure(ground: &Ground<'_>) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for number in 0..ground.rounds {
        let machine = Machine::measure(ground.folder, ground.mib.max(256))?;
        ground.with_server(Kind::ShoalCoded, number, |server, mounted| {
            rounds.push(lose(ground, server, mounted, number % DATA_SERVERS + 1, machine)?);
            Ok(())
        })?;
    }
    Ok(rounds)
}

fn lose(
    ground: &Ground<'_>,
    server: &mut Server,
    mounted: &Mounted<'_>,
    number: usize,
    machine: Machine,
) -> Result<Round> {
    for file in 0..LARGE_FILES {
        mounted.op(
            &format!("time-write {} {}", mounted.path(&format!("large-{file}")), ground.mib << 20),
            900,
        )?;
    }
    let sealed_s = wait(server, "sealed", is_sealed)?;
    let Server::Shoal(shoal) = server else { bail!("only ours is repaired") };
    let lost_bytes = shoal.data_server_metrics(number)?.sum(IMAGE_BYTES, &[]);
    let all_bytes = image_bytes(shoal)?;
    ensure!(0.0 < lost_bytes, "data server {number} has no image");
    shoal.kill_data_server(number);
    let lost = Instant::now();
    shoal.wipe_data_server(number)?;
    shoal.start_one(number)?;
    let (first, whole) = watch(shoal, all_bytes, lost)?;
    wait(server, "whole", is_whole)?;
    let repair_s = (whole - first).as_secs_f64();
    let repair_mib_s = lost_bytes / MIB / repair_s;
    let round = Round {
        lost_mib: lost_bytes / MIB,
        whole_after_s: whole.as_secs_f64(),
        repair_s,
        repair_mib_s,
        machine,
        ratio: repair_mib_s / machine.bound_mib_s(),
        ratio_of_reading: repair_mib_s / machine.reading_bound_mib_s(READ_PER_BYTE),
    };
    println!(
        "repair: sealed after {sealed_s:.0} s; data server {number} lost with {:.0} MiB of images, there again after {:.1} s, \
         {repair_s:.1} s of them making them: {repair_mib_s:.1} MiB/s; disk {:.0} written, {:.0} read, loopback {:.0}; ratio {:.2}",
        round.lost_mib,
        round.whole_after_s,
        machine.disk_write_mib_s,
        machine.disk_read_mib_s,
        machine.loopback_mib_s,
        round.ratio
    );
    Ok(round)
}

/// Image files of all servers.
fn image_bytes(shoal: &Shoal) -> Result<f64> {
    let of = |number| Ok(shoal.data_server_metrics(number)?.sum(IMAGE_BYTES, &[]));
    (1..=DATA_SERVERS).map(of).sum()
}

/// When the first byte was made again, and when as many images were there as before, since the
/// loss.
fn watch(shoal: &Shoal, all_bytes: f64, lost: Instant) -> Result<(Duration, Duration)> {
    let on_disk = || {
        (1..=DATA_SERVERS).map(|number| disk_bytes(&shoal.data_folder(number).join("images"))).sum::<u64>()
    };
    let (left, mut first) = (on_disk(), None);
    while lost.elapsed() < Duration::from_secs(WAIT_SECONDS_MAX) {
        std::thread::sleep(LOOK);
        let now = lost.elapsed();
        if first.is_none() && on_disk() <= left {
            continue;
        }
        let first = *first.get_or_insert(now);
        if all_bytes <= image_bytes(shoal)? {
            return Ok((first, now));
        }
    }
    bail!("of {all_bytes} bytes of images {} are there after {WAIT_SECONDS_MAX} s", image_bytes(shoal)?)
}

pub(super) fn aims(rounds: &[Round]) -> Vec<Aim> {
    let of = |pick: fn(&Round) -> f64| middle(rounds.iter().map(pick).collect());
    vec![
        Aim::at_least("repair / min(disk written, loopback)", of(|round| round.ratio), RATIO_MIN),
        Aim::beside(
            "repair / min(disk read / 4, disk written, loopback / 4)",
            of(|round| round.ratio_of_reading),
        ),
        Aim::beside("repair, MiB/s", of(|round| round.repair_mib_s)),
        Aim::beside("disk, MiB/s written with fsync", of(|round| round.machine.disk_write_mib_s)),
        Aim::beside("disk, MiB/s read cold", of(|round| round.machine.disk_read_mib_s)),
        Aim::beside("loopback, MiB/s", of(|round| round.machine.loopback_mib_s)),
        Aim::beside("whole again, seconds after the loss", of(|round| round.whole_after_s)),
    ]
}
