//! A client's session: slots, resends, and what to do when the server that it talked to is gone.
//!
//! A client knows the metadata servers that the cluster was made with, by their own addresses, and
//! asks one after the other. Service addresses, which move between servers
//! (docs/protocol/addresses.md), are not simulated. A request that got no answer is sent again on
//! its slot, over a new connection and to another server if need be, while its session lives:
//! sessions outlive servers. Only if the client's lease runs out is the session lost, and
//! whether the request ran is not known.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use env::Env;
use env_transport::{CallError, Limits, RpcClient};
use parking_lot::Mutex;
use wire_nfs::v4::callback_sec::CallbackSec;
use wire_nfs::v4::ops::create_session::{self, ChannelAttrs};
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked};
use wire_nfs::v4::ops::{reclaim_complete, sequence};
use wire_nfs::v4::{Nfsstat4, Op, SessionId, Verifier};
use wire_rpc::{AuthSys, Credential};
use wire_session::requester::{RequesterSlots, Taken};
use wire_xdr::{Decode, Writer};

use super::backchannel::Backchannel;
use super::compound::{Operations, Reply, bare, in_session};
use crate::chance::Chance;
use crate::planted::Planted;
use crate::record::Record;

const NFS: u32 = 100_003;
const SLOTS: u32 = 8;
const CALL_MS: u64 = 4_000;
/// Times that requests are sent in vain before their server is given up.
const SENDS_MAX: u32 = 3;
/// Times in a row that a server asks for patience before another one is tried.
const DELAYS_MAX: u32 = 8;

/// Where a reply says its sequence and slot: behind status, tag (none), count, operation, status,
/// session.
const SLOT_SEQUENCE: std::ops::Range<usize> = 36..44;

/// What came of a request.
pub(crate) enum Called {
    Reply(Reply),
    /// It may have run, now or later, or not.
    Unknown,
}

/// A session as it is used.
#[derive(Clone)]
struct Live {
    session: SessionId,
    serial: u64,
}

/// Where a session's requests go.
#[derive(Clone)]
struct Route {
    rpc: RpcClient,
    number: u64,
}

struct State {
    server: usize,
    live: Option<Live>,
    /// There is one while there is a session.
    route: Option<Route>,
    serial: u64,
    /// Counts what may have made a server forget replies, or another one take the session up.
    disturbed: u64,
    slots: RequesterSlots,
    clientid: u64,
    delays: u32,
}

/// One client. Its workers share it.
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) env: Env,
    pub(crate) record: Record,
    pub(crate) planted: Planted,
    servers: Vec<SocketAddr>,
    /// It lets itself be called, and never sends again what was answered: a Linux.
    backchannel: Option<Backchannel>,
    state: Mutex<State>,
    /// Held by the worker who makes a session.
    making: tokio::sync::Mutex<()>,
    freed: tokio::sync::Notify,
    chance: Mutex<Chance>,
}

impl Client {
    pub(crate) fn new(
        number: usize,
        env: Env,
        servers: Vec<SocketAddr>,
        record: Record,
        planted: Planted,
        seed: u64,
        backchannel: Option<Backchannel>,
    ) -> Arc<Self> {
        let state = State {
            server: number % servers.len(),
            live: None,
            route: None,
            serial: 0,
            disturbed: 0,
            slots: RequesterSlots::new(SLOTS),
            clientid: 0,
            delays: 0,
        };
        Arc::new(Self {
            number,
            env,
            record,
            planted,
            servers,
            backchannel,
            state: Mutex::new(state),
            making: tokio::sync::Mutex::new(()),
            freed: tokio::sync::Notify::new(),
            chance: Mutex::new(Chance::new(seed, &format!("client {number}"))),
        })
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.env.clock.monotonic_ns()
    }

    /// The client id: with another one, all state is gone.
    pub(crate) fn clientid(&self) -> u64 {
        self.state.lock().clientid
    }

    pub(crate) async fn pause(&self, ms_max: u64) {
        let ms = self.chance.lock().between(ms_max / 4 + 1, ms_max + 2);
        self.env.clock.sleep_ms(ms).await;
    }

    /// Sends operations until there is an answer, or it cannot be known any more what became of
    /// them. What a server puts off before it did anything is sent again.
    pub(crate) async fn call(&self, operations: Operations) -> Called {
        let cached = operations.is_cached();
        let (operations, count) = operations.finish();
        loop {
            let (live, taken) = self.take_slot().await;
            match self.exchange(&live, taken, (&operations, count), cached).await {
                Some(Called::Reply(reply)) if reply.status == Nfsstat4::Delay && reply.count <= 2 => {
                    self.note_delay(live.serial);
                    self.pause(100).await;
                }
                // As if the server had not known the request again.
                Some(Called::Reply(_))
                    if self.planted == Planted::RunsTwice && self.chance.lock().percent(3) => {}
                Some(called) => {
                    self.state.lock().delays = 0;
                    return called;
                }
                None => self.pause(50).await,
            }
        }
    }

