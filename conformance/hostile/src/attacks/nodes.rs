//! The control ports, as who has no key, another key, or the key of another role.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::control::greeting;
use env::os::{OsClock, OsEntropy};
use env_transport::{Limits, RpcClient};
use tokio::time::{Instant, sleep};
use wire_nfs::control::admin::DrainServer;
use wire_nfs::control::extent::{AtEpoch, ExtentName};
use wire_nfs::control::{ClusterKey, NodeKind, Nothing, PROGRAM, Procedure, VERSION, decode_reply};
use wire_rpc::Credential;
use wire_xdr::Writer;

use super::{apart, outside};
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::text;
use crate::failed::{During, Outcome, failed};
use crate::limits::CALL_MS_MAX;
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
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(call_without_key(stage, until))),
        },
        Attack {
            name: "control_other_role",
            line: 7,
            row: "does with the handshake of one role what only another may, or with another key anything",
            setting: apart(),
            quick: false,
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(call_as_another(stage, until))),
        },
        Attack {
            name: "role_key",
            line: 7,
            row: "administers the cluster, or starts a metadata server, with the key file of one data server",
            setting: apart(),
            quick: false,
            problems: &[],
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
                if answer(stage, *port, procedure, 4096).await?.is_some() {
                    evidence.broken(format!("{port}: procedure {procedure}: a long record is read"));
                }
                if none != some {
                    evidence.broken(format!(
                        "{port}: procedure {procedure}: the arguments matter before the handshake"
                    ));
                }
                if none.as_deref().is_some_and(|reply| reply.starts_with(&[0; 4])) {
                    evidence.exceeded(format!("{port}: procedure {procedure} without the handshake"));
                }
            }
        }
    }
    evidence.note(format!("{tries} calls"));
    Ok(evidence)
}

/// The results of a call on a fresh connection; nothing if it was cut off or refused as a call.
async fn answer(stage: &Stage, port: SocketAddr, procedure: u32, bytes: usize) -> Outcome<Option<Vec<u8>>> {
    let mut raw = Raw::open(outside(stage), port).await?;
    let mut args = Writer::new();
    args.raw(&vec![0xa5; bytes]);
    raw.send(&record(7, (PROGRAM, VERSION, procedure), &Credential::None, args)).await?;
    let Ok(reply) = raw.take(Duration::from_secs(5)).await else { return Ok(None) };
    Ok(results(reply).ok().map(|mut reader| reader.rest().to_vec()))
}

async fn call_as_another(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let digits = std::fs::read_to_string(stage.cluster.key_file()).during("the cluster key")?;
    let key = ClusterKey::new(key_of(&digits)?);
    let other = ClusterKey::new([0x5a; 32]);
    let drain = DrainServer { server: 1, drain: true };
    let fence = AtEpoch { extent: ExtentName { ino: 1, index: 0 }, epoch: 1 };
    while Instant::now() < until {
        for kind in [NodeKind::Metadata, NodeKind::Data, NodeKind::Administrator] {
            let with_other = call(stage.cluster.control, &other, kind, Procedure::DsDrain, &drain).await;
            if with_other.is_ok() {
                evidence.exceeded(format!("another key does as {kind:?}"));
            }
        }
        let drained = call(stage.cluster.control, &key, NodeKind::Data, Procedure::DsDrain, &drain).await;
        if drained.is_ok() {
            evidence.exceeded("a data server drains a data server");
        }
        for kind in [NodeKind::Data, NodeKind::Administrator] {
            let (_, control) = stage.cluster.data_servers[0];
            if call(control, &key, kind, Procedure::Fence, &fence).await.is_ok() {
                evidence.exceeded(format!("FENCE as {kind:?}"));
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(evidence)
}

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
    let run = |words: &[&str]| -> Outcome<bool> {
        let done = Command::new("timeout").arg("20").arg(&cluster.program).args(words).output();
        Ok(done.during("shoal")?.status.code() == Some(0))
    };
    let control = cluster.control.to_string();
    let with = ["admin", "--control", &control, "--cluster-key", &own];
    for words in [["verify", "/honest-large"].as_slice(), &["ds", "drain", "1"], &["rebalance"]] {
        if run(&[&with, words].concat())? {
            evidence.exceeded(format!("a data server's key does {}", words.join(" ")));
        }
    }
    let place = text(&cluster.directory.join("another"));
    let start = ["mds", "--dir", &place, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let metrics = ["--metrics", "127.0.0.1:0", "--cluster-key", &own];
    let mut server = Command::new(&cluster.program)
        .args(start)
        .args(metrics)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .during("shoal mds")?;
    let until = Instant::now() + Duration::from_secs(10);
    let mut ended = None;
    while ended.is_none() && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
        ended = server.try_wait()?;
    }
    if ended.is_none_or(|status| status.success()) {
        evidence.exceeded("a metadata server starts with a data server's key");
        // It may have ended just now.
        let _ = server.kill();
        server.wait()?;
    }
    Ok(evidence)
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
