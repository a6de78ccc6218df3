//! Connections that say nothing, as many as there are places.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::hosts::{apart, client, serve};
use super::proof::must_have_happened;
use crate::attack::{Attack, Evidence, Play};
use crate::failed::Outcome;
use crate::net::Via;
use crate::raw::Raw;
use crate::stage::Stage;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "idle_nfs",
            line: 8,
            row: "4,200 idle connections to the NFS port, from one address and from sixteen",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(fill_nfs(stage, until))),
        },
        Attack {
            name: "idle_control",
            line: 8,
            row: "300 idle connections to each control port, so that copies cannot be kept",
            setting: apart(),
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(fill_control(stage, until))),
        },
        Attack {
            name: "half_http",
            line: 9,
            row: "12,000 half requests to the metrics port, to use all descriptors",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(fill_metrics(stage, until))),
        },
    ]
}

/// Connections that are being opened at a time.
const OPENING_MAX: usize = 32;
/// Connections a second: to open them must not be the attack.
const OPENED_PER_S: u64 = 4_000;

/// A window is so much longer if that is needed to open all.
pub(super) const OPENING: Duration = Duration::from_secs(8);
/// All of them are held for so long.
pub(super) const HOLDING: Duration = Duration::from_secs(2);

/// Opens as many connections as asked, from several hosts in turn, until a time.
pub(super) async fn open_many(
    to: SocketAddr,
    hosts: u8,
    count: usize,
    until: Instant,
    hello: &'static [u8],
) -> Vec<Raw> {
    let (mut held, mut opening) = (Vec::with_capacity(count), JoinSet::new());
    let mut next = 0..count;
    let began = Instant::now();
    loop {
        let early = Duration::from_micros(next.start as u64 * 1_000_000 / OPENED_PER_S);
        sleep(early.saturating_sub(began.elapsed())).await;
        while opening.len() < OPENING_MAX && Instant::now() < until {
            let Some(number) = next.next() else { break };
            let host = 2 + u8::try_from(number % usize::from(hosts.max(1))).unwrap_or(0);
            let via = Via::host(Ipv4Addr::new(127, 0, 0, host), false);
            opening.spawn(async move {
                let stream = timeout(Duration::from_secs(2), via.open(to)).await.ok()?.ok()?;
                (hello.is_empty() || stream.try_write(hello).is_ok()).then_some(Raw { stream })
            });
        }
        match opening.join_next().await {
            Some(Ok(Some(raw))) => held.push(raw),
            Some(_) => {}
            None => return held,
        }
    }
}

/// New clients mount while the attack has taken the places.
pub(super) async fn newcomers(stage: &Stage, until: Instant, evidence: &mut Evidence) {
    let mut came = 0_u32;
    loop {
        let began = Instant::now();
        let met = timeout(Duration::from_secs(10), async {
            let mut client = client(stage, 0, &format!("newcomer {came}")).await?;
            client.end().await
        });
        match met.await {
            Ok(Ok(())) => came += 1,
            Ok(Err(error)) => evidence.broken(format!("a newcomer is not let in: {error}")),
            Err(_) => evidence.broken("a newcomer waits for more than 10 s"),
        }
        if Duration::from_secs(3) < began.elapsed() {
            evidence.broken("a newcomer waits for more than 3 s");
        }
        if until < Instant::now() {
            evidence.note(format!("{came} newcomers in a window"));
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// More connections than there are places must have come, `places` at each of `ports`, or the
/// attack shows nothing: all of them were opened at once, or servers closed some.
fn must_have_filled(evidence: &mut Evidence, held: &[Raw], places: usize, ports: usize) {
    let (opened, all) = (held.len(), places * ports);
    let closed = held.iter().filter(|raw| raw.is_closed()).count();
    evidence.note(format!("{} of {all} places were taken", opened - closed));
    if opened <= all {
        evidence.broken(format!("not played: {opened} connections for {all} places"));
    }
    if all < opened - closed {
        evidence.broken(format!("{} connections are held in {all} places", opened - closed));
    }
}

/// Places that docs/security.md promises for each kind of port.
const NFS_PLACES: usize = 4_096;
const CONTROL_PLACES: usize = 256;
const METRICS_PLACES: usize = 64;

async fn fill_nfs(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    const COUNT: usize = 4_200;
    let mut evidence = Evidence::default();
    // Of one address in every other window.
    let hosts = if stage.meter.windows().is_multiple_of(4) { 1 } else { 16 };
    let held = open_many(stage.cluster.nfs, hosts, COUNT, until + OPENING, b"").await;
    newcomers(stage, until.max(Instant::now() + HOLDING), &mut evidence).await;
    must_have_filled(&mut evidence, &held, NFS_PLACES, 1);
    evidence.note(format!("{} connections of {hosts} addresses", held.len()));
    Ok(evidence)
}

async fn fill_control(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    const COUNT: usize = 300;
    let mut evidence = Evidence::default();
    let data = stage.cluster.data_servers.iter().map(|(_, control)| *control);
    let ports: Vec<SocketAddr> = data.chain([stage.cluster.control]).collect();
    let mut held = Vec::new();
    for port in &ports {
        held.push(open_many(*port, 4, COUNT, until + OPENING, b"").await);
    }
    sleep(until.saturating_duration_since(Instant::now())).await;
    // The last one is the metadata server's: it has more places than that.
    let opened: usize = held.iter().map(Vec::len).sum();
    let _to_metadata = held.pop();
    let (of_data, to_data) = (held.len(), held.into_iter().flatten().collect::<Vec<Raw>>());
    let status = stage.cluster.report("status")?;
    if status["extents_degraded"].as_u64() != Some(0) && stage.cluster.problems().is_empty() {
        evidence.broken("writes are acknowledged with fewer copies, and health is ok");
    }
    must_have_filled(&mut evidence, &to_data, CONTROL_PLACES, of_data);
    evidence.note(format!("{opened} connections"));
    Ok(evidence)
}

async fn fill_metrics(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    const COUNT: usize = 12_000;
    let mut evidence = Evidence::default();
    let half = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Half: ";
    let held = open_many(stage.cluster.metrics, 8, COUNT, until + OPENING, half).await;
    newcomers(stage, until.max(Instant::now() + HOLDING), &mut evidence).await;
    if let Err(error) = stage.cluster.report("status") {
        evidence.broken(format!("the metrics port does not answer an administrator: {error}"));
    }
    must_have_filled(&mut evidence, &held, METRICS_PLACES, 1);
    must_have_happened(&mut evidence, "half requests", (held.len(), COUNT), None);
    evidence.note(format!("{} half requests", held.len()));
    Ok(evidence)
}