    async fn take_slot(&self) -> (Live, Taken) {
        loop {
            let taken = {
                let mut state = self.state.lock();
                let live = state.live.clone();
                live.map(|live| (live, state.slots.take()))
            };
            match taken {
                Some((live, Some(taken))) => return (live, taken),
                Some((_, None)) => self.freed.notified().await,
                None => self.make_session().await,
            }
        }
    }

    /// `None`: it certainly did not run.
    async fn exchange(
        &self,
        live: &Live,
        taken: Taken,
        (operations, count): (&Bytes, u32),
        cached: bool,
    ) -> Option<Called> {
        let args = sequence::Args {
            session: live.session,
            sequenceid: taken.sequence,
            slotid: taken.slot,
            highest_slotid: taken.slot_highest,
            cache_this: cached,
        };
        let mut may_have_run = false;
        let unless = |may_have_run: bool| {
            may_have_run.then(|| {
                self.record.count("fate unknown");
                Called::Unknown
            })
        };
        for sends in 1.. {
            let Some((route, disturbed)) = self.route(live.serial) else { return unless(may_have_run) };
            let sent_ns = self.now_ns();
            let answer = self.send(&route, in_session(&args, operations, count)).await;
            match answer {
                Ok((bytes, connection)) => match self.judge(live, &args, &bytes) {
                    Judged::Answered => {
                        self.renewed(sent_ns);
                        if may_have_run {
                            self.record.count("answered when sent again");
                        }
                        let first = First { route, disturbed, connection, bytes: &bytes };
                        self.send_again(&first, &args, operations, count).await;
                        self.give_back(live, taken);
                        let mut reply = Reply::begin(&bytes)?;
                        reply.sent_before = may_have_run;
                        let _: sequence::ResOk = reply.next(Op::Sequence).ok()?;
                        return Some(Called::Reply(reply));
                    }
                    Judged::Later => {
                        // It may be that the server does not know what became of it.
                        may_have_run = true;
                        self.disturb(live.serial, (sends % DELAYS_MAX == 0).then_some(route.number));
                        self.pause(100).await;
                    }
                    // It only reads: it is sent again as a new request.
                    Judged::NotKept => {
                        self.give_back(live, taken);
                        return None;
                    }
                    Judged::SessionGone => return unless(may_have_run),
                },
                Err(error) => {
                    may_have_run |= !matches!(error, CallError::Connect { .. } | CallError::Hello { .. });
                    self.disturb(live.serial, (sends % SENDS_MAX == 0).then_some(route.number));
                    self.record.count("request sent again");
                    self.pause(200).await;
                }
            }
        }
        None
    }

    /// Where to send a request of this session, and how often it was disturbed; `None` if it is
    /// lost.
    fn route(&self, serial: u64) -> Option<(Route, u64)> {
        let state = self.state.lock();
        let route = state.route.clone().filter(|_| state.serial == serial)?;
        Some((route, state.disturbed))
    }

    /// Something went wrong with a request. The session goes to the next server if it still is on
    /// the given route.
    fn disturb(&self, serial: u64, leaves: Option<u64>) {
        let mut state = self.state.lock();
        state.disturbed += 1;
        let here = state.route.as_ref().map(|route| route.number);
        if state.serial != serial || leaves.is_none() || here != leaves {
            return;
        }
        state.server = (state.server + 1) % self.servers.len();
        let rpc = self.rpc_to(self.servers[state.server]);
        let number = state.disturbed;
        state.route = Some(Route { rpc, number });
        drop(state);
        self.record.count("session moved on");
    }

    fn rpc_to(&self, server: SocketAddr) -> RpcClient {
        let (net, clock) = (Arc::clone(&self.env.net), Arc::clone(&self.env.clock));
        let rpc = RpcClient::new(net, clock, server, Limits::default());
        match &self.backchannel {
            Some(backchannel) => backchannel.equip(rpc),
            None => rpc,
        }
    }

    /// An answer, and the connection that it came on.
    async fn send(&self, route: &Route, request: Writer) -> Result<(Bytes, u64), CallError> {
        let connection = route.rpc.connection().await?;
        let answer = connection.call(NFS, 4, 1, &credential(), request, CALL_MS).await;
        if matches!(answer, Err(CallError::Timeout)) {
            // RFC 8881 §2.9.2: nothing is sent twice on one connection.
            connection.close();
        }
        answer.map(|mut reader| (reader.rest(), connection.id()))
    }

