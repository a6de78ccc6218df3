//! The control ports, as who has no key, another key, or the key of another role.

use std::net::SocketAddr;
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
                let [none, some] =
                    [answer(stage, *port, procedure, 0), answer(stage, *port, procedure, 4096)];
                let (none, some) = (none.await?, some.await?);
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
    let text = std::fs::read_to_string(stage.cluster.key_file()).during("the cluster key")?;
    let key = ClusterKey::new(key_of(&text)?);
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
    let hello = greeting(key.clone(), PROGRAM, kind, Arc::new(OsEntropy));
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
