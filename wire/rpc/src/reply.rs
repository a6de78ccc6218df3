//! The header of a reply, and one writer for each way a call can end.
//!
//! Each function begins a reply to the call `xid`; only after [`accepted_success`] does the caller
//! append something. Verifiers are empty: RPCSEC_GSS would need another door.
//!
//! Spec: RFC 5531 §9.

use wire_xdr::{Reader, Writer, XdrError};

use crate::{AuthStat, OpaqueAuth, RPC_VERSION};

/// Message type of a reply.
pub(crate) const REPLY: u32 = 1;

const MSG_ACCEPTED: u32 = 0;
const MSG_DENIED: u32 = 1;

const SUCCESS: u32 = 0;
const PROG_UNAVAIL: u32 = 1;
const PROG_MISMATCH: u32 = 2;
const PROC_UNAVAIL: u32 = 3;
const GARBAGE_ARGS: u32 = 4;
const SYSTEM_ERR: u32 = 5;

const RPC_MISMATCH: u32 = 0;
const AUTH_ERROR: u32 = 1;

/// What stands in front of a reply's results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The call that is answered.
    pub xid: u32,
    /// What proves the server; empty if the call was denied.
    pub verifier: OpaqueAuth,
    /// How the call ended.
    pub status: ReplyStatus,
}

/// How a call ended. Results follow only [`Success`](Self::Success).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyStatus {
    /// The procedure ran.
    Success,
    /// The server has no such program.
    ProgUnavail,
    /// The server has other versions of the program.
    ProgMismatch {
        /// Lowest version it has.
        low: u32,
        /// Highest version it has.
        high: u32,
    },
    /// The program has no such procedure.
    ProcUnavail,
    /// The arguments could not be decoded.
    GarbageArgs,
    /// The server failed.
    SystemErr,
    /// The server speaks other versions of RPC.
    RpcMismatch {
        /// Lowest version it speaks.
        low: u32,
        /// Highest version it speaks.
        high: u32,
    },
    /// The caller was not let in.
    AuthError(AuthStat),
}

/// Reads the reply body behind xid and message type.
pub(crate) fn decode(xid: u32, r: &mut Reader) -> Result<ReplyHeader, XdrError> {
    let (verifier, status) = match r.u32()? {
        MSG_ACCEPTED => (OpaqueAuth::decode(r)?, decode_accepted(r)?),
        MSG_DENIED => (OpaqueAuth::default(), decode_denied(r)?),
        value => return Err(XdrError::BadDiscriminant { what: "reply_stat", value }),
    };
    Ok(ReplyHeader { xid, verifier, status })
}

fn decode_accepted(r: &mut Reader) -> Result<ReplyStatus, XdrError> {
    Ok(match r.u32()? {
        SUCCESS => ReplyStatus::Success,
        PROG_UNAVAIL => ReplyStatus::ProgUnavail,
        PROG_MISMATCH => ReplyStatus::ProgMismatch { low: r.u32()?, high: r.u32()? },
        PROC_UNAVAIL => ReplyStatus::ProcUnavail,
        GARBAGE_ARGS => ReplyStatus::GarbageArgs,
        SYSTEM_ERR => ReplyStatus::SystemErr,
        value => return Err(XdrError::BadDiscriminant { what: "accept_stat", value }),
    })
}

fn decode_denied(r: &mut Reader) -> Result<ReplyStatus, XdrError> {
    Ok(match r.u32()? {
        RPC_MISMATCH => ReplyStatus::RpcMismatch { low: r.u32()?, high: r.u32()? },
        AUTH_ERROR => ReplyStatus::AuthError(AuthStat(r.u32()?)),
        value => return Err(XdrError::BadDiscriminant { what: "reject_stat", value }),
    })
}

/// The procedure ran: the caller appends its results.
pub fn accepted_success(xid: u32) -> Writer {
    accepted(xid, SUCCESS)
}

/// There is no such program here.
pub fn prog_unavail(xid: u32) -> Writer {
    accepted(xid, PROG_UNAVAIL)
}

/// The program has other versions here.
pub fn prog_mismatch(xid: u32, low: u32, high: u32) -> Writer {
    let mut w = accepted(xid, PROG_MISMATCH);
    w.u32(low);
    w.u32(high);
    w
}

/// The program has no such procedure.
pub fn proc_unavail(xid: u32) -> Writer {
    accepted(xid, PROC_UNAVAIL)
}

/// The arguments could not be decoded.
pub fn garbage_args(xid: u32) -> Writer {
    accepted(xid, GARBAGE_ARGS)
}

/// The server failed, and the protocol above has no better word for it.
pub fn system_err(xid: u32) -> Writer {
    accepted(xid, SYSTEM_ERR)
}

/// The call was not of RPC version 2.
pub fn rpc_mismatch(xid: u32) -> Writer {
    let mut w = denied(xid, RPC_MISMATCH);
    w.u32(RPC_VERSION);
    w.u32(RPC_VERSION);
    w
}

/// The caller was not let in.
pub fn auth_error(xid: u32, stat: AuthStat) -> Writer {
    let mut w = denied(xid, AUTH_ERROR);
    w.u32(stat.0);
    w
}

fn accepted(xid: u32, accept_stat: u32) -> Writer {
    let mut w = Writer::new();
    for word in [xid, REPLY, MSG_ACCEPTED] {
        w.u32(word);
    }
    OpaqueAuth::default().encode(&mut w);
    w.u32(accept_stat);
    w
}

fn denied(xid: u32, reject_stat: u32) -> Writer {
    let mut w = Writer::new();
    for word in [xid, REPLY, MSG_DENIED, reject_stat] {
        w.u32(word);
    }
    w
}
