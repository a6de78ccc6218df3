//! Plays one attack: starts its cluster, sets the honest client to work, opens windows, strikes,
//! and judges.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::attack::{Attack, Evidence, Play, Strike};
use crate::cluster::Cluster;
use crate::failed::{During, Outcome};
use crate::honest::Honest;
use crate::limits::{HEALTHY_MS_MAX, REST_MS, RSS_BYTES_MAX, SAMPLE_MS};
use crate::meter::{Meter, Window};
use crate::process::Use;
use crate::report::Report;
use crate::stage::{Options, Stage};

/// Plays an attack against a cluster of its own in `folder`.
pub(crate) async fn play_attack(program: &Path, attack: &Attack, options: Options, folder: &Path) -> Report {
    let mut report = Report::new(attack);
    if let Play::CoveredBy(_) = attack.play {
        return report;
    }
    if attack.setting.needs_root && !options.reserved {
        report.left_out();
        return report;
    }
    if let Err(error) = play_in(program, attack, options, folder, &mut report).await {
        report.fault(format!("not played: {error}"));
    }
    report.judge(options.slack_us);
    report
}

async fn play_in(
    program: &Path,
    attack: &Attack,
    options: Options,
    folder: &Path,
    report: &mut Report,
) -> Outcome<()> {
    let cluster = Cluster::start(program, folder, &attack.setting, options.reserved).await.during("start")?;
    let meter = Arc::new(Meter::default());
    let honest = Honest::begin(cluster.nfs, options.reserved, Arc::clone(&meter)).await?;
    let peak = Arc::new(Mutex::new(Use::default()));
    let sampler = tokio::spawn(sample(Arc::downgrade(&cluster), Arc::clone(&peak)));
    let stage = Stage { cluster, honest, meter, options, peak, restarted: Mutex::default() };
    let before: Vec<u32> = stage.cluster.processes.lock().iter().map(crate::process::Process::id).collect();
    let played = windows(&stage, attack).await;
    let after = afterwards(&stage, &before).await;
    sampler.abort();
    report.latency = stage.meter.latency();
    report.latency_is_judged = matches!(attack.play, Play::Windows(_) | Play::Prepared(..));
    report.operations = stage.meter.operations();
    let (errors, wrong) = stage.meter.faults();
    report.wrong = wrong;
    report.used = stage.peak();
    match played {
        Ok(evidence) => report.evidence = evidence,
        Err(error) => report.fault(format!("not played to its end: {error}")),
    }
    for text in errors.into_iter().chain(after) {
        report.fault(text);
    }
    if RSS_BYTES_MAX < report.used.rss_bytes {
        report.fault(format!("a server used {} MiB", report.used.rss_bytes >> 20));
    }
    Ok(())
}

async fn windows(stage: &Stage, attack: &Attack) -> Outcome<Evidence> {
    match attack.play {
        Play::CoveredBy(_) => Ok(Evidence::default()),
        Play::Windows(strike) => take_turns(stage, strike).await,
        Play::Prepared(prepare, strike) => {
            prepare(stage).await.during("cannot be prepared")?;
            take_turns(stage, strike).await
        }
        Play::Once(strike) => {
            quiet(stage).await;
            stage.meter.open(Window::Attack);
            let struck = strike(stage).await;
            stage.meter.close();
            struck
        }
    }
}

/// Windows without the attack and with it.
async fn take_turns(stage: &Stage, strike: Strike) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    for _ in 0..stage.options.rounds {
        quiet(stage).await;
        stage.meter.open(Window::Attack);
        let until = Instant::now() + Duration::from_secs(stage.options.seconds);
        let struck = strike(stage, until).await;
        sleep(until.saturating_duration_since(Instant::now())).await;
        stage.meter.close();
        evidence.add(struck?);
        sleep(Duration::from_millis(REST_MS)).await;
    }
    Ok(evidence)
}

async fn quiet(stage: &Stage) {
    stage.meter.open(Window::Quiet);
    sleep(Duration::from_secs(stage.options.seconds)).await;
    stage.meter.close();
}

/// Nothing needed a restart: the same processes live, the honest client goes on, health is as
/// expected.
async fn afterwards(stage: &Stage, before: &[u32]) -> Vec<String> {
    let mut faults = Vec::new();
    let (began, done) = (Instant::now(), stage.meter.operations());
    let until = began + Duration::from_millis(HEALTHY_MS_MAX);
    // What was under way when the attack ended must end, too: one session may wait while the other
    // goes on.
    let goes_on = || done + 20 <= stage.meter.operations() && stage.meter.waiting() < began.elapsed();
    while !goes_on() && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
    }
    if !goes_on() {
        let waiting = stage.meter.waiting();
        faults.push(format!(
            "the honest client does not go on afterwards: an operation waits for {waiting:.0?}"
        ));
    }
    let mut problems = stage.cluster.problems();
    while !problems.is_empty() && Instant::now() < until {
        sleep(Duration::from_millis(500)).await;
        problems = stage.cluster.problems();
    }
    faults.extend(problems.into_iter().map(|text| format!("not healthy afterwards: {text}")));
    let restarted = stage.restarted.lock().clone();
    for (process, id) in stage.cluster.processes.lock().iter_mut().zip(before) {
        if let Some(status) = process.ended() {
            let said = process.said();
            let last: Vec<&str> = said.lines().rev().take(3).collect();
            faults.push(format!("{} ended: {status}: {}", process.name, last.join(" / ")));
        } else if process.id() != *id && !restarted.contains(id) {
            faults.push(format!("{} was started again", process.name));
        }
        let said = process.said();
        if let Some(line) = said.lines().find(|line| line.contains("panicked")) {
            faults.push(format!("{}: {line}", process.name));
        }
    }
    faults
}

/// Ends with the cluster, which it does not keep: what ends the play at a signal ends the servers.
async fn sample(cluster: Weak<Cluster>, peak: Arc<Mutex<Use>>) {
    while let Some(cluster) = cluster.upgrade() {
        for process in cluster.processes.lock().iter() {
            if let Some(used) = process.used() {
                let mut peak = peak.lock();
                peak.rss_bytes = peak.rss_bytes.max(used.rss_bytes);
                peak.descriptors = peak.descriptors.max(used.descriptors);
            }
        }
        drop(cluster);
        sleep(Duration::from_millis(SAMPLE_MS)).await;
    }
}
