//! What data servers call: register, heartbeat, words about copies and about images; and what administrators call. Behind the cluster
//! key.
//!
//! Spec: docs/protocol/control.md §1, §2; docs/protocol/replicate.md §3; docs/protocol/seal.md §2, §5; docs/protocol/admin.md §1.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use client::control::DsControl;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use layout::DataServerId;
use layout::copies::Domain;
use mds_shard::Command;
use mds_shard::Outcome;
use mds_shard::command::data::{RegisterDataServer, RegisterNamed};
use parking_lot::Mutex;
use wire_nfs::control::auth::Peer;
use wire_nfs::control::copies::{AskCopies, CopySet};
use wire_nfs::control::handles::{HandleKeys, NumberedKey};
use wire_nfs::control::heartbeat::{Heartbeat, Renewed, Usage};
use wire_nfs::control::register::{Register, Registered, SealedKey};
use wire_nfs::control::{
    self, ClusterKey, ControlGate, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_args,
    put_reply,
};
use wire_rpc::{accepted_success, garbage_args, proc_unavail, prog_mismatch, prog_unavail};
use wire_xdr::{Decode, Encode};

use crate::data_servers::{Known, readable};
use crate::server::Server;
use crate::{admin, copies, holders, probe, seal, work};

/// The service on the control port.
pub(crate) struct ControlService {
    server: Arc<Server>,
    key: ClusterKey,
    gates: Arc<Mutex<HashMap<u64, ControlGate>>>,
}

impl ControlService {
    /// Serves data servers that hold the cluster key.
    pub(crate) fn new(server: Arc<Server>, key: ClusterKey) -> Self {
        Self { server, key, gates: Arc::default() }
    }

    fn handshake(&self, procedure: u32, args: Bytes, connection: &Connection) -> Option<HandshakeReply> {
        let mut gates = self.gates.lock();
        let gate = gates.entry(connection.id()).or_insert_with(|| {
            let mut nonce = [0; 32];
            self.server.env.entropy.fill(&mut nonce);
            ControlGate::new(&self.key, PROGRAM, NodeKind::Metadata, nonce)
        });
        let reply = gate.handshake(procedure, args)?;
        if gate.peer().is_ok() {
            connection.prove();
        }
        Some(HandshakeReply { reply, shut: gate.is_shut() })
    }

    fn peer(&self, connection: &Connection) -> Result<Peer, Refusal> {
        match self.gates.lock().get(&connection.id()) {
            Some(gate) => gate.peer().cloned(),
            None => Err(Refusal::NotAuthenticated),
        }
    }

    /// Runs the procedure of a peer that has, or has not, shown that it knows the key.
    fn dispatch(
        &self,
        xid: u32,
        procedure: Procedure,
        args: Bytes,
        peer: Result<Peer, Refusal>,
    ) -> BoxFuture<'static, Answer> {
        let (server, key) = (Arc::clone(&self.server), self.key.clone());
        match procedure {
            Procedure::Register => Box::pin(reply(xid, args, |ask| register_one(server, key, peer, ask))),
            Procedure::Heartbeat => {
                Box::pin(reply(xid, args, async move |beat| heartbeat(&server, peer, &beat).await))
            }
            Procedure::Copies => {
                Box::pin(reply(xid, args, async move |ask| copies(&server, peer, &ask).await))
            }
            Procedure::Images => Box::pin(reply(xid, args, async move |ask| {
                data_server(peer)?;
                seal::answer::images(&server, &ask).await
            })),
            Procedure::Group => Box::pin(reply(xid, args, async move |ask| {
                data_server(peer)?;
                seal::answer::group(&server, &ask).await
            })),
            Procedure::Thaw => Box::pin(reply(xid, args, async move |ask| {
                data_server(peer)?;
                seal::answer::thaw(&server, &ask).await
            })),
            Procedure::Promise => Box::pin(reply(xid, args, async move |ask| {
                data_server(peer)?;
                seal::answer::promise(&server, &ask).await
            })),
            Procedure::AtRest => Box::pin(reply(xid, args, async move |ask| {
                data_server(peer)?;
                seal::readers::at_rest(&server, &ask).await
            })),
            Procedure::FileEnd => Box::pin(reply(xid, args, async move |ask| {
                data_server(peer)?;
                seal::readers::file_end(&server, &ask).await
            })),
            Procedure::Held => Box::pin(reply(xid, args, async move |ask| {
                data_server(peer)?;
                holders::held(&server, &ask).await
            })),
            Procedure::Admitted => Box::pin(reply(xid, args, async move |_: Nothing| {
                data_server(peer)?;
                holders::admitted(&server)
            })),
            Procedure::DsRemove => {
                Box::pin(reply(xid, args, async move |ask| admin::remove(&server, &peer, ask).await))
            }
            Procedure::DsDrain => {
                Box::pin(reply(xid, args, async move |ask| admin::drain(&server, &peer, ask).await))
            }
            Procedure::Verify => {
                Box::pin(reply(xid, args, async move |ask| admin::verify(&server, &peer, &ask).await))
            }
            Procedure::Rebalance => {
                Box::pin(reply(xid, args, async move |ask| admin::rebalance(&server, &peer, ask).await))
            }
            Procedure::MdsReadmit => {
                Box::pin(reply(xid, args, async move |ask| admin::readmit(&server, &peer, ask).await))
            }
            Procedure::ExportsSet => {
                Box::pin(reply(xid, args, async move |ask| admin::set_exports(&server, &peer, ask).await))
            }
            Procedure::Report => {
                Box::pin(reply(xid, args, async move |ask| admin::report(&server, &peer, ask)))
            }
            Procedure::Null => now(accepted_success(xid)),
            _ => now(proc_unavail(xid)),
        }
    }
}

