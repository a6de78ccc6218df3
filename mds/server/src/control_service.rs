//! What data servers call: register, heartbeat, words about copies and about images; and what
//! administrators call. Behind the handshake.
//!
//! INVARIANT: nothing but HELLO and AUTH is decoded before the caller has proved what it is, and
//! nothing that such a node may not call (`wire_nfs::control::roles`).
//! INVARIANT: a data server with a key of its own says nothing for another one (`bound`).
//! Spec: docs/protocol/control.md §1, §2; docs/protocol/replicate.md §3; docs/protocol/seal.md §2,
//! §5; docs/protocol/admin.md §1.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use client::control::DsControl;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, LogRate, Service};
use layout::DataServerId;
use layout::copies::Domain;
use mds_raft::Witness;
use mds_state::Command;
use mds_state::Outcome;
use mds_state::command::data::{RegisterDataServer, RegisterNamed};
use parking_lot::Mutex;
use wire_nfs::control::auth::Peer;
use wire_nfs::control::copies::{AskCopies, CopySet};
use wire_nfs::control::heartbeat::{AskClock, ClockTold, Heartbeat, Renewed, Usage};
use wire_nfs::control::images::{Promise, ShowImages, Thaw};
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::{
    self, ControlGate, Keyring, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_args,
    put_reply,
};
use wire_rpc::{accepted_success, garbage_args, proc_unavail, prog_mismatch, prog_unavail};
use wire_xdr::{Decode, Encode};

use crate::data_servers::{Known, readable};
use crate::server::Server;
use crate::{admin, copies, holders, marks, probe, seal, work};

mod bound;

/// The service on the control port.
pub(crate) struct ControlService {
    server: Arc<Server>,
    keys: Keyring,
    gates: Arc<Mutex<HashMap<u64, ControlGate>>>,
}

impl ControlService {
    /// Serves data servers that hold the cluster key.
    pub(crate) fn new(server: Arc<Server>, keys: Keyring) -> Self {
        Self { server, keys, gates: Arc::default() }
    }

    /// Answers the handshake, or says who is calling, and what it may call.
    fn admit(&self, procedure: u32, args: &Bytes, connection: &Connection) -> Admission {
        let mut gates = self.gates.lock();
        let gate = gates.entry(connection.id()).or_insert_with(|| {
            let mut nonce = [0; 32];
            self.server.env.entropy.fill(&mut nonce);
            ControlGate::new(&self.keys, PROGRAM, NodeKind::Metadata, nonce)
        });
        if gate.is_shut() {
            return Admission::Close;
        }
        if let Some(reply) = gate.handshake(procedure, args.clone()) {
            if gate.is_shut() {
                static RATE: LogRate = LogRate::new();
                if let Some(suppressed) = RATE.admit(self.server.now_ms()) {
                    tracing::warn!(peer = %connection.peer(), suppressed, "a peer failed the control handshake");
                }
            }
            if gate.peer().is_ok() {
                connection.prove();
            }
            return Admission::Handshake(reply);
        }
        match (gate.peer(), Procedure::from_number(procedure)) {
            (Err(refusal), _) => Admission::Refuse(refusal),
            (Ok(_), None) => Admission::Unknown,
            (Ok(_), Some(procedure)) => match gate.admit(procedure) {
                Ok(peer) => Admission::Call(procedure, peer.clone()),
                Err(refusal) => Admission::Refuse(refusal),
            },
        }
    }

