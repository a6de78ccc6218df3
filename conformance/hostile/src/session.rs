//! A client of the metadata server: one session with one slot, which attacks and the honest client
//! use alike.
//!
//! INVARIANT: a request is sent again with the sequence it had, so it runs once however often its
//! connection is lost.
//!
//! Spec: RFC 8881 §2.10, §18.34, §18.35, §18.36, §18.46.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use env::Clock;
use env::os::OsClock;
use env_transport::{CallError, Limits, RpcClient};
use wire_nfs::v4::callback_sec::CallbackSec;
use wire_nfs::v4::compound::{ReplyHeader, RequestWriter, decode_op_reply};
use wire_nfs::v4::ops::bind_conn_to_session::{self, DirectionAsked};
use wire_nfs::v4::ops::create_session::{self, ChannelAttrs};
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked};
use wire_nfs::v4::ops::sequence::{self, status_flags};
use wire_nfs::v4::ops::{destroy_clientid, destroy_session, reclaim_complete};
use wire_nfs::v4::{Nfsstat4, Op, SessionId, Verifier};
use wire_rpc::{AuthSys, Credential};
use wire_xdr::{Decode, Encode, Reader, Writer};

use crate::callbacks::Callbacks;
use crate::failed::{Failed, Outcome, failed};
use crate::limits::{CALL_MS_MAX, MESSAGE_BYTES, PATIENCE_MS_MAX, REPEAT_MS};
use crate::net::Via;

const NFS: u32 = 100_003;

/// Operations being written.
pub(crate) struct Ops<'a> {
    writer: &'a mut Writer,
    request: RequestWriter,
}

impl Ops<'_> {
    /// One more.
    pub(crate) fn op(&mut self, op: Op, args: &impl Encode) {
        self.request.op(self.writer, op, args);
    }
}

/// A compound as bytes, ready for RPC.
pub(crate) fn compound(write: impl FnOnce(&mut Ops<'_>)) -> Writer {
    let mut writer = Writer::new();
    let request = RequestWriter::begin(&mut writer, &Bytes::new(), 2);
    let mut ops = Ops { writer: &mut writer, request };
    write(&mut ops);
    let Ops { request, .. } = ops;
    request.finish(&mut writer);
    writer
}

/// A reply being read.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Of the operation at which the compound ended.
    pub(crate) status: Nfsstat4,
    reader: Reader,
}

impl Reply {
    /// Reads the header.
    pub(crate) fn begin(mut reader: Reader) -> Outcome<Self> {
        let header = ReplyHeader::decode(&mut reader)?;
        Ok(Self { status: header.status, reader })
    }

    /// The status of the next result.
    pub(crate) fn status_of(&mut self, op: Op) -> Outcome<Nfsstat4> {
        Ok(decode_op_reply(&mut self.reader, op)?)
    }

    /// The next result, which must be a good one.
    pub(crate) fn next<R: Decode>(&mut self, op: Op) -> Outcome<R> {
        match self.status_of(op)? {
            Nfsstat4::Ok => Ok(R::decode(&mut self.reader)?),
            status => Err(failed(format!("{}: {}", op.name(), status.name()))),
        }
    }

    /// The same, of a result that has no more than its status.
    pub(crate) fn skip(&mut self, op: Op) -> Outcome<()> {
        match self.status_of(op)? {
            Nfsstat4::Ok => Ok(()),
            status => Err(failed(format!("{}: {}", op.name(), status.name()))),
        }
    }
}

/// AUTH_SYS of a user.
pub(crate) fn user(uid: u32) -> Credential {
    Credential::Sys(AuthSys {
        machine_name: Bytes::from_static(b"hostile"),
        uid,
        gid: uid,
        ..AuthSys::default()
    })
}

/// The verifier of a client's start: another one each time.
fn fresh_verifier() -> Verifier {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) ^ (u64::from(std::process::id()) << 32);
    Verifier(number.to_be_bytes())
}

/// Who a client says it is.
pub(crate) fn identity(owner: &str) -> exchange_id::Args {
    exchange_id::Args {
        verifier: fresh_verifier(),
        owner_id: Bytes::from(owner.to_owned()),
        flags: exchange_id::flags::SUPP_MOVED_REFER | exchange_id::flags::BIND_PRINC_STATEID,
        state_protect: StateProtectAsked::None,
        impl_id: Vec::new(),
    }
}

/// A session as a client asks for one.
pub(crate) fn wanted(clientid: u64, sequence: u32, slots: u32) -> create_session::Args {
    let channel = |bytes: u32, requests_max: u32| ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: bytes,
        response_bytes_max: bytes,
        response_cached_bytes_max: 8192.min(bytes),
        operations_max: 16,
        requests_max,
        rdma_ird: Vec::new(),
    };
    create_session::Args {
        clientid,
        sequence,
        flags: create_session::flags::CONN_BACK_CHAN,
        fore: channel(MESSAGE_BYTES, slots),
        back: channel(4096, 1),
        cb_program: 0x4000_0000,
        sec_parms: vec![CallbackSec::None],
    }
}

/// A client of the metadata server that may have no session yet.
pub(crate) struct Client {
    rpc: RpcClient,
    clock: Arc<dyn Clock>,
    pub(crate) credential: Credential,
    pub(crate) callbacks: Callbacks,
    pub(crate) clientid: u64,
    pub(crate) create_sequence: u32,
    pub(crate) session: SessionId,
    pub(crate) sequence: u32,
    /// The server said that the back channel is lost.
    path_down: bool,
}

