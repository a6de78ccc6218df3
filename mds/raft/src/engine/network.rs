//! Links to the other nodes: to each one connection for log entries, one for heartbeats and votes,
//! one for snapshots, which all shards share.
//!
//! Every new connection opens with the handshake of docs/protocol/control.md §1, so that entries go
//! to metadata servers of the cluster only. Messages are those of docs/protocol/raft.md.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use env::{BoxFuture, Env};
use env_transport::{CallError, Connection, Hello as Greeting, Limits, RpcClient};
use mds_namespace::View;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::BasicNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire_nfs::control::auth::{Auth, Handshake, Hello};
use wire_nfs::control::limits::HANDSHAKE_RECORD_BYTES_MAX;
use wire_nfs::control::{Keyring, NodeKind, Procedure, RAFT_PROGRAM, decode_reply};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

use super::caller::CallersReport;
use super::hold::Holds;
use super::life::Part;
use super::message::{
    ClockShows, QueryClock, RAFT_VERSION, RaftProcedure, SnapshotChunk, SnapshotInstall, To, decode_result,
    encode_args,
};
use super::off_thread;
use super::snapshot::{Encoder, Snapshot, SnapshotData};
use super::type_config::{NodeId, Types, Vote};
use crate::limits::{
    CALLERS_CALL_MS_MAX, MESSAGE_BYTES_MAX, SNAPSHOT_CALL_MS_MAX, SNAPSHOT_INSTALL_MS_MAX, UNPROVEN_MS_MAX,
};
use crate::liveness::{Beat, BeatReply};

const _: () = assert!(HANDSHAKE_RECORD_BYTES_MAX < MESSAGE_BYTES_MAX, "proof gives room");

/// The bounds of a connection between members, on the caller's side.
fn limits() -> Limits {
    Limits { record_bytes_max: MESSAGE_BYTES_MAX + 4096, idle_ms_max: 0, ..Limits::default() }
}

/// The same on the callee's side: a caller that is not authenticated has little room, and for a
/// short time.
pub(crate) fn port_limits() -> Limits {
    Limits {
        unproven_record_bytes_max: HANDSHAKE_RECORD_BYTES_MAX,
        unproven_ms_max: UNPROVEN_MS_MAX,
        ..limits()
    }
}

/// The links from this node to the others, for all shards: each other node has three connections.
pub(crate) struct Links {
    env: Env,
    keys: Keyring,
    /// This node.
    own: NodeId,
    nodes: Mutex<HashMap<SocketAddr, Arc<Link>>>,
    /// Log entries that are kept for receivers of snapshots.
    pub(crate) holds: Arc<Holds>,
    /// Calls made so far.
    calls: AtomicU64,
}

/// The connections to one other node. Each carries calls of all shards at once, and none waits for
/// another's answer.
struct Link {
    /// Heartbeats and votes: no long message delays them.
    vital: RpcClient,
    /// Log entries.
    entries: RpcClient,
    /// Snapshots.
    bulk: RpcClient,
}

/// One of a link's connections.
#[derive(Clone, Copy)]
enum Which {
    Vital,
    Entries,
    Bulk,
}

impl Links {
    pub(crate) fn new(env: Env, keys: Keyring, own: NodeId) -> Self {
        Self { env, keys, own, nodes: Mutex::default(), holds: Arc::default(), calls: AtomicU64::new(0) }
    }

    /// Calls made to other nodes so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn to(&self, addr: SocketAddr) -> Arc<Link> {
        let client = || {
            let (net, clock) = (Arc::clone(&self.env.net), Arc::clone(&self.env.clock));
            let (hello, keys) = (greeting(self.env.clone(), self.keys.clone(), self.own), self.keys.clone());
            RpcClient::new(net, clock, addr, limits())
                .with_hello(hello)
                .with_renewal(Arc::new(move || keys.active_version()))
        };
        let mut nodes = self.nodes.lock();
        let link = nodes
            .entry(addr)
            .or_insert_with(|| Arc::new(Link { vital: client(), entries: client(), bulk: client() }));
        Arc::clone(link)
    }

    /// Sends a heartbeat that stands for all shards. A timeout closes the connections, so that they
    /// are reopened: to a node that was unreachable for some seconds TCP would else retry too late.
    pub(crate) async fn beat(&self, addr: SocketAddr, beat: &Beat, timeout_ms: u64) -> Option<BeatReply> {
        let link = self.to(addr);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let args = encode_args(To::NODE, beat);
        let procedure = RaftProcedure::NodeHeartbeat as u32;
        let none = &Credential::None;
        let called = link.vital.call(RAFT_PROGRAM, RAFT_VERSION, procedure, none, args, timeout_ms).await;
        if matches!(called, Err(CallError::Timeout)) {
            [&link.vital, &link.entries, &link.bulk].into_iter().for_each(RpcClient::disconnect);
        }
        let mut reader = called.ok()?;
        decode_result(reader.rest()).ok()
    }
}

