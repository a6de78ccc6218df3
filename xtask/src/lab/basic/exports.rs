//! Exports that are changed while clients write: a client that holds a layout and writes straight
//! to data servers is refused, and nothing of what it writes after that is in the file; a client
//! that may go on notices no error.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::agent::{Ask, Reply};
use crate::lab::guest::Guest;
use crate::lab::network;
use crate::lab::server::ours::shoal;
use crate::lab::server::{Kind, Server};
use crate::lab::stage::{self, Stage};

/// What is exported before and after.
const BOTH: &str = "[[export]]\npath = \"/\"\n[[export]]\npath = \"/other\"\n";
const FILE_BYTES: u64 = 4 << 20;
/// A writer on a busy machine begins by then.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// A client that was refused at a data server has asked the metadata server by then.
const REFUSED_MAX: Duration = Duration::from_secs(30);
/// Both writers go on for so long after the change.
const AFTER: Duration = Duration::from_secs(5);
const WRITER_SECONDS_MAX: u64 = 300;
const STOP: &str = "/tmp/insist.stop";
const LOG: &str = "/tmp/insist.log";
/// What a refused write may say: EIO, EACCES, EROFS, ESTALE, or nothing written.
/// QUIRK(linux): an O_DIRECT write that is refused in the middle, or whose LAYOUTGET is refused at
/// its PUTFH, returns 0.
const REFUSALS: [&str; 5] = ["0", "5", "13", "30", "116"];
/// What the refusals of an export that is read-only must end in: EROFS.
const READ_ONLY: &str = "30";

pub(super) fn read_only(stage: &mut Stage) -> Result<()> {
    let exports = "[[export]]\npath = \"/\"\nread_only = true\n[[export]]\npath = \"/other\"\n";
    stage.with_server_of(Kind::ShoalSplit, None, |stage| restrict(stage, exports, Some(READ_ONLY)))
}

pub(super) fn network_removed(stage: &mut Stage) -> Result<()> {
    let exports = "[[export]]\npath = \"/\"\nclients = [\"10.77.0.3/32\"]\n[[export]]\npath = \"/other\"\n";
    stage.with_server_of(Kind::ShoalSplit, None, |stage| restrict(stage, exports, None))
}

/// Guest a writes through the export that is restricted, guest b through the other one.
fn restrict(stage: &mut Stage, restricted: &str, last_code: Option<&str>) -> Result<()> {
    set(stage, BOTH)?;
    let fill = |guest: &Guest, path: &str| {
        let script = guest.op(&format!("fill {path} {FILE_BYTES} 1"))?;
        guest.run(&format!("rm -f {STOP} {LOG}; {script}"))
    };
    fill(&stage.a, "/mnt/c/mine")?;
    let mount =
        format!("mkdir -p /mnt/other; mount -t nfs4 -o vers=4.2 {}:/other /mnt/other", network::SERVER);
    stage.b.run(&mount)?;
    fill(&stage.b, "/mnt/other/mine")?;
    let outcome = write_while_restricted(stage, restricted, last_code);
    let outcome = outcome.and_then(|()| again(stage));
    stage.b.run("umount /mnt/other || umount -f -l /mnt/other")?;
    outcome
}

