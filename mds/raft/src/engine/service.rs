//! Serves the calls of the other members. Before the caller has proved that it is a metadata server
//! of the cluster, only the handshake is decoded and answered.
//!
//! Spec: docs/protocol/raft.md, docs/protocol/control.md §1.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use env::{BoxFuture, Env};
use env_transport::{Answer, Call, Connection, LogRate, Service};
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use wire_nfs::control::auth::ControlGate;
use wire_nfs::control::{Keyring, NodeKind, RAFT_PROGRAM, Refusal};
use wire_rpc::{accepted_success, garbage_args, proc_unavail, prog_mismatch, prog_unavail};

use super::forward::QueryIndex;
use super::identity::number_of;
use super::machine::Raft;
use super::message::{
    ClockShows, Identity, QueryClock, QueryIdentity, RAFT_VERSION, RaftProcedure, SnapshotChunk,
    SnapshotInstall, decode_args, decode_to, encode_result,
};
use super::snapshot::{Receiver, Snapshot};
use super::type_config::{NodeId, Types, Vote};
use crate::handles::Shard;
use crate::host::Host;
use crate::limits::{TORN_ANSWER_MS_MAX, TORN_NOTIFY_MS};

type AppendEntriesRequest = openraft::raft::AppendEntriesRequest<Types>;
type AppendEntriesResponse = openraft::raft::AppendEntriesResponse<Types>;
type TransferLeaderRequest = openraft::raft::TransferLeaderRequest<Types>;
type TransferLeaderResponse = openraft::raft::TransferLeaderResponse<Types>;
type VoteRequest = openraft::raft::VoteRequest<Types>;
type VoteResponse = openraft::raft::VoteResponse<Types>;

/// Serves the other nodes, for all shards.
pub(crate) struct RaftService {
    env: Env,
    /// By their numbers.
    members: Vec<Arc<Member>>,
    host: Arc<Host>,
    keys: Keyring,
    /// Notified when the connection of a member ends.
    ended: Arc<Notify>,
    gates: Mutex<HashMap<u64, ControlGate>>,
}

/// One shard's replica here.
pub(crate) struct Member {
    shard: usize,
    replica: Shard,
    raft: Raft,
    env: Env,
    /// The file of a received snapshot.
    snapshot_path: PathBuf,
    /// The current transfer; a later one replaces it.
    incoming: tokio::sync::Mutex<Option<(u64, Receiver)>>,
    /// Snapshots that the engine is installing.
    installs: AtomicU32,
    /// When a heartbeat was last passed to the engine while it could not answer.
    notified_ms: AtomicU64,
}

impl RaftService {
    pub(crate) fn new(
        env: Env,
        keys: Keyring,
        host: Arc<Host>,
        members: Vec<Member>,
        ended: Arc<Notify>,
    ) -> Self {
        let members = members.into_iter().map(Arc::new).collect();
        Self { env, members, host, keys, ended, gates: Mutex::default() }
    }

    /// Answers a procedure of the handshake; else decides whether the call may proceed.
    fn gate(&self, procedure: u32, args: Bytes, connection: &Connection) -> Gate {
        let mut gates = self.gates.lock();
        let gate = gates.entry(connection.id()).or_insert_with(|| {
            let mut nonce = [0; 32];
            self.env.entropy.fill(&mut nonce);
            ControlGate::new(&self.keys, RAFT_PROGRAM, NodeKind::Metadata, nonce).of_node(self.host.id)
        });
        if gate.is_shut() {
            return Gate::Close;
        }
        // Numbers from 3 on are other procedures in the control program.
        if procedure < RaftProcedure::AppendEntries as u32
            && let Some(reply) = gate.handshake(procedure, args)
        {
            if gate.is_shut() {
                static RATE: LogRate = LogRate::new();
                if let Some(suppressed) = RATE.admit(self.env.clock.monotonic_ms()) {
                    tracing::warn!(peer = %connection.peer(), suppressed, "a member failed the handshake");
                }
            }
            if gate.peer().is_ok() {
                connection.prove();
            }
            return Gate::Handshake(reply.ok());
        }
        match gate.peer() {
            Ok(peer) if peer.kind == NodeKind::Metadata => {
                connection.prove();
                Gate::Open
            }
            Ok(_) => Gate::Refused(Refusal::WrongPeer),
            Err(refusal) => Gate::Refused(refusal),
        }
    }
}

