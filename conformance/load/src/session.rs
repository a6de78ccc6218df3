//! One client: its connection, its session, and one slot.
//!
//! INVARIANT: one request at a time; the next one goes out when the last was answered.
//!
//! Spec: RFC 8881 §2.10, §18.35, §18.36, §18.46, §18.51.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use env::Env;
use env_transport::{CallError, Limits, RpcClient};
use wire_nfs::v4::callback_sec::CallbackSec;
use wire_nfs::v4::ops::create_session::{self, ChannelAttrs};
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked};
use wire_nfs::v4::ops::{reclaim_complete, sequence};
use wire_nfs::v4::{Nfsstat4, Op, SessionId, Verifier};
use wire_rpc::{AuthSys, Credential};
use wire_xdr::{Reader, Writer};

use crate::error::LoadError;
use crate::limits::{CALL_MS_MAX, DELAY_MS, MESSAGE_BYTES, PATIENCE_MS_MAX, RENEW_MS};
use crate::request::{Reply, Request, Sealed, bare};

const NFS: u32 = 100_003;

/// A session with one slot.
pub(crate) struct Session {
    env: Env,
    rpc: RpcClient,
    id: SessionId,
    pub(crate) clientid: u64,
    /// Sequence of the slot's last request.
    turn: tokio::sync::Mutex<u32>,
    used_ms: AtomicU64,
}

impl Session {
    /// Makes a session at the first of these servers that serves clients, and waits until one does.
    pub(crate) async fn open(env: &Env, servers: &[SocketAddr], number: usize) -> Result<Self, LoadError> {
        let began_ms = env.clock.monotonic_ms();
        loop {
            let mut last = LoadError::Plan("a load needs a server");
            for server in servers {
                match Self::try_open(env, *server, number).await {
                    Ok(session) => return Ok(session),
                    Err(error) => last = error,
                }
            }
            if PATIENCE_MS_MAX < env.clock.monotonic_ms() - began_ms || servers.is_empty() {
                return Err(last);
            }
            env.clock.sleep_ms(DELAY_MS).await;
        }
    }

    async fn try_open(env: &Env, server: SocketAddr, number: usize) -> Result<Self, LoadError> {
        let rpc = RpcClient::new(Arc::clone(&env.net), Arc::clone(&env.clock), server, Limits::default());
        let identity = exchange_id::Args {
            verifier: Verifier(env.entropy.u64().to_be_bytes()),
            owner_id: Bytes::from(format!("load {number}")),
            flags: exchange_id::flags::SUPP_MOVED_REFER | exchange_id::flags::BIND_PRINC_STATEID,
            state_protect: StateProtectAsked::None,
            impl_id: Vec::new(),
        };
        let known: exchange_id::ResOk =
            Reply::begin(send(&rpc, bare(Op::ExchangeId, &identity)).await?)?.next(Op::ExchangeId)?;
        let args = create_session::Args {
            clientid: known.clientid,
            sequence: known.sequenceid,
            flags: 0,
            fore: channel(MESSAGE_BYTES),
            back: channel(4096),
            cb_program: 0x4000_0000,
            sec_parms: vec![CallbackSec::None],
        };
        let made: create_session::ResOk =
            Reply::begin(send(&rpc, bare(Op::CreateSession, &args)).await?)?.next(Op::CreateSession)?;
        let session = Self {
            env: env.clone(),
            rpc,
            id: made.session,
            clientid: known.clientid,
            turn: tokio::sync::Mutex::new(0),
            used_ms: AtomicU64::new(0),
        };
        let complete = Request::new().then(Op::ReclaimComplete, &reclaim_complete::Args { one_fs: false });
        let mut reply = session.call(complete).await?;
        match reply.skip(Op::ReclaimComplete) {
            Ok(()) | Err(LoadError::Refused { status: Nfsstat4::CompleteAlready, .. }) => Ok(session),
            Err(error) => Err(error),
        }
    }

    /// Sends operations until the server has carried them out or refused them; the reply stands
    /// behind SEQUENCE.
    pub(crate) async fn call(&self, request: Request) -> Result<Reply, LoadError> {
        let mut turn = self.turn.lock().await;
        self.in_turn(&mut turn, &request.seal()).await
    }

    async fn in_turn(&self, turn: &mut u32, request: &Sealed) -> Result<Reply, LoadError> {
        let began_ms = self.env.clock.monotonic_ms();
        let mut resends = false;
        loop {
            if !resends {
                *turn = turn.wrapping_add(1);
            }
            let args = sequence::Args {
                session: self.id,
                sequenceid: *turn,
                slotid: 0,
                highest_slotid: 0,
                cache_this: false,
            };
            let mut reply = Reply::begin(send(&self.rpc, request.in_session(&args)).await?)?;
            let now_ms = self.env.clock.monotonic_ms();
            self.used_ms.store(now_ms, Ordering::Relaxed);
            resends = match reply.next::<sequence::ResOk>(Op::Sequence) {
                Ok(_) if !matches!(reply.status, Nfsstat4::Delay | Nfsstat4::Grace) => return Ok(reply),
                Ok(_) => false,
                // The slot has not moved.
                Err(LoadError::Refused { status: Nfsstat4::Delay, .. }) => true,
                Err(error) => return Err(error),
            };
            if PATIENCE_MS_MAX < now_ms - began_ms {
                return Err(LoadError::PutOff(reply.status));
            }
            self.env.clock.sleep_ms(DELAY_MS).await;
        }
    }

    /// Renews the lease whenever nothing else does, for ever.
    pub(crate) async fn keep(&self) -> Result<(), LoadError> {
        loop {
            self.env.clock.sleep_ms(RENEW_MS / 2).await;
            let idle_ms = self.env.clock.monotonic_ms() - self.used_ms.load(Ordering::Relaxed);
            if RENEW_MS <= idle_ms
                && let Ok(mut turn) = self.turn.try_lock()
            {
                self.in_turn(&mut turn, &Request::new().seal()).await?;
            }
        }
    }
}

async fn send(rpc: &RpcClient, request: Writer) -> Result<Reader, CallError> {
    rpc.call(NFS, 4, 1, &Credential::Sys(AuthSys::default()), request, CALL_MS_MAX).await
}

fn channel(bytes_max: u32) -> ChannelAttrs {
    ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: bytes_max,
        response_bytes_max: bytes_max,
        response_cached_bytes_max: bytes_max.min(4096),
        operations_max: 16,
        requests_max: 1,
        rdma_ird: Vec::new(),
    }
}