    fn judge(&self, live: &Live, args: &sequence::Args, bytes: &Bytes) -> Judged {
        let Some(mut reply) = Reply::begin(bytes) else {
            self.record.broken("a reply that no client can read".to_owned());
            self.leave(live.serial);
            return Judged::SessionGone;
        };
        match reply.status(Op::Sequence) {
            Nfsstat4::Ok => Judged::Answered,
            Nfsstat4::Delay => Judged::Later,
            Nfsstat4::RetryUncachedRep if !args.cache_this => Judged::NotKept,
            status => {
                self.record.count(format!("SEQUENCE {}", status.name()));
                let known = [Nfsstat4::Badsession, Nfsstat4::Deadsession, Nfsstat4::ConnNotBoundToSession];
                if !known.contains(&status) {
                    let (client, slot, sequence) = (self.number, args.slotid, args.sequenceid);
                    let (name, at_s) = (status.name(), self.now_ns() / 1_000_000_000);
                    self.record.broken(format!(
                        "client {client}: slot {slot} sequence {sequence} at {at_s} s: {name}"
                    ));
                }
                self.leave(live.serial);
                Judged::SessionGone
            }
        }
    }

    /// Now and then sends what was answered once more: nothing may run twice, and the answer must
    /// be the same, unless a server that had it is gone: then what only reads is read again.
    async fn send_again(&self, first: &First<'_>, args: &sequence::Args, operations: &Bytes, count: u32) {
        let (again, late) = {
            let mut chance = self.chance.lock();
            (chance.percent(3), chance.percent(30))
        };
        // What was refused may have been refused by a look, without a record. It is sent again
        // before there is an answer, as any other act: then it happens when the last one of them
        // does. It is not sent again behind its answer.
        let is_refused = Reply::begin(first.bytes).is_none_or(|reply| reply.status != Nfsstat4::Ok);
        if !again || is_refused || self.backchannel.is_some() {
            return;
        }
        if late {
            // By then the server may have died and come back.
            self.pause(4_000).await;
        }
        let again = match self.planted {
            Planted::AnswersForgotten => self.send_as_new(first, args, operations, count).await,
            _ => self.send(&first.route, in_session(args, operations, count)).await.ok(),
        };
        let Some((again, connection)) = again else { return };
        let session_gone =
            Reply::begin(&again).is_some_and(|mut reply| reply.status(Op::Sequence) != Nfsstat4::Ok);
        if session_gone {
            return;
        }
        self.record.count("request sent twice");
        if again == *first.bytes || connection != first.connection {
            return;
        }
        // Another worker's request may be what disturbed the session, and it may still wait for its
        // answer.
        self.env.clock.sleep_ms(u64::from(SENDS_MAX) * CALL_MS).await;
        if self.state.lock().disturbed == first.disturbed {
            self.record
                .broken(format!("client {}: a request that was sent twice had two answers", self.number));
        }
    }

    /// Planted: the same as a new request, whose answer says the slot and the sequence of the old
    /// one. As if the server had not known it again.
    async fn send_as_new(
        &self,
        first: &First<'_>,
        args: &sequence::Args,
        operations: &Bytes,
        count: u32,
    ) -> Option<(Bytes, u64)> {
        // In a box: to have a slot may take a session, and that takes requests.
        let (live, taken) = Box::pin(self.take_slot()).await;
        let fresh = sequence::Args { sequenceid: taken.sequence, slotid: taken.slot, ..*args };
        let sent = match live.session == args.session {
            true => self.send(&first.route, in_session(&fresh, operations, count)).await.ok(),
            false => None,
        };
        if sent.is_none() {
            // How far the slot is is not known.
            self.leave(live.serial);
        }
        self.give_back(&live, taken);
        let (again, connection) = sent?;
        let mut again = again.to_vec();
        again.get_mut(SLOT_SEQUENCE)?.copy_from_slice(first.bytes.get(SLOT_SEQUENCE)?);
        Some((again.into(), connection))
    }

    fn renewed(&self, sent_ns: u64) {
        let mut record = self.record.lock();
        let renewed = &mut record.renewed_ns[self.number];
        if renewed.last().is_none_or(|last| *last < sent_ns) {
            renewed.push(sent_ns);
        }
    }

    fn give_back(&self, live: &Live, taken: Taken) {
        let mut state = self.state.lock();
        if state.serial == live.serial {
            state.slots.give_back(taken.slot, taken.sequence, true);
        }
        drop(state);
        self.freed.notify_one();
    }