impl RaftService {
    /// Dispatches a call to its shard.
    fn dispatch(&self, xid: u32, procedure: RaftProcedure, args: Bytes) -> BoxFuture<'static, Answer> {
        let answer =
            |writer| -> BoxFuture<'static, Answer> { Box::pin(std::future::ready(Answer::Reply(writer))) };
        let Ok((to, args)) = decode_to(args) else { return answer(garbage_args(xid)) };
        let refuse = |refusal| {
            let mut reply = accepted_success(xid);
            encode_result::<()>(&mut reply, Err(refusal));
            answer(reply)
        };
        // The call is for the node that had this address before.
        if to.node != 0 && to.node != self.host.id {
            return refuse(Refusal::WrongPeer);
        }
        if procedure == RaftProcedure::NodeHeartbeat {
            let host = Arc::clone(&self.host);
            return Box::pin(reply(xid, args, async move |beat| host.handle_beat(&beat)));
        }
        if procedure == RaftProcedure::Callers {
            let host = Arc::clone(&self.host);
            return Box::pin(reply(xid, args, async move |report| {
                host.callers.handle_report(report);
                Some(())
            }));
        }
        if procedure == RaftProcedure::Identify {
            let (id, members) = (self.host.id, self.members.clone());
            return Box::pin(reply(xid, args, async move |QueryIdentity| begun(id, &members).await));
        }
        if procedure == RaftProcedure::Clock {
            // This machine's own clock, not the time that counts here: else all nodes would follow
            // each other.
            let shows = ClockShows { wall_unix_ns: self.env.clock.wall_ns() };
            return Box::pin(reply(xid, args, async move |QueryClock| Some(shows)));
        }
        if procedure == RaftProcedure::Join {
            let first = self.members.first().cloned();
            return Box::pin(reply(xid, args, async move |asked| {
                Some(first?.replica.admit_node(asked).await)
            }));
        }
        match self.members.get(to.shard as usize) {
            Some(member) => Box::pin(Arc::clone(member).answer(xid, procedure, args, Arc::clone(&self.host))),
            None => refuse(Refusal::Invalid),
        }
    }
}

/// This node's name, and the shards that it knows.
async fn begun(id: NodeId, members: &[Arc<Member>]) -> Option<Identity> {
    let mut begun = Vec::new();
    for (number, member) in (0..).zip(members) {
        if member.replica.has_begun().await.ok()? {
            begun.push(number);
        }
    }
    Some(Identity { id, shards: u32::try_from(members.len()).ok()?, begun })
}

enum Gate {
    /// The reply's body; `None` if the arguments do not decode.
    Handshake(Option<wire_xdr::Writer>),
    Refused(Refusal),
    Open,
    Close,
}

impl Service for RaftService {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let xid = call.header.xid;
        let answer =
            |writer| -> BoxFuture<'static, Answer> { Box::pin(std::future::ready(Answer::Reply(writer))) };
        if call.header.program != RAFT_PROGRAM {
            return answer(prog_unavail(xid));
        }
        if call.header.version != RAFT_VERSION {
            return answer(prog_mismatch(xid, RAFT_VERSION, RAFT_VERSION));
        }
        let args = call.args.rest();
        match self.gate(call.header.procedure, args.clone(), connection) {
            Gate::Handshake(Some(body)) => {
                let mut reply = accepted_success(xid);
                reply.append(body);
                answer(reply)
            }
            Gate::Handshake(None) => answer(garbage_args(xid)),
            Gate::Refused(refusal) => {
                let mut reply = accepted_success(xid);
                encode_result::<()>(&mut reply, Err(refusal));
                answer(reply)
            }
            Gate::Close => Box::pin(std::future::ready(Answer::CloseConnection)),
            Gate::Open => match RaftProcedure::from_number(call.header.procedure) {
                Some(procedure) => self.dispatch(xid, procedure, args),
                None => answer(proc_unavail(xid)),
            },
        }
    }

    fn closed(&self, connection_id: u64) {
        let gate = self.gates.lock().remove(&connection_id);
        if gate.is_some_and(|gate| gate.peer().is_ok_and(|peer| peer.kind == NodeKind::Metadata)) {
            self.ended.notify_one();
        }
    }
}

