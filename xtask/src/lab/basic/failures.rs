//! Failures: the server killed, a data server that does not answer, no room.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::attributes::wait_until;
use crate::lab::agent::Ask;
use crate::lab::crash;
use crate::lab::network;
use crate::lab::stage::Stage;

/// docs/lab.md names this bound: how long a read or write may hang when a data server is gone.
const AWAY_SECONDS_MAX: u64 = 180;

pub(super) fn kill(stage: &mut Stage) -> Result<()> {
    crash::rounds(stage, 1)
}

pub(super) fn data_server_away(stage: &mut Stage) -> Result<()> {
    let dir = stage.dir.clone();
    stage.a.run_within(&format!("head -c 300M /mnt/lab/random >{dir}/spread; sync {dir}/spread"), 200)?;
    stage.a.run("echo 3 >/proc/sys/vm/drop_caches")?;
    let gone = stage.server.data_addresses()[1];
    network::drop_address(gone)?;
    let started = Instant::now();
    // Whether it is served through the metadata server, fails, or waits is written in docs/lab.md; that it ends is the test.
    let read =
        Ask { script: format!("cat {dir}/spread | sha256sum"), uid: None, timeout_s: AWAY_SECONDS_MAX };
    let write =
        Ask { script: format!("head -c 100M /mnt/lab/random >{dir}/new; sync {dir}/new"), ..read_of(&read) };
    let (read, write) = (stage.a.ask(&read)?, stage.b.ask(&write)?);
    println!(
        "  one data server away: read {:?}, write {:?}, {:.0} s",
        read.code,
        write.code,
        started.elapsed().as_secs_f32()
    );
    let looked = stage.a.run_within(&format!("ls -l {dir} && touch {dir}/still-here"), 20);
    network::add_address(gone)?;
    ensure!(
        read.code.is_some() && write.code.is_some(),
        "not done after {AWAY_SECONDS_MAX} s: {read:?} {write:?}"
    );
    looked?;
    let back = format!("cmp -n {} {dir}/spread /mnt/lab/random", 300 << 20);
    stage.a.run_within(&back, 180).map(drop)
}

fn read_of(ask: &Ask) -> Ask {
    Ask { script: ask.script.clone(), uid: ask.uid, timeout_s: ask.timeout_s }
}

pub(super) fn full(stage: &mut Stage) -> Result<()> {
    stage.new_server(Some(512 << 20))?;
    let outcome = fill_up(stage);
    stage.unmount_both();
    stage.new_server(None)?;
    outcome
}

fn fill_up(stage: &Stage) -> Result<()> {
    stage.mount_both("vers=4.2")?;
    let fill = "dd if=/mnt/lab/random of=/mnt/c/big bs=1M count=900 conv=fsync";
    let started = Instant::now();
    stage.a.refused(None, fill, "No space left")?;
    ensure!(started.elapsed() < Duration::from_secs(100), "it took {:?} to say so", started.elapsed());
    // What fits goes on working, and the other guest is told as well.
    stage.b.run("ls -l /mnt/c >/dev/null")?;
    stage.a.run("rm /mnt/c/big")?;
    let again = "head -c 200M /mnt/lab/random >/mnt/c/again && sync /mnt/c/again";
    let fits =
        || Ok(stage.b.ask(&Ask { script: again.to_owned(), uid: None, timeout_s: 60 })?.code == Some(0));
    wait_until("200 MiB fit again after the delete", fits)?;
    stage.a.run(&format!("cmp -n {} /mnt/c/again /mnt/lab/random", 200 << 20)).map(drop)
}