    /// Runs a procedure that its caller may call.
    fn dispatch(
        &self,
        xid: u32,
        procedure: Procedure,
        args: Bytes,
        peer: Peer,
    ) -> BoxFuture<'static, Answer> {
        let (server, keys) = (Arc::clone(&self.server), self.keys.clone());
        match procedure {
            Procedure::Register => {
                Box::pin(reply(xid, args, async move |ask| register_one(server, keys, &peer, ask).await))
            }
            Procedure::Heartbeat => {
                Box::pin(reply(xid, args, async move |beat| heartbeat(&server, &peer, &beat).await))
            }
            Procedure::Copies => {
                Box::pin(reply(xid, args, async move |ask| copies(&server, &peer, &ask).await))
            }
            Procedure::Images => Box::pin(reply(xid, args, async move |ask: ShowImages| {
                bound::check(&server, &peer, ask.server)?;
                seal::answer::images(&server, &ask).await
            })),
            Procedure::Group => {
                Box::pin(reply(xid, args, async move |ask| seal::answer::group(&server, &ask).await))
            }
            Procedure::Thaw => Box::pin(reply(xid, args, async move |ask: Thaw| {
                bound::check(&server, &peer, ask.server)?;
                seal::answer::thaw(&server, &ask).await
            })),
            Procedure::Promise => Box::pin(reply(xid, args, async move |ask: Promise| {
                bound::check(&server, &peer, ask.server)?;
                seal::answer::promise(&server, &ask).await
            })),
            Procedure::AtRest => {
                Box::pin(reply(xid, args, async move |ask| seal::readers::at_rest(&server, &ask).await))
            }
            Procedure::FileEnd => {
                Box::pin(reply(xid, args, async move |ask| seal::readers::file_end(&server, &ask).await))
            }
            Procedure::Clock => Box::pin(reply(xid, args, async move |ask| clock(&server, &peer, &ask))),
            Procedure::Held => {
                Box::pin(reply(xid, args, async move |ask| holders::held(&server, &ask).await))
            }
            Procedure::Admitted => {
                Box::pin(reply(xid, args, async move |_: Nothing| holders::admitted(&server)))
            }
            Procedure::DsRemove => {
                Box::pin(reply(xid, args, async move |ask| admin::remove(&server, ask).await))
            }
            Procedure::DsDrain => {
                Box::pin(reply(xid, args, async move |ask| admin::drain(&server, ask).await))
            }
            Procedure::Verify => {
                Box::pin(reply(xid, args, async move |ask| admin::verify(&server, &ask).await))
            }
            Procedure::Rebalance => {
                Box::pin(reply(xid, args, async move |ask| admin::rebalance(&server, ask).await))
            }
            Procedure::MdsReadmit => {
                Box::pin(reply(xid, args, async move |ask| admin::readmit(&server, ask).await))
            }
            Procedure::ExportsSet => {
                Box::pin(reply(xid, args, async move |ask| admin::set_exports(&server, ask).await))
            }
            Procedure::HandleKeyRotate => {
                Box::pin(reply(xid, args, async move |ask| admin::rotate_handle_key(&server, ask).await))
            }
            Procedure::Report => Box::pin(reply(xid, args, async move |ask| admin::report(&server, ask))),
            _ => now(proc_unavail(xid)),
        }
    }
}