fn write_while_restricted(stage: &mut Stage, restricted: &str, last_code: Option<&str>) -> Result<()> {
    let ask = |guest: &Guest, path: &str| -> Result<Ask> {
        let script = guest.op(&format!("insist {path} {STOP} {LOG}"))?;
        Ok(Ask { script, uid: None, timeout_s: WRITER_SECONDS_MAX })
    };
    let (of_a, of_b) = (ask(&stage.a, "/mnt/c/mine")?, ask(&stage.b, "/mnt/other/mine")?);
    let file = stage.folder.join("exports.toml");
    std::fs::write(&file, restricted)?;
    let (a, b, server) = (&stage.a, &stage.b, &mut stage.server);
    let (from_a, from_b, changed) = std::thread::scope(|scope| {
        let (in_a, in_b) = (scope.spawn(|| a.ask(&of_a)), scope.spawn(|| b.ask(&of_b)));
        let changed = change([a, b], server, &file);
        let stopped = [a, b].map(|guest| guest.run(&format!("touch {STOP}")).map(drop));
        (in_a.join(), in_b.join(), stopped.into_iter().fold(changed, |changed, one| one.and(changed)))
    });
    let (begun, others) = changed?;
    for joined in [from_a, from_b] {
        let Reply { code, stdout, stderr } = joined.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        ensure!(code == Some(0), "a writer: {code:?}\n{stdout}{stderr}");
    }
    let late = last(&stage.a, "acknowledged")?;
    ensure!(late <= begun, "write {late} was acknowledged, {begun} was the last one begun before the answer");
    let codes = stage.a.run(&format!("awk '/^refused/ {{ print $3 }}' {LOG} | sort -u"))?;
    ensure!(codes.lines().all(|code| REFUSALS.contains(&code)), "refused with errors {codes}");
    if let Some(expected) = last_code {
        let code = stage.a.run(&format!("awk '/^refused/ {{ code = $3 }} END {{ print code }}' {LOG}"))?;
        ensure!(code.trim() == expected, "the last write was refused with error {code}, not {expected}");
    }
    println!("  refused with {}", codes.trim().replace('\n', ", "));
    ensure!(last(&stage.b, "refused")? == 0, "a writer that may go on was refused");
    ensure!(others < last(&stage.b, "acknowledged")?, "a writer that may go on wrote nothing any more");
    // Guest b may read both, and has nothing of the first one cached.
    let newest = stage.b.run(&stage.b.op("newest /mnt/c/mine")?)?;
    let newest: u64 = newest.trim().parse().with_context(|| format!("newest: {newest}"))?;
    ensure!(
        newest <= begun,
        "write {newest} is in the file, {begun} was the last one begun before the answer"
    );
    Ok(())
}

/// Sets the exports under the writers and waits until guest a is refused; the last write that it
/// had begun when that was answered, and the last one of guest b that was acknowledged when guest a
/// was refused.
fn change([a, b]: [&Guest; 2], server: &mut Server, file: &Path) -> Result<(u64, u64)> {
    for guest in [a, b] {
        until(BEGIN_MAX, "a write is acknowledged", || Ok(100 <= last(guest, "acknowledged")?))?;
    }
    let words = shoal(server)?.administer(&["exports", "set", "--config", &file.to_string_lossy()])?;
    let (begun, at) = (last(a, "begun")?, Instant::now());
    println!("  {}", words.trim().replace('\n', "\n  "));
    let refused = until(REFUSED_MAX, "the next write is refused", || Ok(begun < last(a, "refused")?));
    refused.with_context(|| {
        let seen = a.run(&format!("tail -3 {LOG}; grep -E ' (WRITE|LAYOUT.*):' /proc/self/mountstats"));
        format!("write {begun} was the last one begun before the answer; now\n{}", seen.unwrap_or_default())
    })?;
    println!("  refused {:.1} s after the answer", at.elapsed().as_secs_f64());
    let others = last(b, "acknowledged")?;
    std::thread::sleep(AFTER);
    Ok((begun, others))
}

/// What was taken away is given back: the client writes again, and the other one reads it.
fn again(stage: &mut Stage) -> Result<()> {
    set(stage, BOTH)?;
    let fill = stage.a.op(&format!("fill /mnt/c/mine {FILE_BYTES} 2"))?;
    let began = Instant::now();
    stage.a.run_within(&fill, 120).context("a client that may write again")?;
    println!("  writes again after {:.1} s", began.elapsed().as_secs_f64());
    stage::remount(&stage.b)?;
    stage.b.run(&stage.b.op("compare /mnt/c/mine 2")?).map(drop)
}

fn set(stage: &mut Stage, exports: &str) -> Result<()> {
    let file = stage.folder.join("exports.toml");
    std::fs::write(&file, exports)?;
    shoal(&mut stage.server)?.administer(&["exports", "set", "--config", &file.to_string_lossy()]).map(drop)
}

/// The last write in a guest's log of which that is said; 0 if there is none.
fn last(guest: &Guest, word: &str) -> Result<u64> {
    let said = guest.run(&format!("grep '^{word} ' {LOG} 2>/dev/null | tail -1"))?;
    let mut words = said.split_whitespace();
    words.nth(1).map_or(Ok(0), |stamp| stamp.parse().context("a stamp"))
}

fn until(limit: Duration, what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done()? {
        ensure!(began.elapsed() < limit, "not after {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
