//! From a record to a call or a reply.
//!
//! Three ways to be wrong, because each wants another answer: bytes in which not even the frame of
//! a message can be found (close the connection), another RPC version, and a malformed credential
//! (both answered with the call's xid).
//!
//! Spec: RFC 5531 §9.

use bytes::Bytes;
use wire_xdr::{Reader, Writer, XdrError};

use crate::call::{CALL, CallHeader};
use crate::reply::{self, REPLY};
use crate::{AuthStat, Credential, OpaqueAuth, RPC_VERSION, ReplyHeader};

/// One message; the reader stands at the arguments or results.
#[derive(Debug, Clone)]
pub enum Message {
    /// The caller wants a procedure carried out.
    Call(CallHeader, Reader),
    /// The callee has carried it out, or refused it.
    Reply(ReplyHeader, Reader),
}

/// Why a record is not a message. Always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not an RPC message at all: there is nothing to answer to.
    #[error("not an RPC message: {0}")]
    Garbage(#[from] XdrError),
    /// A call of another RPC version.
    #[error("call {xid:#010x} of RPC version {version}")]
    RpcMismatch {
        /// The call.
        xid: u32,
        /// Its version.
        version: u32,
    },
    /// A call whose credential or verifier is not what its flavor demands.
    #[error("call {xid:#010x} with a bad credential: {stat:?}")]
    BadCredential {
        /// The call.
        xid: u32,
        /// Which of the two was bad.
        stat: AuthStat,
    },
}

impl ParseError {
    /// The reply that tells the sender so; none if the connection should be closed.
    pub fn answer(&self) -> Option<Writer> {
        match *self {
            Self::Garbage(_) => None,
            Self::RpcMismatch { xid, .. } => Some(reply::rpc_mismatch(xid)),
            Self::BadCredential { xid, stat } => Some(reply::auth_error(xid, stat)),
        }
    }
}

/// Reads the header of one record.
///
/// # Errors
/// [`ParseError`].
pub fn parse(record: Bytes) -> Result<Message, ParseError> {
    let mut r = Reader::new(record);
    let xid = r.u32()?;
    match r.u32()? {
        CALL => {
            let header = decode_call(xid, &mut r)?;
            Ok(Message::Call(header, r))
        }
        REPLY => {
            let header = reply::decode(xid, &mut r)?;
            Ok(Message::Reply(header, r))
        }
        value => Err(XdrError::BadDiscriminant { what: "msg_type", value }.into()),
    }
}

fn decode_call(xid: u32, r: &mut Reader) -> Result<CallHeader, ParseError> {
    let version = r.u32()?;
    if version != RPC_VERSION {
        return Err(ParseError::RpcMismatch { xid, version });
    }
    let (program, version, procedure) = (r.u32()?, r.u32()?, r.u32()?);
    let auth = decode_auth(xid, r, AuthStat::BADCRED)?;
    let verifier = decode_auth(xid, r, AuthStat::BADVERF)?;
    let bad = |_| ParseError::BadCredential { xid, stat: AuthStat::BADCRED };
    let credential = Credential::from_opaque(auth).map_err(bad)?;
    Ok(CallHeader { xid, program, version, procedure, credential, verifier })
}

/// A message that ends inside the header is garbage; one whose body breaks a rule is a bad
/// credential.
fn decode_auth(xid: u32, r: &mut Reader, stat: AuthStat) -> Result<OpaqueAuth, ParseError> {
    OpaqueAuth::decode(r).map_err(|error| match error {
        XdrError::Short { .. } => ParseError::Garbage(error),
        _ => ParseError::BadCredential { xid, stat },
    })
}

#[cfg(test)]
mod tests;
