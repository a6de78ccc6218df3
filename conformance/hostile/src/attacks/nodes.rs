//! The control ports, as who has no key, another key, or the key of another role.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use client::control::greeting;
use env::os::{OsClock, OsEntropy};
use env_transport::{Limits, RpcClient};
use tokio::time::{Instant, sleep};
use wire_nfs::control::admin::DrainServer;
use wire_nfs::control::extent::{AtEpoch, ExtentName};
use wire_nfs::control::{ClusterKey, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_reply};
use wire_rpc::Credential;
use wire_xdr::Writer;

use super::hosts::{apart, outside};
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::text;
use crate::failed::{During, Outcome, failed};
use crate::limits::{CALL_MS_MAX, HEALTHY_MS_MAX};
use crate::process::Process;
use crate::raw::{Raw, encoded, record, results};
use crate::stage::Stage;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "control_without_key",
            line: 7,
            row: "calls control procedures without the handshake, with arguments of all kinds",
            setting: apart(),
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(call_without_key(stage, until))),
        },
        Attack {
            name: "control_other_role",
            line: 7,
            row: "does with the handshake of one role what only another may, or with another key anything",
            setting: apart(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(call_as_another(stage, until))),
        },
        Attack {
            name: "role_key",
            line: 7,
            row: "administers the cluster, or starts a metadata server, with the key file of one data server",
            setting: apart(),
            quick: false,
            play: Play::Once(|stage| Box::pin(use_role_key(stage))),
        },
    ]
}

/// Numbers of procedures, those that there are and some that there are not.
const PROCEDURES: std::ops::Range<u32> = 3..48;

fn control_ports(stage: &Stage) -> Vec<SocketAddr> {
    let data = stage.cluster.data_servers.iter().map(|(_, control)| *control);
    data.chain([stage.cluster.control]).collect()
}

async fn call_without_key(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let ports = control_ports(stage);
    let mut tries = 0_u32;
    'all: loop {
        for procedure in PROCEDURES {
            for port in &ports {
                if until < Instant::now() {
                    break 'all;
                }
                tries += 1;
                sleep(Duration::from_millis(2)).await;
                let none = answer(stage, *port, procedure, 0).await?;
                // A longer record ends the connection unread.
                let some = answer(stage, *port, procedure, 512).await?;
                let long = answer(stage, *port, procedure, 4096).await?;
                if long != Answer::Silence {
                    evidence.broken(format!("{port}: procedure {procedure}: a long record is read"));
                }
                judge_answers(
                    &format!("{port}: procedure {procedure}"),
                    procedure,
                    (&none, &some),
                    &mut evidence,
                );
            }
        }
    }
    evidence.note(format!("{tries} calls"));
    Ok(evidence)
}

/// What came of a call on a fresh connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing, or the connection was closed.
    Silence,
    /// The call was refused as a call: there is no such procedure.
    Rejected,
    /// Results.
    Results(Vec<u8>),
}

/// A server that says nothing at all may be dead: a procedure that exists is refused in words.
fn judge_answers(what: &str, procedure: u32, (none, some): (&Answer, &Answer), evidence: &mut Evidence) {
    if none != some {
        evidence.broken(format!("{what}: the arguments matter before the handshake"));
    }
    match none {
        Answer::Silence if Procedure::from_number(procedure).is_some() => {
            evidence.broken(format!("{what}: no answer"));
        }
        Answer::Results(reply) if reply.starts_with(&[0; 4]) => {
            evidence.exceeded(format!("{what} without the handshake"));
        }
        _ => {}
    }
}

async fn answer(stage: &Stage, port: SocketAddr, procedure: u32, bytes: usize) -> Outcome<Answer> {
    let mut raw = Raw::open(outside(stage), port).await?;
    let mut args = Writer::new();
    args.raw(&vec![0xa5; bytes]);
    raw.send(&record(7, (PROGRAM, VERSION, procedure), &Credential::None, args)).await?;
    let Ok(reply) = raw.take(Duration::from_secs(5)).await else { return Ok(Answer::Silence) };
    Ok(results(reply).map_or(Answer::Rejected, |mut reader| Answer::Results(reader.rest().to_vec())))
}

