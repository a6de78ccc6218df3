//! The group `crash`: every process of the server killed at a random moment under a verifying
//! writer, again and again.
//!
//! The mount is hard and stays; the writer must go on by itself. After each round the file system
//! is mounted again and everything that was promised is compared.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::scenario::{Needs, Scenario};
use super::stage::{self, Stage};
use crate::guest::random;

/// A mount that has not moved for so long after the server came back is stuck.
const STUCK_SECONDS: u64 = 60;

/// What was promised in all rounds is read within this.
const VERIFY_SECONDS_MAX: u64 = 300;

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    group: "crash",
    name: "kill-all",
    proves: "after kill -9 of every server process the mount goes on by itself and nothing promised is lost",
    needs: Needs::Mount,
    play: |stage| rounds(stage, stage.rounds),
}];

/// Plays `count` rounds over one and the same data.
pub(super) fn rounds(stage: &mut Stage, count: u32) -> Result<()> {
    let mut state = stage.seed.max(1);
    let mut logs = Vec::new();
    for round in 0..count {
        let started = Instant::now();
        let pause = Duration::from_millis(300 + random(&mut state) % 1500);
        let dead = Duration::from_millis(random(&mut state) % 800);
        logs.push(format!("/mnt/lab/promised-{}-{round}", stage.a.kernel.name));
        let played = one(stage, round, &logs, pause, dead, random(&mut state));
        let back = played.with_context(|| {
            format!(
                "round {round} of {count}, seed {}: killed after {pause:?}, dead for {dead:?}",
                stage.seed
            )
        })?;
        if count > 1 && (round % 10 == 9 || round + 1 == count) {
            println!(
                "  round {:3}: {:.1} s, back after {back:?}",
                round + 1,
                started.elapsed().as_secs_f32()
            );
        }
    }
    stage.a.run(&format!("rm -f {}", logs.join(" "))).map(drop)
}

/// One round; returns how long after the server's start the writer moved again.
fn one(
    stage: &mut Stage,
    round: u32,
    logs: &[String],
    pause: Duration,
    dead: Duration,
    seed: u64,
) -> Result<Duration> {
    let dir = stage.dir.clone();
    let log = logs.last().context("no log")?;
    let first_stamp = u64::from(round + 1) * 1_000_000;
    let writer = stage.a.op(&format!("promise {dir} {log} /tmp/stop /tmp/beat {seed} {first_stamp}"))?;
    stage.a.run(&format!("rm -f /tmp/stop /tmp/beat /tmp/done; ({writer} >/tmp/writer 2>&1; echo $? >/tmp/done) >/dev/null 2>&1 &"))?;
    std::thread::sleep(pause);
    stage.server.kill();
    std::thread::sleep(dead);
    stage.server.resume()?;
    let back = wait_for_movement(stage)?;
    std::thread::sleep(Duration::from_millis(200));
    let script = "touch /tmp/stop; for i in $(seq 600); do [ -s /tmp/done ] && break; sleep 0.1; done; cat /tmp/writer /tmp/done";
    let said = stage.a.run(script).context("the writer does not end")?;
    if said.lines().last() != Some("0") {
        bail!("the writer failed: {said}");
    }
    stage::remount(&stage.a)?;
    let verify = stage.a.op(&format!("verify {dir} {}", logs.join(" ")))?;
    let verified = stage.a.run_within(&verify, VERIFY_SECONDS_MAX);
    verified.with_context(|| stage.a.blocked_tasks())?;
    Ok(back)
}

/// Waits until the writer has done more than it had when the server came back.
fn wait_for_movement(stage: &Stage) -> Result<Duration> {
    let started = Instant::now();
    let beat = || -> Result<String> {
        stage.a.run("cat /tmp/beat; [ ! -e /tmp/done ] || cat /tmp/writer >&2 && [ ! -e /tmp/done ]")
    };
    let first = beat().context("the writer gave up")?;
    while started.elapsed() < Duration::from_secs(STUCK_SECONDS) {
        std::thread::sleep(Duration::from_millis(50));
        if beat().context("the writer gave up")? != first {
            return Ok(started.elapsed());
        }
    }
    bail!("STUCK: no act for {STUCK_SECONDS} s after the server came back\n{}", stage.a.blocked_tasks())
}