impl Client {
    /// Opens nothing yet.
    pub(crate) fn new(via: Via, server: SocketAddr, uid: u32) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(OsClock::new());
        let callbacks = Callbacks::default();
        let rpc = RpcClient::new(Arc::new(via), Arc::clone(&clock), server, Limits::default())
            .with_service(Arc::new(callbacks.clone()));
        Self {
            rpc,
            clock,
            credential: user(uid),
            callbacks,
            clientid: 0,
            create_sequence: 0,
            session: SessionId::default(),
            sequence: 0,
            path_down: false,
        }
    }

    /// A client with a session.
    ///
    /// # Errors
    /// What it was refused with.
    pub(crate) async fn begin(via: Via, server: SocketAddr, uid: u32, owner: &str) -> Outcome<Self> {
        let mut client = Self::new(via, server, uid);
        client.introduce(owner).await?;
        client.make_session(1).await?;
        let mut reply =
            client.call(|c| c.op(Op::ReclaimComplete, &reclaim_complete::Args { one_fs: false })).await?;
        match reply.status_of(Op::ReclaimComplete)? {
            Nfsstat4::Ok | Nfsstat4::CompleteAlready => Ok(client),
            status => Err(failed(format!("RECLAIM_COMPLETE: {}", status.name()))),
        }
    }

    /// EXCHANGE_ID.
    ///
    /// # Errors
    /// What it was refused with.
    pub(crate) async fn introduce(&mut self, owner: &str) -> Outcome<exchange_id::ResOk> {
        let mut reply = self.bare(|c| c.op(Op::ExchangeId, &identity(owner))).await?;
        let known: exchange_id::ResOk = reply.next(Op::ExchangeId)?;
        (self.clientid, self.create_sequence) = (known.clientid, known.sequenceid);
        Ok(known)
    }

    /// CREATE_SESSION.
    ///
    /// # Errors
    /// What it was refused with.
    pub(crate) async fn make_session(&mut self, slots: u32) -> Outcome<create_session::ResOk> {
        let args = wanted(self.clientid, self.create_sequence, slots);
        let mut reply = self.bare(|c| c.op(Op::CreateSession, &args)).await?;
        let made: create_session::ResOk = reply.next(Op::CreateSession)?;
        (self.session, self.sequence) = (made.session, 0);
        self.create_sequence += 1;
        Ok(made)
    }

    /// Gives session and client id back.
    pub(crate) async fn end(&mut self) -> Outcome<()> {
        let session = destroy_session::Args { session: self.session };
        self.bare(|c| c.op(Op::DestroySession, &session)).await?.skip(Op::DestroySession)?;
        let client = destroy_clientid::Args { clientid: self.clientid };
        self.bare(|c| c.op(Op::DestroyClientid, &client)).await?.skip(Op::DestroyClientid)
    }

    /// Sends a compound without SEQUENCE, once.
    pub(crate) async fn bare(&self, write: impl FnOnce(&mut Ops<'_>)) -> Outcome<Reply> {
        self.send(compound(write)).await.map_err(Failed::from).and_then(Reply::begin)
    }

    async fn send(&self, request: Writer) -> Result<Reader, CallError> {
        self.rpc.call(NFS, 4, 1, &self.credential, request, CALL_MS_MAX).await
    }

    /// Sends operations in the session until the server has carried them out or refused them; the
    /// reply stands behind SEQUENCE.
    ///
    /// # Errors
    /// When the session is gone, or there is nothing but DELAY or silence for too long.
    pub(crate) async fn call(&mut self, write: impl Fn(&mut Ops<'_>)) -> Outcome<Reply> {
        let began_ms = self.clock.monotonic_ms();
        self.sequence = self.sequence.wrapping_add(1);
        loop {
            let args = sequence::Args {
                session: self.session,
                sequenceid: self.sequence,
                slotid: 0,
                highest_slotid: 0,
                cache_this: false,
            };
            let request = compound(|c| {
                c.op(Op::Sequence, &args);
                write(c);
            });
            let last = match self.send(request).await {
                Err(error) => {
                    self.path_down = true;
                    Failed::from(error)
                }
                Ok(reader) => {
                    let mut reply = Reply::begin(reader)?;
                    match reply.status_of(Op::Sequence)? {
                        Nfsstat4::Ok => {
                            let known: sequence::ResOk = sequence::ResOk::decode(&mut reply.reader)?;
                            self.heed(known.status_flags).await;
                            if !matches!(reply.status, Nfsstat4::Delay | Nfsstat4::Grace) {
                                return Ok(reply);
                            }
                            self.sequence = self.sequence.wrapping_add(1);
                        }
                        // The slot has not moved.
                        Nfsstat4::Delay => {}
                        status => return Err(failed(format!("SEQUENCE: {}", status.name()))),
                    }
                    failed(reply.status.name())
                }
            };
            if PATIENCE_MS_MAX < self.clock.monotonic_ms() - began_ms {
                return Err(failed(format!("nothing but {last} for {PATIENCE_MS_MAX} ms")));
            }
            self.clock.sleep_ms(REPEAT_MS).await;
        }
    }

    /// Binds this connection as back channel again if the server said that it is lost.
    async fn heed(&mut self, flags: u32) {
        let down = flags & (status_flags::CB_PATH_DOWN | status_flags::CB_PATH_DOWN_SESSION) != 0;
        if !down && !self.path_down {
            return;
        }
        let direction = DirectionAsked::ForeOrBoth;
        let args = bind_conn_to_session::Args { session: self.session, direction, rdma_mode: false };
        // If it fails, the next SEQUENCE says so again.
        self.path_down = self.bare(|c| c.op(Op::BindConnToSession, &args)).await.is_err();
    }
}
