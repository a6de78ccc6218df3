//! Calls of the control protocol from this data server: to metadata servers, and to other data
//! servers; and extents as these calls name them.
//!
//! INVARIANT: nothing is sent before the other end has proved that it is the kind of node that was
//! called.
//! Spec: docs/protocol/control.md §1.

use std::net::SocketAddr;
use std::sync::Arc;

use env::{BoxFuture, Env};
use env_transport::{CallError, Connection, Limits, RpcClient};
use layout::ExtentId;
use parking_lot::Mutex;
use wire_nfs::control::auth::{Auth, Hello, Peer};
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::{Handshake, Keyring, NodeKind, PROGRAM, Procedure, Refusal, VERSION, decode_reply};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

use crate::limits::CONTROL_CALL_MS_MAX;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the handle key was not sealed for this connection")]
    Seal,
    #[error("the disk of this data server has failed")]
    Failed,
    #[error("the exports make no sense")]
    Exports,
}

/// The extent that a control call names.
pub(crate) fn extent_id(name: ExtentName) -> ExtentId {
    ExtentId { ino: name.ino, index: name.index }
}

/// The name of an extent in a control call.
pub(crate) fn extent_name(extent: ExtentId) -> ExtentName {
    ExtentName { ino: extent.ino, index: extent.index }
}

/// A connection to one node, and the other end once it has proved itself.
pub(crate) struct Link {
    client: RpcClient,
    peer: Arc<Mutex<Option<Peer>>>,
}

impl Link {
    /// Opens nothing yet. `callee` says what must answer: a metadata server, or a data server.
    pub(crate) fn new(env: &Env, address: SocketAddr, keys: &Keyring, callee: NodeKind) -> Self {
        let peer = Arc::new(Mutex::new(None));
        let (proved, held, entropy) = (Arc::clone(&peer), keys.clone(), Arc::clone(&env.entropy));
        let hello = move |connection: Connection| -> BoxFuture<'static, Result<(), CallError>> {
            let mut nonce = [0; 32];
            entropy.fill(&mut nonce);
            let handshake = Handshake::new(held.held().active(), PROGRAM, (NodeKind::Data, callee), nonce);
            let proved = Arc::clone(&proved);
            Box::pin(async move {
                let peer = greet_peer(&connection, handshake).await?;
                *proved.lock() = Some(peer);
                Ok(())
            })
        };
        let (net, clock) = (Arc::clone(&env.net), Arc::clone(&env.clock));
        let renewed = keys.clone();
        let client = RpcClient::new(net, clock, address, Limits::default())
            .with_hello(Arc::new(hello))
            .with_renewal(Arc::new(move || renewed.active_version()));
        Self { client, peer }
    }

    /// The address of the other end.
    pub(crate) fn address(&self) -> SocketAddr {
        self.client.addr()
    }

    /// The other end, once it has proved itself.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.peer.lock().clone()
    }

    /// Calls a procedure.
    pub(crate) async fn ask<R: Decode>(
        &self,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<R, AskError> {
        self.ask_within(procedure, args, CONTROL_CALL_MS_MAX).await
    }

    /// Calls a procedure that the other end must answer within `ms_max`.
    pub(crate) async fn ask_within<R: Decode>(
        &self,
        procedure: Procedure,
        args: &impl Encode,
        ms_max: u64,
    ) -> Result<R, AskError> {
        assert!(0 < ms_max, "a call has time to be answered");
        let mut w = Writer::new();
        args.encode(&mut w);
        let (number, anonymous) = (procedure.number(), Credential::None);
        let called = self.client.call(PROGRAM, VERSION, number, &anonymous, w, ms_max).await;
        let reply = decode_reply(called?.rest()).map_err(CallError::Garbage)?;
        Ok(reply?)
    }

    /// Closes the connection if the other end did not answer on it.
    pub(crate) fn disconnect_if_silent(&self, error: &AskError) {
        if matches!(error, AskError::Call(CallError::Timeout)) {
            self.client.disconnect();
        }
    }
}

async fn greet_peer(connection: &Connection, handshake: Handshake) -> Result<Peer, CallError> {
    let hello: Hello = call_before_proof(connection, Procedure::Hello, handshake.hello()).await?;
    let (greeted, auth) = handshake.on_hello(hello).map_err(refused)?;
    let answer: Auth = call_before_proof(connection, Procedure::Auth, &auth).await?;
    greeted.on_auth(&answer).map_err(refused)
}

async fn call_before_proof<R: Decode>(
    connection: &Connection,
    procedure: Procedure,
    args: &impl Encode,
) -> Result<R, CallError> {
    assert!(
        matches!(procedure, Procedure::Hello | Procedure::Auth),
        "only the handshake is sent to an end that has not proved itself"
    );
    let mut w = Writer::new();
    args.encode(&mut w);
    let (number, anonymous) = (procedure.number(), Credential::None);
    let mut reply = connection.call(PROGRAM, VERSION, number, &anonymous, w, CONTROL_CALL_MS_MAX).await?;
    decode_reply::<R>(reply.rest())?.map_err(refused)
}

fn refused(reason: impl std::fmt::Display) -> CallError {
    CallError::Hello { reason: reason.to_string() }
}