/// Why another node did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAnswered {
    /// It was not reached: it did not receive the message.
    NotSent,
    /// It may have received the message.
    Unknown,
}

impl Links {
    /// Queries another node, or the replica of a shard there.
    pub(crate) async fn query<R: DeserializeOwned>(
        &self,
        addr: SocketAddr,
        to: To,
        procedure: RaftProcedure,
        message: &impl Serialize,
        timeout_ms: u64,
    ) -> Result<R, NotAnswered> {
        let link = self.to(addr);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (args, procedure, none) = (encode_args(to, message), procedure as u32, &Credential::None);
        let called = link.entries.call(RAFT_PROGRAM, RAFT_VERSION, procedure, none, args, timeout_ms).await;
        let mut reader = called.map_err(|error| match error {
            CallError::Connect { .. } | CallError::Hello { .. } => NotAnswered::NotSent,
            _ => NotAnswered::Unknown,
        })?;
        decode_result(reader.rest()).map_err(|_| NotAnswered::Unknown)
    }

    /// Queries a node's wall clock on the connection of heartbeats: no long message delays it.
    pub(crate) async fn clock(&self, addr: SocketAddr, timeout_ms: u64) -> Option<ClockShows> {
        let link = self.to(addr);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (args, procedure) = (encode_args(To::NODE, &QueryClock), RaftProcedure::Clock as u32);
        let none = &Credential::None;
        let called = link.vital.call(RAFT_PROGRAM, RAFT_VERSION, procedure, none, args, timeout_ms).await;
        let mut reader = called.ok()?;
        decode_result(reader.rest()).ok()
    }

    /// Reports callers to another node; the next report repeats one that fails.
    pub(crate) async fn report_callers(&self, addr: SocketAddr, report: &CallersReport) {
        let link = self.to(addr);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (args, procedure) = (encode_args(To::NODE, report), RaftProcedure::Callers as u32);
        let none = &Credential::None;
        // A node of an older version does not need them.
        let _ =
            link.entries.call(RAFT_PROGRAM, RAFT_VERSION, procedure, none, args, CALLERS_CALL_MS_MAX).await;
    }
}

/// Makes one shard's links to the other members.
pub(crate) struct Network {
    pub(crate) links: Arc<Links>,
    pub(crate) shard: u32,
    /// The engine's core owns this for as long as it runs.
    pub(crate) _part: Part,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &BasicNode) -> Peer {
        let addr: Option<SocketAddr> = node.addr.parse().ok();
        let link = addr.map(|addr| self.links.to(addr));
        Peer { link, links: Arc::clone(&self.links), to: To { shard: self.shard, node: target } }
    }
}

fn greeting(env: Env, keys: Keyring, own: NodeId) -> Greeting {
    Arc::new(move |connection: Connection| -> BoxFuture<'static, Result<(), CallError>> {
        let mut nonce = [0; 32];
        env.entropy.fill(&mut nonce);
        let link = (NodeKind::Metadata, NodeKind::Metadata);
        let handshake = Handshake::new(keys.held().active(), RAFT_PROGRAM, link, nonce).of_node(own);
        Box::pin(greet(connection, handshake))
    })
}

async fn greet(connection: Connection, handshake: Handshake) -> Result<(), CallError> {
    let hello: Hello = exchange(&connection, Procedure::Hello, handshake.hello()).await?;
    let (greeted, auth) = handshake.on_hello(hello).map_err(refused)?;
    let answer: Auth = exchange(&connection, Procedure::Auth, &auth).await?;
    greeted.on_auth(&answer).map(drop).map_err(refused)
}

async fn exchange<R: Decode>(
    connection: &Connection,
    procedure: Procedure,
    args: &impl Encode,
) -> Result<R, CallError> {
    let mut w = Writer::new();
    args.encode(&mut w);
    let timeout_ms = env_transport::CONNECT_MS_MAX;
    let mut reader = connection
        .call(RAFT_PROGRAM, RAFT_VERSION, procedure.number(), &Credential::None, w, timeout_ms)
        .await?;
    decode_reply::<R>(reader.rest())?.map_err(refused)
}