    /// The server has not done anything: perhaps it does not lead.
    fn note_delay(&self, serial: u64) {
        let mut state = self.state.lock();
        state.delays += 1;
        let enough = DELAYS_MAX < state.delays;
        let here = state.route.as_ref().map(|route| route.number).filter(|_| enough);
        if enough {
            state.delays = 0;
        }
        drop(state);
        self.disturb(serial, here);
    }

    /// Gives a session up.
    fn leave(&self, serial: u64) {
        let mut state = self.state.lock();
        if state.serial != serial || state.live.is_none() {
            return;
        }
        state.live = None;
        state.route = None;
        state.delays = 0;
        state.serial += 1;
        state.disturbed += 1;
        drop(state);
        self.record.count("session lost");
        self.freed.notify_waiters();
    }

    async fn make_session(&self) {
        let _turn = self.making.lock().await;
        if self.state.lock().live.is_some() {
            return;
        }
        loop {
            let server = self.state.lock().server;
            if self.try_session(self.servers[server]).await.is_some() {
                self.freed.notify_waiters();
                return;
            }
            self.pause(100).await;
            let mut state = self.state.lock();
            state.server = (state.server + 1) % self.servers.len();
        }
    }

    async fn try_session(&self, server: SocketAddr) -> Option<()> {
        self.bind_to(None);
        let rpc = self.rpc_to(server);
        let known: exchange_id::ResOk =
            self.ask(&rpc, Op::ExchangeId, bare(Op::ExchangeId, &self.identity())).await?;
        let args = create_session::Args {
            clientid: known.clientid,
            sequence: known.sequenceid,
            flags: if self.backchannel.is_some() { create_session::flags::CONN_BACK_CHAN } else { 0 },
            fore: channel(1 << 20, SLOTS),
            back: channel(4096, 1),
            cb_program: 0x4000_0000,
            sec_parms: vec![CallbackSec::None],
        };
        let sent_ns = self.now_ns();
        let created: create_session::ResOk =
            self.ask(&rpc, Op::CreateSession, bare(Op::CreateSession, &args)).await?;
        self.renewed(sent_ns);
        self.bind_to(Some(created.session));
        {
            let mut state = self.state.lock();
            if state.clientid != 0 && state.clientid != known.clientid {
                self.record.count("client id lost");
            }
            state.clientid = known.clientid;
            state.serial += 1;
            state.slots = RequesterSlots::new(SLOTS);
            state.disturbed += 1;
            state.live = Some(Live { session: created.session, serial: state.serial });
            state.route = Some(Route { rpc, number: state.disturbed });
        }
        self.record.count("session made");
        if known.flags & exchange_id::flags::CONFIRMED_R == 0 {
            let complete = Operations::new()
                .then(Op::ReclaimComplete, &reclaim_complete::Args { one_fs: false })
                .finish();
            let (live, taken) = {
                let mut state = self.state.lock();
                (state.live.clone()?, state.slots.take()?)
            };
            drop(self.exchange(&live, taken, (&complete.0, complete.1), true).await);
        }
        Some(())
    }

    fn bind_to(&self, session: Option<SessionId>) {
        if let Some(backchannel) = &self.backchannel {
            backchannel.belongs_to(session);
        }
    }

    fn identity(&self) -> exchange_id::Args {
        exchange_id::Args {
            verifier: Verifier((self.number as u64 + 1).to_be_bytes()),
            owner_id: Bytes::from(format!("client {}", self.number)),
            flags: exchange_id::flags::SUPP_MOVED_REFER | exchange_id::flags::BIND_PRINC_STATEID,
            state_protect: StateProtectAsked::None,
            impl_id: Vec::new(),
        }
    }

    async fn ask<R: Decode>(&self, rpc: &RpcClient, op: Op, request: Writer) -> Option<R> {
        let mut reader = rpc.call(NFS, 4, 1, &credential(), request, CALL_MS).await.ok()?;
        let mut reply = Reply::begin(&reader.rest())?;
        match reply.next(op) {
            Ok(result) => Some(result),
            Err(status) => {
                self.record.count(format!("{} {}", op.name(), status.name()));
                None
            }
        }
    }
}

/// The first answer to a request, and how it came.
struct First<'a> {
    route: Route,
    disturbed: u64,
    connection: u64,
    bytes: &'a Bytes,
}

enum Judged {
    Answered,
    Later,
    NotKept,
    SessionGone,
}

fn channel(bytes_max: u32, requests_max: u32) -> ChannelAttrs {
    ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: bytes_max,
        response_bytes_max: bytes_max,
        response_cached_bytes_max: bytes_max.min(8192),
        operations_max: 16,
        requests_max,
        rdma_ird: Vec::new(),
    }
}

fn credential() -> Credential {
    Credential::Sys(AuthSys::default())
}
