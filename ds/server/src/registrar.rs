//! Registers with a metadata server and keeps the lease alive.
//!
//! Goes round the known metadata servers until one says yes; follows NOT_LEADER. Runs until it is dropped.
//!
//! INVARIANT: one call at a time, so an answer is never counted for another call's sending time.
//! Spec: docs/protocol/control.md §1, §2.

use std::net::SocketAddr;
use std::sync::Arc;

use env::BoxFuture;
use env_transport::{CallError, Connection, Limits, RpcClient};
use layout::{DataServerId, HandleKey};
use parking_lot::Mutex;
use wire_nfs::control::auth::{Auth, Hello, Peer};
use wire_nfs::control::heartbeat::{Heartbeat, Renewed};
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::{
    ClusterKey, Handshake, NodeKind, PROGRAM, Procedure, Refusal, VERSION, decode_reply,
};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

use crate::core::Core;
use crate::limits::{CONTROL_CALL_MS_MAX, LEASE_MS_MAX, LEASE_MS_MIN, REGISTER_PAUSE_MS};

/// What a data server says about itself when it registers.
#[derive(Clone, Debug)]
pub(crate) struct SelfPortrait {
    /// Universal addresses of the data port.
    pub(crate) addresses: Vec<String>,
    /// Address of the control port.
    pub(crate) control: String,
}

/// Why a call to a metadata server came to nothing.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the handle key was not sealed for this connection")]
    Seal,
}

/// A connection to one metadata server, and the other end once it has proved itself.
struct Link {
    client: RpcClient,
    peer: Arc<Mutex<Option<Peer>>>,
}

impl Link {
    fn new(core: &Core, address: SocketAddr, key: &ClusterKey) -> Self {
        let peer = Arc::new(Mutex::new(None));
        let (proved, key, entropy) = (Arc::clone(&peer), key.clone(), Arc::clone(&core.env.entropy));
        let hello = move |connection: Connection| -> BoxFuture<'static, Result<(), CallError>> {
            let mut nonce = [0; 32];
            entropy.fill(&mut nonce);
            let handshake = Handshake::new(&key, PROGRAM, NodeKind::Data, nonce);
            let proved = Arc::clone(&proved);
            Box::pin(async move {
                let peer = greet(&connection, handshake).await?;
                *proved.lock() = Some(peer);
                Ok(())
            })
        };
        let (net, clock) = (Arc::clone(&core.env.net), Arc::clone(&core.env.clock));
        let client = RpcClient::new(net, clock, address, Limits::default()).with_hello(Arc::new(hello));
        Self { client, peer }
    }

    async fn ask<R: Decode>(&self, procedure: Procedure, args: &impl Encode) -> Result<R, AskError> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let (number, nobody) = (procedure.number(), Credential::None);
        let called = self.client.call(PROGRAM, VERSION, number, &nobody, w, CONTROL_CALL_MS_MAX).await;
        let reply = decode_reply(called?.rest()).map_err(CallError::Garbage)?;
        Ok(reply?)
    }
}

async fn greet(connection: &Connection, handshake: Handshake) -> Result<Peer, CallError> {
    let hello: Hello = say(connection, Procedure::Hello, handshake.hello()).await?;
    let (greeted, auth) = handshake.on_hello(hello).map_err(refused)?;
    let answer: Auth = say(connection, Procedure::Auth, &auth).await?;
    greeted.on_auth(&answer).map_err(refused)
}

async fn say<R: Decode>(
    connection: &Connection,
    procedure: Procedure,
    args: &impl Encode,
) -> Result<R, CallError> {
    let mut w = Writer::new();
    args.encode(&mut w);
    let (number, nobody) = (procedure.number(), Credential::None);
    let mut reply = connection.call(PROGRAM, VERSION, number, &nobody, w, CONTROL_CALL_MS_MAX).await?;
    decode_reply::<R>(reply.rest())?.map_err(refused)
}

fn refused(reason: impl std::fmt::Display) -> CallError {
    CallError::Hello { reason: reason.to_string() }
}

/// Keeps this server registered, for ever.
pub(crate) async fn run(
    core: Arc<Core>,
    metadata_servers: Vec<SocketAddr>,
    key: ClusterKey,
    portrait: SelfPortrait,
) {
    let mut turn = metadata_servers.iter().copied().cycle();
    let mut next = turn.next();
    let mut complained = false;
    while let Some(address) = next {
        let link = Link::new(&core, address, &key);
        let ended = keep(&core, &link, &portrait, &mut complained).await;
        next = match &ended {
            AskError::Refused(Refusal::NotLeader { leader }) => leader.parse().ok(),
            _ => None,
        };
        if !complained {
            tracing::warn!(%address, error = %ended, "no lease from this metadata server");
            complained = true;
        }
        if next.is_none() {
            next = turn.next();
        }
        core.env.clock.sleep_ms(REGISTER_PAUSE_MS).await;
    }
}

/// Registers and renews until something goes wrong.
async fn keep(core: &Core, link: &Link, portrait: &SelfPortrait, complained: &mut bool) -> AskError {
    loop {
        let lease_ms = match register(core, link, portrait).await {
            Ok(lease_ms) => lease_ms,
            Err(error) => return error,
        };
        *complained = false;
        match renew(core, link, lease_ms).await {
            AskError::Refused(Refusal::RegisterAgain) => core.lease.revoke(),
            error => return error,
        }
    }
}

async fn register(core: &Core, link: &Link, portrait: &SelfPortrait) -> Result<u32, AskError> {
    let usage = core.usage();
    let register = Register {
        uuid: core.store.uuid(),
        instance: core.store.instance(),
        addresses: portrait.addresses.clone(),
        control: portrait.control.clone(),
        capacity_bytes: usage.capacity_bytes,
        used_bytes: usage.used_bytes,
    };
    let sent_ms = core.env.clock.monotonic_ms();
    let registered: Registered = link.ask(Procedure::Register, &register).await?;
    let peer = link.peer.lock().clone().ok_or(AskError::Seal)?;
    let key = registered.key.open(&peer.secret).map_err(|_| AskError::Seal)?;
    core.identify(DataServerId(registered.server), HandleKey::new(key));
    let lease_ms = registered.lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX);
    core.lease.renew(sent_ms, lease_ms);
    tracing::info!(server = registered.server, lease_ms, "registered");
    Ok(lease_ms)
}

/// Heartbeats until one fails. A call that got no answer is made again while the lease holds.
async fn renew(core: &Core, link: &Link, mut lease_ms: u32) -> AskError {
    loop {
        core.env.clock.sleep_ms(u64::from(lease_ms) / 3).await;
        let Some(server) = core.server() else { return AskError::Seal };
        let heartbeat = Heartbeat { server: server.0, uuid: core.store.uuid(), usage: core.usage() };
        let sent_ms = core.env.clock.monotonic_ms();
        match link.ask::<Renewed>(Procedure::Heartbeat, &heartbeat).await {
            Ok(renewed) => {
                lease_ms = renewed.lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX);
                core.lease.renew(sent_ms, lease_ms);
            }
            Err(error) => return error,
        }
    }
}