impl Member {
    pub(crate) fn new(replica: Shard, env: Env, snapshot_path: PathBuf) -> Self {
        let (shard, raft) = (replica.number(), replica.raft());
        Self {
            shard,
            replica,
            raft,
            env,
            snapshot_path,
            incoming: tokio::sync::Mutex::new(None),
            installs: AtomicU32::new(0),
            notified_ms: AtomicU64::new(0),
        }
    }

    /// As the engine answers, except that a live leader which hibernates is not voted out: nothing
    /// else renews what the engine knows of it.
    async fn pre_vote(&self, host: &Host, asked: VoteRequest) -> Option<VoteResponse> {
        let candidate = number_of(asked.vote.leader_id.voted_for);
        if host.may_have_given_lease() || host.has_other_leader(self.shard, candidate) {
            return Some(self.no_vote());
        }
        self.raft.pre_vote(asked).await.ok()
    }

    /// As the engine answers, except that a node which started a moment ago may have given a lease
    /// that it has forgotten. A leader that hands over, or was found dead, has none.
    async fn vote(&self, host: &Host, asked: VoteRequest) -> Option<VoteResponse> {
        if host.may_have_given_lease() && !asked.leadership_transfer {
            return Some(self.no_vote());
        }
        self.raft.vote(asked).await.ok()
    }

    /// As the engine answers, except that a node whose clock is wrong does not lead: for the others
    /// the former leader's lease is over.
    async fn transfer_leader(
        &self,
        host: &Host,
        asked: TransferLeaderRequest,
    ) -> Option<TransferLeaderResponse> {
        if host.is_unfit() && *asked.to_node_id() == host.id {
            return None;
        }
        self.raft.handle_transfer_leader(asked).await.ok()
    }

    fn no_vote(&self) -> VoteResponse {
        VoteResponse::new(self.raft.server_metrics().borrow_watched().vote, None, false)
    }

    async fn answer(
        self: Arc<Self>,
        xid: u32,
        procedure: RaftProcedure,
        args: Bytes,
        host: Arc<Host>,
    ) -> Answer {
        match procedure {
            RaftProcedure::AppendEntries => {
                reply(xid, args, async |rpc| self.append_entries(rpc).await).await
            }
            RaftProcedure::Vote => {
                reply(xid, args, async |rpc| self.unless_busy(self.vote(&host, rpc)).await?).await
            }
            RaftProcedure::PreVote => {
                reply(xid, args, async |rpc| self.unless_busy(self.pre_vote(&host, rpc)).await?).await
            }
            RaftProcedure::SnapshotChunk => reply(xid, args, async |part| self.chunk(part).await).await,
            RaftProcedure::SnapshotInstall => reply(xid, args, async |asked| self.install(asked).await).await,
            RaftProcedure::TransferLeader => {
                reply(xid, args, async |rpc| self.transfer_leader(&host, rpc).await).await
            }
            RaftProcedure::Propose => {
                reply(xid, args, async |proposal| Some(self.replica.propose_for_follower(proposal).await))
                    .await
            }
            RaftProcedure::ReadIndex => {
                reply(xid, args, async |QueryIndex| Some(self.replica.read_index().await)).await
            }
            RaftProcedure::NodeHeartbeat
            | RaftProcedure::Callers
            | RaftProcedure::Identify
            | RaftProcedure::Join
            | RaftProcedure::Clock => Answer::Reply(proc_unavail(xid)),
        }
    }