struct HandshakeReply {
    reply: Result<wire_xdr::Writer, wire_xdr::XdrError>,
    shut: bool,
}

impl Service for ControlService {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let header = call.header;
        if header.program != PROGRAM {
            return now(prog_unavail(header.xid));
        }
        if header.version != VERSION {
            return now(prog_mismatch(header.xid, VERSION, VERSION));
        }
        let args = call.args.rest();
        if let Some(handshake) = self.handshake(header.procedure, args.clone(), connection) {
            if handshake.shut {
                tracing::warn!(peer = %connection.peer(), "a peer failed the control handshake");
            }
            return now(handshake
                .reply
                .map_or_else(|_| garbage_args(header.xid), |body| success(header.xid, body)));
        }
        match Procedure::from_number(header.procedure) {
            Some(procedure) => self.dispatch(header.xid, procedure, args, self.peer(connection)),
            None => now(proc_unavail(header.xid)),
        }
    }

    fn closed(&self, connection_id: u64) {
        self.gates.lock().remove(&connection_id);
    }
}

fn now(writer: wire_xdr::Writer) -> BoxFuture<'static, Answer> {
    Box::pin(std::future::ready(Answer::Reply(writer)))
}

fn success(xid: u32, body: wire_xdr::Writer) -> wire_xdr::Writer {
    let mut reply = accepted_success(xid);
    reply.append(body);
    reply
}

/// Decodes arguments, runs the procedure and encodes what it answers.
async fn reply<A, R, F>(xid: u32, args: Bytes, run: impl FnOnce(A) -> F) -> Answer
where
    A: Decode,
    R: Encode,
    F: Future<Output = Result<R, Refusal>>,
{
    let Ok(args) = decode_args::<A>(args) else { return Answer::Reply(garbage_args(xid)) };
    let result = run(args).await;
    let mut writer = accepted_success(xid);
    put_reply(&mut writer, &result);
    Answer::Reply(writer)
}

async fn register_one(
    server: Arc<Server>,
    key: ClusterKey,
    peer: Result<Peer, Refusal>,
    register: Register,
) -> Result<Registered, Refusal> {
    let peer = data_server(peer)?;
    let control_address: std::net::SocketAddr = register.control.parse().map_err(|_| Refusal::Invalid)?;
    if register.addresses.is_empty() {
        return Err(Refusal::Invalid);
    }
    let asked = RegisterDataServer {
        uuid: register.uuid,
        addresses: register.addresses.clone(),
        control: register.control.clone(),
        capacity_bytes: register.capacity_bytes,
        zone: register.zone.clone(),
        rack: register.rack.clone(),
        host: register.host.clone(),
    };
    let command = match register.name.clone() {
        name if name.is_empty() => Command::RegisterDataServer(asked),
        name => Command::RegisterNamed(RegisterNamed { server: asked, name }),
    };
    let id = match server.shards.propose(None, command).await {
        Ok(Outcome::DataServer(id)) => DataServerId(id),
        Ok(outcome) => {
            // docs/protocol/admin.md §2: one that was removed.
            tracing::warn!(control = %register.control, ?outcome, "a data server may not register");
            return Err(Refusal::Invalid);
        }
        Err(mds_shard::ProposeError::NotLeader { leader }) => return Err(server.not_leader(leader)),
        Err(_) => return Err(Refusal::Busy),
    };
    let known = Known {
        uuid: register.uuid,
        addresses: register.addresses,
        control_address: register.control,
        control: Arc::new(DsControl::new(&server.env, control_address, &key, register.uuid)),
        usage: Usage {
            capacity_bytes: register.capacity_bytes,
            used_bytes: register.used_bytes,
            ..Usage::default()
        },
        renewed_ms: None,
        full_ms: None,
        domain: Domain { zone: register.zone, rack: register.rack, host: register.host },
        suspect_ms: None,
        broken_ms: None,
        answered_ms: None,
        condemned: false,
        removing: false,
        draining: is_draining(&server, id),
        name: register.name,
    };
    let addresses: Vec<String> = known.addresses.iter().map(|address| readable(address)).collect();
    tracing::info!(server = id.0, name = %known.name, addresses = %addresses.join(", "), "data server registered");
    server.data_servers.put(id, known);
    if !probe::may_hold_lease(&server, id).await {
        return Err(Refusal::Busy);
    }
    // Cuts come before the lease: handles from before them are still good.
    if work::settle_all_of(&server, id).await.is_err() {
        tracing::warn!(server = id.0, "data server cannot be told what it missed: no lease yet");
        // A cut is done with its backups: it has to know first who it is, and where they are.
        return Ok(registered(&server, &peer, id, 0));
    }
    if !is_known(&server, id) || !server.data_servers.grant(id, server.now_ms()) {
        return Err(Refusal::Busy);
    }
    server.copies.look.notify_one();
    server.copies.changed.notify_waiters();
    server.sealing.count.notify_one();
    Ok(registered(&server, &peer, id, lease_ms(&server)))
}

