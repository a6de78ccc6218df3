//! Calls to clients over the backchannel: CB_SEQUENCE and one operation.
//!
//! Spec: RFC 8881 §2.10.3.1, §20.

use env_transport::LogRate;
use std::sync::Arc;

use bytes::Bytes;
use wire_nfs::v4::callback::compound::{CB_PROGRAM_VERSION, PROC_CB_COMPOUND, decode_cb_op_reply};
use wire_nfs::v4::callback::sequence;
use wire_nfs::v4::callback_sec::CallbackSec;
use wire_nfs::v4::compound::ReplyHeader;
use wire_nfs::v4::{CbOp, Nfsstat4};
use wire_rpc::{AuthSys, Credential};
use wire_session::server::backchannel::encode_callback;
use wire_session::server::{CallbackCall, CallbackOutcome, CallbackVerdict};
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::server::Server;

/// A client that does not answer a callback in this time has lost its backchannel.
const ANSWER_MS: u64 = 10_000;

/// Why a client could not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallbackError {
    /// No connection carries callbacks: the next SEQUENCE reports it to the client.
    NoPath,
    /// All slots are taken, or the call has to be repeated.
    Busy,
}

/// Calls a client and returns the status of the operation. Dropping this future does not cancel the
/// call: its slot is free once it is answered, and no sooner.
pub(crate) async fn call(
    server: &Arc<Server>,
    client: u64,
    op: CbOp,
    args: &impl Encode,
) -> Result<Nfsstat4, CallbackError> {
    let begun = {
        let mut sessions = server.front.sessions.lock();
        match sessions.begin_callback(client) {
            Some(call) => call,
            None if sessions.has_path(client) => return Err(CallbackError::Busy),
            None => return Err(CallbackError::NoPath),
        }
    };
    let mut request = Writer::new();
    encode_callback(&mut request, &begun, op, args);
    let server = Arc::clone(server);
    let exchanged = tokio::spawn(async move {
        let outcome = exchange(&server, &begun, op, request).await;
        server.front.sessions.lock().finish_callback(begun.token, outcome)
    });
    match exchanged.await {
        Ok(CallbackVerdict::Answered(status)) => Ok(status),
        Ok(CallbackVerdict::Again) => Err(CallbackError::Busy),
        // The server stops: the task does not end by itself before.
        Ok(CallbackVerdict::Broken) | Err(_) => Err(CallbackError::NoPath),
    }
}

async fn exchange(server: &Server, call: &CallbackCall, op: CbOp, request: Writer) -> CallbackOutcome {
    let Some(connection) = server.front.connection(call.connection) else { return CallbackOutcome::Lost };
    let credential = credential(&call.credential);
    let reply = connection
        .call_back(call.program, CB_PROGRAM_VERSION, PROC_CB_COMPOUND, &credential, request, ANSWER_MS)
        .await;
    match reply {
        Ok(mut reader) => read_reply(&mut reader, op).unwrap_or(CallbackOutcome::Lost),
        Err(error) => {
            static RATE: LogRate = LogRate::new();
            if let Some(suppressed) = RATE.admit(server.now_ms()) {
                tracing::info!(%error, op = op.name(), suppressed, "callback was not answered");
            }
            CallbackOutcome::Lost
        }
    }
}

fn read_reply(reader: &mut Reader, op: CbOp) -> Result<CallbackOutcome, XdrError> {
    let header = ReplyHeader::decode(reader)?;
    header.check_op_count()?;
    if header.op_count == 0 {
        return Ok(CallbackOutcome::Sequence(header.status));
    }
    let sequenced = decode_cb_op_reply(reader, CbOp::Sequence)?;
    if !sequenced.is_ok() {
        return Ok(CallbackOutcome::Sequence(sequenced));
    }
    sequence::ResOk::decode(reader)?;
    Ok(CallbackOutcome::Answered(decode_cb_op_reply(reader, op)?))
}

fn credential(asked: &CallbackSec) -> Credential {
    match asked {
        CallbackSec::Sys(sys) => Credential::Sys(AuthSys {
            stamp: sys.stamp,
            machine_name: Bytes::copy_from_slice(&sys.machine_name),
            uid: sys.uid,
            gid: sys.gid,
            gids: sys.gids.clone(),
        }),
        CallbackSec::None | CallbackSec::Gss(_) => Credential::None,
    }
}