async fn call_as_another(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let digits = std::fs::read_to_string(stage.cluster.key_file()).during("the cluster key")?;
    let key = ClusterKey::new(key_of(&digits)?);
    let other = ClusterKey::new([0x5a; 32]);
    let server = first_data_server(stage)?;
    let (undrain, drain) = (DrainServer { server, drain: false }, DrainServer { server, drain: true });
    let fence = AtEpoch { extent: ExtentName { ino: 1, index: 0 }, epoch: 1 };
    let to = stage.cluster.control;
    // The same call by an administrator is carried out: what refuses the others is who they are.
    call(to, &key, NodeKind::Administrator, Procedure::DsDrain, &undrain)
        .await
        .during("an administrator with the key is refused")?;
    while Instant::now() < until {
        for kind in [NodeKind::Metadata, NodeKind::Data, NodeKind::Administrator] {
            let done = call(to, &other, kind, Procedure::DsDrain, &drain).await;
            must_be_kept_out(&mut evidence, &format!("DS_DRAIN with another key as {kind:?}"), &done);
        }
        let done = call(to, &key, NodeKind::Data, Procedure::DsDrain, &drain).await;
        must_be_kept_out(&mut evidence, "DS_DRAIN as a data server", &done);
        for kind in [NodeKind::Data, NodeKind::Administrator] {
            let (_, control) = stage.cluster.data_servers[0];
            let done = call(control, &key, kind, Procedure::Fence, &fence).await;
            must_be_kept_out(&mut evidence, &format!("FENCE as {kind:?}"), &done);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(evidence)
}

fn first_data_server(stage: &Stage) -> Outcome<u32> {
    let list = stage.cluster.report("ds list")?;
    let id = list["data_servers"][0]["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| failed("no list of data servers"))
}

/// Who lacks a right must be told so: no answer, or another error, shows nothing.
fn must_be_kept_out(evidence: &mut Evidence, what: &str, outcome: &Outcome<()>) {
    const REFUSALS: [Refusal; 3] = [Refusal::BadMac, Refusal::WrongPeer, Refusal::NotAuthenticated];
    match outcome {
        Ok(()) => evidence.exceeded(what),
        Err(error) if REFUSALS.iter().any(|refusal| error.0.contains(&refusal.to_string())) => {}
        Err(error) => evidence.broken(format!("{what} is not refused for its key or role: {error}")),
    }
}

/// What commands say that are given a key file for one data server.
const ONE_ROLE_ONLY: &str = "this key is for";

async fn use_role_key(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let cluster = &stage.cluster;
    let own = text(&cluster.directory.join("one.key"));
    let derive = ["key", "derive", "--role", "data-server", "--name", "one", "--out", &own];
    let (code, _, errors) = cluster.admin(&derive)?;
    if code != Some(0) {
        evidence.broken(format!("no key for one role: {}", errors.lines().next().unwrap_or_default()));
        return Ok(evidence);
    }
    let whole = text(&cluster.key_file());
    let id = first_data_server(stage)?.to_string();
    for words in [["verify", "/honest-large"].as_slice(), &["ds", "undrain", &id], &["rebalance"]] {
        let what = words.join(" ");
        let until = Instant::now() + Duration::from_millis(HEALTHY_MS_MAX);
        let mut done = administer(stage, &whole, words)?;
        // Data servers have just come: it is done later.
        while done.as_ref().is_err_and(|said| said.contains("not now")) && Instant::now() < until {
            sleep(Duration::from_millis(500)).await;
            done = administer(stage, &whole, words)?;
        }
        if let Err(said) = done {
            evidence.broken(format!("the whole key does not do {what}: {said}"));
        }
        match administer(stage, &own, words)? {
            Ok(()) => evidence.exceeded(format!("a data server's key does {what}")),
            Err(said) if said.contains(ONE_ROLE_ONLY) => {}
            Err(said) => evidence.broken(format!("{what} is not refused for its key: {said}")),
        }
    }
    if let Started::Ended(said) = start_metadata_server(stage, "another-whole", &whole).await? {
        evidence.broken(format!("a metadata server does not start with the whole key: {said}"));
    }
    match start_metadata_server(stage, "another", &own).await? {
        Started::Up => evidence.exceeded("a metadata server starts with a data server's key"),
        Started::Ended(said) if said.contains(ONE_ROLE_ONLY) => {}
        Started::Ended(said) => evidence.broken(format!("it is not refused for its key: {said}")),
    }
    Ok(evidence)
}

/// `shoal admin` with a key file; what it said if that was refused.
pub(super) fn administer(stage: &Stage, key: &str, words: &[&str]) -> Outcome<Result<(), String>> {
    let cluster = &stage.cluster;
    let control = cluster.control.to_string();
    let done = Command::new("timeout")
        .arg("20")
        .arg(&cluster.program)
        .args(["admin", "--control", &control, "--cluster-key", key])
        .args(words)
        .output()
        .during("shoal admin")?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Ok(if done.status.success() { Ok(()) } else { Err(format!("{}: {said}", done.status)) })
}

/// What came of a start.
enum Started {
    Up,
    /// It ended, or was not up in time, and said this.
    Ended(String),
}

/// Starts a metadata server of its own with a key file, in a folder, and ends it.
async fn start_metadata_server(stage: &Stage, folder: &str, key: &str) -> Outcome<Started> {
    let place = text(&stage.cluster.directory.join(folder));
    let words = ["mds", "--dir", &place, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let more = ["--metrics", "127.0.0.1:0", "--cluster-key", key];
    let words = words.iter().chain(&more).map(|word| (*word).to_owned()).collect();
    let log = stage.cluster.directory.join(format!("{folder}.log"));
    let mut server = Process::start(&stage.cluster.program, folder, words, log)?;
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let ended = server.ended();
        let said = server.said();
        if said.contains("is up.") {
            return Ok(Started::Up);
        }
        if ended.is_some() || until < Instant::now() {
            let last: Vec<&str> = said.lines().rev().take(3).collect();
            return Ok(Started::Ended(last.join(" / ")));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn key_of(text: &str) -> Outcome<[u8; 32]> {
    let text = text.trim().as_bytes();
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).during("the cluster key")?;
        *byte = u8::from_str_radix(pair, 16).during("the cluster key")?;
    }
    if text.len() == 64 { Ok(key) } else { Err(failed("the cluster key has not 64 digits")) }
}

async fn call(
    to: SocketAddr,
    key: &ClusterKey,
    kind: NodeKind,
    procedure: Procedure,
    args: &impl wire_xdr::Encode,
) -> Outcome<()> {
    // Each procedure has one kind of callee.
    let callee = procedure.link().map_or(NodeKind::Metadata, |(_, callee)| callee);
    let hello = greeting(key.clone(), PROGRAM, (kind, callee), Arc::new(OsEntropy));
    // A node may use any port.
    let net = env::os::tokio_net::TokioNet::new();
    let rpc =
        RpcClient::new(Arc::new(net), Arc::new(OsClock::new()), to, Limits::default()).with_hello(hello);
    let number = procedure.number();
    let mut reader =
        rpc.call(PROGRAM, VERSION, number, &Credential::None, encoded(args), CALL_MS_MAX).await?;
    match decode_reply::<Nothing>(reader.rest()) {
        Ok(Err(refusal)) => Err(failed(refusal.to_string())),
        // Results that are more than nothing are results too.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
