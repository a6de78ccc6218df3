//! Playing scenarios, kernel by kernel, inside the sandbox; the table at the end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets;

use super::choice::Lab;
use super::kernels::{self, Kernel};
use super::scenario::{Needs, Scenario};
use super::server::{self, Setup};
use super::stage::{self, Stage};
use super::{network, sandbox};
use crate::process;

/// What became of a scenario.
enum Verdict {
    Passed,
    Failed,
    /// It makes no sense with this server; the reason.
    Left(&'static str),
}

/// How the table at the end begins.
pub(super) const TABLE_HEAD: &str = " scenario ";

struct Row {
    scenario: &'static str,
    kernel: &'static str,
    took: Duration,
    verdict: Verdict,
}

/// Plays everything asked for; ends the process with 1 when something failed.
pub(super) fn inside(lab: &Lab) -> Result<()> {
    let folder = sandbox::settle(lab.keep)?;
    network::bring_up()?;
    let seed = lab.seed.unwrap_or_else(fresh_seed);
    println!("run folder {}, seed {seed}", folder.display());
    make_random(&folder)?;
    let (started, mut rows) = (Instant::now(), Vec::new());
    for release in lab.releases()? {
        let cache = kernels::cache_folder(lab.cache.as_deref())?;
        let kernel = kernels::fetch(&cache, release)?;
        play_kernel(lab, &kernel, &folder, &cache, seed, &mut rows);
    }
    let failed = summarise(&rows, started.elapsed());
    sandbox::leave(i32::from(failed))
}

fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |since| since.as_nanos() as u64 % 1_000_000_007)
}

/// 1 GiB that no server can squeeze, seen in the guests as `/mnt/lab/random`, and its SHA-256.
fn make_random(folder: &Path) -> Result<()> {
    let script = "head -c 1G /dev/urandom | tee random | sha256sum >random.sha256";
    process::output(Command::new("sh").arg("-c").arg(script).current_dir(folder)).map(drop)
}

fn play_kernel(lab: &Lab, kernel: &Kernel, folder: &Path, cache: &Path, seed: u64, rows: &mut Vec<Row>) {
    let setup = Setup {
        folder: folder.to_owned(),
        data: folder.join("server"),
        kernel: kernel.clone(),
        capacity_bytes: None,
        shoal: server::shoal_program(),
    };
    let started = Instant::now();
    let mut stage = match Stage::build(lab.server, kernel, setup, cache.to_owned()) {
        Ok(stage) => stage,
        Err(error) => {
            println!("FAILED to set up {}: {error:#}", kernel.version);
            rows.push(Row {
                scenario: "set-up",
                kernel: kernel.name,
                took: started.elapsed(),
                verdict: Verdict::Failed,
            });
            return;
        }
    };
    println!(
        "kernel {}: two guests and {:?} in {:.1} s",
        kernel.version,
        lab.server,
        started.elapsed().as_secs_f32()
    );
    (stage.rounds, stage.seed, stage.fault) = (lab.rounds, seed, lab.fault);
    stage.fsx = lab.fsx_bounds();
    stage.only.clone_from(&lab.only);
    for scenario in lab.scenarios() {
        rows.push(play(scenario, &mut stage));
    }
}

fn play(scenario: &'static Scenario, stage: &mut Stage) -> Row {
    let started = Instant::now();
    let row = |verdict, took| Row { scenario: scenario.name, kernel: stage_name(stage), took, verdict };
    if scenario.needs == Needs::DataServers && !stage.kind.is_ours() {
        return row(Verdict::Left("only for a server with data servers"), started.elapsed());
    }
    stage.dir = format!("/mnt/c/{}", scenario.name);
    let outcome = before(scenario, stage).and_then(|()| (scenario.play)(stage));
    let took = started.elapsed();
    let verdict = match outcome {
        Ok(()) => Verdict::Passed,
        Err(error) => {
            explain(scenario, stage, &error);
            Verdict::Failed
        }
    };
    let word = if matches!(verdict, Verdict::Passed) { "ok" } else { "FAILED" };
    println!("{:6} {:22} {word:7} {:6.1} s", stage.a.kernel.name, scenario.name, took.as_secs_f32());
    after(stage, matches!(verdict, Verdict::Failed));
    Row { scenario: scenario.name, kernel: stage_name(stage), took, verdict }
}

fn stage_name(stage: &Stage) -> &'static str {
    stage.a.kernel.name
}

fn before(scenario: &Scenario, stage: &mut Stage) -> Result<()> {
    if scenario.needs != Needs::Mount {
        stage.unmount_both();
        return Ok(());
    }
    for guest in stage.guests() {
        let mounted = guest.run("mountpoint -q /mnt/c && echo yes || echo no")?;
        if mounted.trim() == "no" {
            stage::mount(guest, "vers=4.2")?;
        }
    }
    stage.a.run(&format!("mkdir -p {0} && chmod 755 {0}", stage.dir)).map(drop)
}

/// Leaves the stage usable: an empty mount, and after a failure new guests and, where it is gone, a
/// server.
fn after(stage: &mut Stage, failed: bool) {
    if !failed {
        let script = format!("mountpoint -q /mnt/c && rm -rf {}; true", stage.dir);
        let _ = stage.a.run(&script);
        return;
    }
    let mended = stage.a.reboot().and_then(|()| stage.b.reboot()).and_then(|()| stage.new_server(None));
    if let Err(error) = mended {
        println!("the stage could not be mended: {error:#}");
    }
}

fn explain(scenario: &Scenario, stage: &Stage, error: &anyhow::Error) {
    println!("---- {} on {}: {}", scenario.name, stage.a.kernel.version, scenario.proves);
    println!("{error:#}");
    for guest in stage.guests() {
        println!("---- kernel log of {}:\n{}", guest.plan.name, guest.dmesg_tail());
        let blocked = guest.blocked_tasks();
        if !blocked.trim().is_empty() {
            println!("---- blocked in {}:\n{blocked}", guest.plan.name);
        }
    }
    let log = stage.server.log();
    println!("---- server, {} (kept with --keep):\n{}\n----", log.display(), process::tail(&log, 15));
}

fn summarise(rows: &[Row], took: Duration) -> bool {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([TABLE_HEAD.trim(), "kernel", "seconds", "result"]);
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    for row in rows {
        let result = match row.verdict {
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed => "FAILED".to_owned(),
            Verdict::Left(reason) => format!("left out: {reason}"),
        };
        table.add_row([row.scenario, row.kernel, &format!("{:.1}", row.took.as_secs_f32()), &result]);
    }
    println!("\n{table}\n");
    let (passed, failed) = (count(|v| matches!(v, Verdict::Passed)), count(|v| matches!(v, Verdict::Failed)));
    let left = rows.len() - passed - failed;
    if 0 < left {
        println!("{left} left out");
    }
    println!("in {:.0} s", took.as_secs_f32());
    println!("{passed} passed, {failed} failed");
    0 < failed
}