fn refused(reason: impl fmt::Display) -> CallError {
    CallError::Hello { reason: reason.to_string() }
}

/// The link of one shard to one other member.
pub(crate) struct Peer {
    /// `None` if its address does not parse: then it is never reached.
    link: Option<Arc<Link>>,
    links: Arc<Links>,
    to: To,
}

impl Peer {
    fn now_ms(&self) -> u64 {
        self.links.env.clock.monotonic_ms()
    }

    async fn call<R: DeserializeOwned>(
        &self,
        procedure: RaftProcedure,
        which: Which,
        message: &impl Serialize,
        timeout: Duration,
    ) -> Result<R, RPCError<Types>> {
        let Some(link) = &self.link else {
            return Err(RPCError::Unreachable(Unreachable::from_string("the member has no valid address")));
        };
        self.links.calls.fetch_add(1, Ordering::Relaxed);
        let client = match which {
            Which::Vital => &link.vital,
            Which::Entries => &link.entries,
            Which::Bulk => &link.bulk,
        };
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        let args = encode_args(self.to, message);
        let called = client
            .call(RAFT_PROGRAM, RAFT_VERSION, procedure as u32, &Credential::None, args, timeout_ms)
            .await;
        let mut reader = called.map_err(|error| match error {
            CallError::Connect { .. } | CallError::Hello { .. } => {
                RPCError::Unreachable(Unreachable::new(&error))
            }
            CallError::Timeout | CallError::Disconnected | CallError::Rejected(_) | CallError::Garbage(_) => {
                RPCError::Network(NetworkError::new(&error))
            }
        })?;
        // Also if it refuses: while it installs a snapshot it answers nothing else.
        self.links.holds.note_answer(self.to, self.now_ms());
        decode_result(reader.rest()).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }

    /// Sends all parts of a snapshot, then the request to install it.
    async fn transfer(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Held(view) = snapshot.snapshot else {
            let error = NetworkError::from_string("a received snapshot is not passed on");
            return Err(StreamingError::Network(error));
        };
        let transfer = self.links.env.entropy.u64();
        let upto = snapshot.meta.last_log_id.map_or(0, |id| id.index());
        let holding = self.links.holds.hold_log(self.to, transfer, upto, self.now_ms());
        self.send_parts(view, transfer).await?;
        let install = SnapshotInstall { transfer, vote, meta: snapshot.meta };
        let timeout = Duration::from_millis(SNAPSHOT_INSTALL_MS_MAX);
        let vote = self.call(RaftProcedure::SnapshotInstall, Which::Bulk, &install, timeout).await?;
        holding.installed(self.now_ms());
        Ok(SnapshotResponse { vote })
    }

    /// Drops the view with the last part: the store cannot reuse the pages that it shows, and the
    /// installation may take long.
    async fn send_parts(
        &self,
        view: Box<dyn View + Send>,
        transfer: u64,
    ) -> Result<(), StreamingError<Types>> {
        let timeout = Duration::from_millis(SNAPSHOT_CALL_MS_MAX);
        let mut offset_bytes = 0;
        let mut encoder = Encoder::new(view);
        loop {
            let read = off_thread::run_work(encoder.waits(), move || {
                let chunk = encoder.next_chunk();
                (encoder, chunk)
            });
            let (given_back, chunk) = read.await.map_err(|error| Unreachable::new(&error))?;
            encoder = given_back;
            let Some(bytes) = chunk.map_err(|error| Unreachable::new(&error))? else { return Ok(()) };
            let part = SnapshotChunk { transfer, offset_bytes, bytes: bytes.to_vec() };
            offset_bytes += bytes.len() as u64;
            let () = self.call(RaftProcedure::SnapshotChunk, Which::Bulk, &part, timeout).await?;
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let which = if rpc.entries.is_empty() { Which::Vital } else { Which::Entries };
        self.call(RaftProcedure::AppendEntries, which, &rpc, option.soft_ttl()).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(RaftProcedure::Vote, Which::Vital, &rpc, option.soft_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(RaftProcedure::PreVote, Which::Vital, &rpc, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            sent = self.transfer(vote, snapshot) => sent,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.call(RaftProcedure::TransferLeader, Which::Vital, &req, option.soft_ttl()).await
    }
}