    /// As the engine answers. While it cannot answer, it gets only some heartbeats, enough to know
    /// that there is a leader: it keeps its answers to all of them.
    async fn append_entries(&self, rpc: AppendEntriesRequest) -> Option<AppendEntriesResponse> {
        if self.is_busy() && rpc.entries.is_empty() {
            let (now_ms, notified_ms) =
                (self.env.clock.monotonic_ms(), self.notified_ms.load(Ordering::Relaxed));
            let patience_ms = 4 * self.replica.node_config().heartbeat_ms;
            if now_ms < notified_ms + TORN_NOTIFY_MS.min(patience_ms) {
                return None;
            }
            self.notified_ms.store(now_ms, Ordering::Relaxed);
        }
        self.unless_busy(self.raft.append_entries(rpc)).await?.ok()
    }

    /// Whether the engine's answers queue behind the installation of a snapshot: for as long as
    /// that takes, also after its caller has gone.
    fn is_busy(&self) -> bool {
        0 < self.installs.load(Ordering::Relaxed) || self.replica.is_torn()
    }

    /// The engine's answer; while the engine is busy, only if it comes soon. Callers are less
    /// patient than an installation takes, and waiting calls occupy places of the connection, which
    /// all shards share. The engine gets the call all the same.
    async fn unless_busy<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        if !self.is_busy() {
            return Some(answer.await);
        }
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = self.env.clock.sleep_ms(TORN_ANSWER_MS_MAX) => None,
        }
    }

    /// Handles a part of a snapshot; `None` if it does not follow the previous part.
    async fn chunk(&self, part: SnapshotChunk) -> Option<()> {
        let mut incoming = self.incoming.lock().await;
        if part.offset_bytes == 0 {
            let receiver = Receiver::create(Arc::clone(&self.env.disk), self.snapshot_path.clone()).await;
            *incoming = Some((part.transfer, refuse(receiver)?));
        }
        let (transfer, receiver) = incoming.as_mut()?;
        if *transfer != part.transfer || receiver.at() != part.offset_bytes {
            return None;
        }
        let end_bytes = part.offset_bytes + part.bytes.len() as u64;
        let taken = receiver.chunk(part.bytes.into()).await;
        assert!(taken.is_err() || receiver.at() == end_bytes, "the next part follows this one");
        if taken.is_err() {
            *incoming = None;
        }
        refuse(taken)
    }

    async fn install(&self, asked: SnapshotInstall) -> Option<Vote> {
        let (transfer, receiver) = self.incoming.lock().await.take()?;
        if transfer != asked.transfer {
            return None;
        }
        let snapshot = Snapshot { meta: asked.meta, snapshot: refuse(receiver.finish())? };
        let _installing = Installing::new(&self.installs);
        let installed = self.raft.install_full_snapshot(asked.vote, snapshot).await.ok()?;
        // The store has it now; the next transfer overwrites a file that stays.
        if let Err(error) = self.env.disk.remove(&self.snapshot_path).await {
            tracing::warn!(%error, "failed to remove the file of a received snapshot");
        }
        Some(installed.vote)
    }
}

/// Counts until it is dropped.
struct Installing<'a>(&'a AtomicU32);

impl<'a> Installing<'a> {
    fn new(installs: &'a AtomicU32) -> Self {
        installs.fetch_add(1, Ordering::Relaxed);
        Self(installs)
    }
}

impl Drop for Installing<'_> {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(0 < before, "an installation that ends has begun");
    }
}

fn refuse<T>(result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "failed to receive a snapshot")).ok()
}

/// Decodes arguments, runs the procedure and encodes its result; `None` is a refusal.
async fn reply<A: DeserializeOwned, R: Serialize>(
    xid: u32,
    args: Bytes,
    run: impl AsyncFnOnce(A) -> Option<R>,
) -> Answer {
    let Ok(args) = decode_args::<A>(args) else { return Answer::Reply(garbage_args(xid)) };
    let result = run(args).await;
    let mut writer = accepted_success(xid);
    encode_result(&mut writer, result.as_ref().ok_or(Refusal::Busy));
    Answer::Reply(writer)
}