enum Admission {
    Handshake(Result<wire_xdr::Writer, wire_xdr::XdrError>),
    Call(Procedure, Peer),
    Refuse(Refusal),
    Unknown,
    Close,
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
        let (xid, args) = (header.xid, call.args.rest());
        match self.admit(header.procedure, &args, connection) {
            Admission::Handshake(Ok(body)) => now(success(xid, body)),
            Admission::Handshake(Err(_)) => now(garbage_args(xid)),
            Admission::Call(procedure, peer) => self.dispatch(xid, procedure, args, peer),
            Admission::Refuse(refusal) => {
                let mut writer = accepted_success(xid);
                put_reply::<Nothing>(&mut writer, &Err(refusal));
                now(writer)
            }
            Admission::Unknown => now(proc_unavail(xid)),
            Admission::Close => Box::pin(std::future::ready(Answer::CloseConnection)),
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
    keys: Keyring,
    peer: &Peer,
    register: Register,
) -> Result<Registered, Refusal> {
    let control_address: std::net::SocketAddr = register.control.parse().map_err(|_| Refusal::Invalid)?;
    if register.addresses.is_empty() {
        return Err(Refusal::Invalid);
    }
    bound::check_registration(&server, peer, &register).await?;
    let id = number(&server, &register).await?;
    let known = Known {
        uuid: register.uuid,
        addresses: register.addresses,
        control_address: register.control,
        control: Arc::new(DsControl::new(&server.env, control_address, &keys, register.uuid, &register.name)),
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
        instance: register.instance,
        failure: None,
        durable: register.found,
        keys: 0,
        behind: marks::judge(&server, register.uuid, register.found, register.is_loss_accepted).await?,
    };
    let behind = known.behind;
    put(&server, id, known);
    if let Some(behind) = behind {
        return Ok(Registered { behind: Some(behind.mark), ..registered(&server, peer, id, 0) });
    }
    if !probe::may_hold_lease(&server, id).await {
        return Err(Refusal::Busy);
    }
    // Cuts come before the lease: handles from before them are still good.
    if work::settle_all_of(&server, id).await.is_err() {
        static MISSED: LogRate = LogRate::new();
        if let Some(suppressed) = MISSED.admit(server.now_ms()) {
            tracing::warn!(
                server = id.0,
                suppressed,
                "data server cannot be told what it missed: no lease yet"
            );
        }
        // A cut is done with its backups: it has to know first who it is, and where they are.
        return Ok(registered(&server, peer, id, 0));
    }
    if !is_known(&server, id) || !server.data_servers.grant(id, server.now_ms()) {
        return Err(Refusal::Busy);
    }
    server.copies.look.notify_one();
    server.copies.changed.notify_waiters();
    server.sealing.count.notify_one();
    Ok(registered(&server, peer, id, lease_ms(&server)))
}

/// Notes a data server that registered, and says so.
fn put(server: &Server, id: DataServerId, known: Known) {
    let addresses: Vec<String> = known.addresses.iter().map(|address| readable(address)).collect();
    static REGISTERED: LogRate = LogRate::new();
    if let Some(suppressed) = REGISTERED.admit(server.now_ms()) {
        tracing::info!(server = id.0, name = %known.name, addresses = %addresses.join(", "), suppressed, "data server registered");
    }
    let behind = known.behind;
    let is_news = server.data_servers.one(id).is_none_or(|before| before.behind != behind);
    server.data_servers.put(id, known);
    if let (Some(behind), true) = (behind, is_news) {
        tracing::error!(
            server = id.0,
            %behind,
            "a data server lacks what it had acknowledged, and gets no lease: it was put back from an older copy, or lost files"
        );
        server.copies.look.notify_one();
    }
}

/// The number that the log gives a data server, or has given it before.
async fn number(server: &Server, register: &Register) -> Result<DataServerId, Refusal> {
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
    match server.shards.propose(None, command).await {
        Ok(Outcome::DataServer(id)) => Ok(DataServerId(id)),
        Ok(outcome) => {
            // docs/protocol/admin.md §2: one that was removed.
            static RATE: LogRate = LogRate::new();
            if let Some(suppressed) = RATE.admit(server.now_ms()) {
                tracing::warn!(control = %register.control, ?outcome, suppressed, "a data server may not register");
            }
            Err(Refusal::Invalid)
        }
        Err(mds_raft::ProposeError::NotLeader { leader }) => Err(server.not_leader(leader)),
        Err(_) => Err(Refusal::Busy),
    }
}

fn registered(server: &Server, peer: &Peer, id: DataServerId, lease_ms: u32) -> Registered {
    Registered {
        server: id.0,
        lease_ms,
        keys: server.sealed_keys(peer),
        clock_ms: server.handle_clock_ms(),
        exports: server.exports().version(),
        seal_idle_ms: seal_idle_ms(server),
        directory: server.data_servers.directory(),
        behind: None,
    }
}

/// Whether everything is to move away from it, by the log.
fn is_draining(server: &Server, id: DataServerId) -> bool {
    server.view().ok().and_then(|view| view.draining().ok()).is_some_and(|all| all.contains(&id.0))
}

/// Whether it was not removed since it began to register.
fn is_known(server: &Server, id: DataServerId) -> bool {
    server.view().ok().and_then(|view| view.data_server(id.0).ok()).flatten().is_some()
}

async fn copies(server: &Server, peer: &Peer, ask: &AskCopies) -> Result<CopySet, Refusal> {
    server.check_leading()?;
    bound::check(server, peer, ask.server)?;
    copies::hear(server, ask).await
}

async fn heartbeat(server: &Arc<Server>, peer: &Peer, beat: &Heartbeat) -> Result<Renewed, Refusal> {
    server.check_leading()?;
    bound::check(server, peer, beat.server)?;
    if !beat.failure.is_empty() {
        return failed(server, beat);
    }
    if !probe::may_hold_lease(server, DataServerId(beat.server)).await {
        return Err(Refusal::Busy);
    }
    // A lapsed lease is not renewed by a heartbeat: what the server missed must be done first.
    if !server.data_servers.is_up(DataServerId(beat.server), server.now_ms()) {
        return Err(Refusal::RegisterAgain);
    }
    let known = server.data_servers.renew(beat, server.now_ms());
    if !known {
        return Err(Refusal::RegisterAgain);
    }
    let directory = server.data_servers.directory();
    let directory = (directory.version != beat.directory).then_some(directory);
    let keys = (beat.keys != server.handle_keys().version).then(|| server.sealed_keys(peer));
    let (clock_ms, exports) = (server.handle_clock_ms(), server.exports().version());
    let (lease_ms, seal_idle_ms) = (lease_ms(server), seal_idle_ms(server));
    Ok(Renewed { lease_ms, seal_idle_ms, directory, clock_ms, exports, keys })
}

/// A data server reports that its disk failed. It has ended its lease itself, so replicas become
/// primary at once.
fn failed(server: &Server, beat: &Heartbeat) -> Result<Renewed, Refusal> {
    let now_ms = server.now_ms();
    let is_news = server.data_servers.fail(
        DataServerId(beat.server),
        (beat.uuid, beat.instance),
        &beat.failure,
        now_ms,
    );
    if is_news.ok_or(Refusal::RegisterAgain)? {
        tracing::error!(server = beat.server, reason = %beat.failure, "the disk of a data server failed: others take its place");
        server.copies.look.notify_one();
        server.copies.changed.notify_waiters();
    }
    let directory = server.data_servers.directory();
    let directory = (directory.version != beat.directory).then_some(directory);
    let (clock_ms, exports) = (server.handle_clock_ms(), server.exports().version());
    Ok(Renewed { lease_ms: 0, seal_idle_ms: 0, directory, clock_ms, exports, keys: None })
}

/// A data server's clock is a witness, whatever it shows; what is answered is the time that counts.
fn clock(server: &Server, peer: &Peer, ask: &AskClock) -> Result<ClockTold, Refusal> {
    server.check_leading()?;
    bound::check(server, peer, ask.server)?;
    if let Some(node) = server.shards.node()
        && server.data_servers.one(DataServerId(ask.server)).is_some()
    {
        node.hear_clock(Witness::DataServer(ask.server), ask.wall_unix_ns);
    }
    Ok(ClockTold { unix_ns: server.env.clock.wall_ns() })
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