fn registered(server: &Server, peer: &Peer, id: DataServerId, lease_ms: u32) -> Registered {
    Registered {
        server: id.0,
        lease_ms,
        keys: sealed_keys(server, peer),
        clock_ms: server.handle_clock_ms(),
        exports: server.exports().version(),
        seal_idle_ms: seal_idle_ms(server),
        directory: server.data_servers.directory(),
    }
}

/// The handle keys, for the other end of a connection.
fn sealed_keys(server: &Server, peer: &Peer) -> HandleKeys {
    let mut nonce = [0; 16];
    server.env.entropy.fill(&mut nonce);
    let key = SealedKey::seal(&peer.secret, nonce, server.handle_key.as_bytes());
    HandleKeys { version: 1, keys: vec![NumberedKey { number: u32::from(server.handle_key.number()), key }] }
}

/// Whether everything is to move away from it, by the log.
fn is_draining(server: &Server, id: DataServerId) -> bool {
    server.view().ok().and_then(|view| view.draining().ok()).is_some_and(|all| all.contains(&id.0))
}

/// Whether it was not removed since it began to register.
fn is_known(server: &Server, id: DataServerId) -> bool {
    server.view().ok().and_then(|view| view.data_server(id.0).ok()).flatten().is_some()
}

async fn copies(server: &Server, peer: Result<Peer, Refusal>, ask: &AskCopies) -> Result<CopySet, Refusal> {
    data_server(peer)?;
    leading(server)?;
    copies::hear(server, ask).await
}

pub(crate) fn leading(server: &Server) -> Result<(), Refusal> {
    if server.shards.is_leader() {
        return Ok(());
    }
    Err(server.not_leader(server.shards.leader()))
}

async fn heartbeat(
    server: &Arc<Server>,
    peer: Result<Peer, Refusal>,
    beat: &Heartbeat,
) -> Result<Renewed, Refusal> {
    let peer = data_server(peer)?;
    leading(server)?;
    if !probe::may_hold_lease(server, DataServerId(beat.server)).await {
        return Err(Refusal::Busy);
    }
    // A lapsed lease is not renewed by a heartbeat: what the server missed must be done first.
    if !server.data_servers.is_up(DataServerId(beat.server), server.now_ms()) {
        return Err(Refusal::RegisterAgain);
    }
    let known = server.data_servers.renew(DataServerId(beat.server), beat.uuid, beat.usage, server.now_ms());
    if !known {
        return Err(Refusal::RegisterAgain);
    }
    let directory = server.data_servers.directory();
    let directory = (directory.version != beat.directory).then_some(directory);
    let keys = (beat.keys != 1).then(|| sealed_keys(server, &peer));
    let (clock_ms, exports) = (server.handle_clock_ms(), server.exports().version());
    let (lease_ms, seal_idle_ms) = (lease_ms(server), seal_idle_ms(server));
    Ok(Renewed { lease_ms, seal_idle_ms, directory, clock_ms, exports, keys })
}

fn data_server(peer: Result<Peer, Refusal>) -> Result<Peer, Refusal> {
    let peer = peer?;
    if peer.kind == NodeKind::Data { Ok(peer) } else { Err(Refusal::WrongPeer) }
}

fn lease_ms(server: &Server) -> u32 {
    u32::try_from(server.data_servers.lease_ms()).unwrap_or(u32::MAX)
}

/// How long an extent rests before it is sealed; 0 if none is to be.
fn seal_idle_ms(server: &Server) -> u32 {
    let idle_ms = u32::try_from(server.config.seal_idle_ms).unwrap_or(u32::MAX).max(1);
    if server.config.seal { idle_ms } else { 0 }
}

/// Room for the largest control request.
pub(crate) const RECORD_BYTES_MAX: usize = control::limits::CONTROL_BYTES_MAX;
