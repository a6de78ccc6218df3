//! Failures: the server killed, a data server gone, no room.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::agent::Ask;
use crate::lab::crash;
use crate::lab::network;
use crate::lab::server::{Kind, Server};
use crate::lab::stage::Stage;

/// docs/lab.md names these bounds: how long a read or write may hang when a data server is gone.
const STOPPED_SECONDS_MAX: u64 = 60;
const SILENT_SECONDS_MAX: u64 = 120;

pub(super) fn kill(stage: &mut Stage) -> Result<()> {
    crash::rounds(stage, 1)
}

/// One data server's process is killed: clients that talk to it are refused.
pub(super) fn data_server_stopped(stage: &mut Stage) -> Result<()> {
    stage.new_server_of(Kind::ShoalSplit, None)?;
    let outcome = with_one_gone(stage, STOPPED_SECONDS_MAX, |server, gone| match (server, gone) {
        (Server::Shoal(shoal), true) => {
            shoal.kill_data_server(2);
            Ok(())
        }
        (Server::Shoal(shoal), false) => shoal.start_one(2),
        _ => bail!("this server has no processes to choose from"),
    });
    stage.unmount_both();
    stage.new_server(None)?;
    outcome
}

/// One data server's address is taken away: who talks to it hears nothing at all.
pub(in crate::lab) fn data_server_silent(stage: &mut Stage) -> Result<()> {
    let gone = stage.server.data_addresses()[1];
    let outcome = with_one_gone(stage, SILENT_SECONDS_MAX, |_, away| {
        if away { network::drop_address(gone) } else { network::add_address(gone) }
    });
    stage.unmount_both();
    outcome
}

/// Writes a file over all data servers, takes one away, reads the file and writes another, gives it
/// back.
fn with_one_gone(
    stage: &mut Stage,
    seconds_max: u64,
    set: impl Fn(&mut Server, bool) -> Result<()>,
) -> Result<()> {
    stage.mount_both("vers=4.2")?;
    stage.a.run_within("head -c 400M /mnt/lab/random >/mnt/c/spread; sync /mnt/c/spread", 200)?;
    stage.a.run("echo 3 >/proc/sys/vm/drop_caches")?;
    set(&mut stage.server, true)?;
    let started = Instant::now();
    // Whether a read is served otherwise, fails, or waits is written in docs/lab.md; that it ends
    // is the test.
    let ask = |script: &str| Ask { script: script.to_owned(), uid: None, timeout_s: seconds_max };
    let (a, b) = (&stage.a, &stage.b);
    let (read, write, looked) = std::thread::scope(|scope| {
        let read = scope.spawn(|| a.ask(&ask("cmp -n 419430400 /mnt/c/spread /mnt/lab/random")));
        let write = scope.spawn(|| b.ask(&ask("head -c 200M /mnt/lab/random >/mnt/c/new; sync /mnt/c/new")));
        // The metadata server is to answer all along.
        let looked = b.run_within("ls /mnt/c && mkdir /mnt/c/still-here && echo x >/mnt/c/still-here/x", 20);
        (read.join(), write.join(), looked)
    });
    let panicked = |_| anyhow::anyhow!("a thread panicked");
    let (read, write) = (read.map_err(panicked)??, write.map_err(panicked)??);
    println!(
        "  one data server gone: read {:?}, write {:?}, both after {:.0} s",
        read.code,
        write.code,
        started.elapsed().as_secs_f32()
    );
    set(&mut stage.server, false)?;
    looked?;
    ensure!(
        read.code.is_some() && write.code.is_some(),
        "not done after {seconds_max} s: reading {read:?}, writing {write:?}"
    );
    stage.a.run_within("cmp -n 419430400 /mnt/c/spread /mnt/lab/random", 180).context("when it is back")?;
    stage.a.run_within("rm -r /mnt/c/spread /mnt/c/new /mnt/c/still-here", 60).map(drop)
}

pub(super) fn full(stage: &mut Stage) -> Result<()> {
    // Everything is kept twice.
    stage.new_server(Some(1 << 30))?;
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
    // What is given back is given back in the background: half a minute is enough.
    let (waited, mut said) = (Instant::now(), String::new());
    loop {
        let again = "rm -f /mnt/c/again; head -c 200M /mnt/lab/random >/mnt/c/again && sync /mnt/c/again";
        let reply = stage.b.ask(&Ask { script: again.to_owned(), uid: None, timeout_s: 60 })?;
        if reply.code == Some(0) {
            break;
        }
        let free = stage.b.run("df -m --output=avail /mnt/c | tail -1")?;
        let line = format!("after {:?}, {} MiB free: {}", waited.elapsed(), free.trim(), reply.stderr);
        said.push_str(&line);
        ensure!(waited.elapsed() < Duration::from_secs(30), "200 MiB do not fit after the delete:\n{said}");
        // What the failed try left must not keep the next one from fitting.
        stage.b.run("rm -f /mnt/c/again; sleep 3")?;
    }
    stage.a.run(&format!("cmp -n {} /mnt/c/again /mnt/lab/random", 200 << 20)).map(drop)
}
