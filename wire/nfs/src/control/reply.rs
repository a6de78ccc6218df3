//! The status that begins each reply: success, or a refusal.
//!
//! Spec: docs/protocol/control.md §0.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::body::text;

/// Why the callee did not do it (docs/protocol/control.md §0).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No AUTH has succeeded on this connection.
    #[error("the connection is not authenticated")]
    NotAuthenticated,
    /// The MAC is wrong: another cluster key, or one of another role.
    #[error("the MAC does not match: another cluster key, or a key of another role")]
    BadMac,
    /// The version in HELLO is not spoken.
    #[error("the version is not spoken")]
    BadVersion,
    /// This kind of node may not call this procedure, or this data server not for another one.
    #[error("this node may not call this procedure, or not for another one")]
    WrongPeer,
    /// This metadata server does not lead.
    #[error("not the leader; it is {leader:?}")]
    NotLeader {
        /// Control address of the leader, or empty.
        leader: String,
    },
    /// The data server must register again.
    #[error("not registered")]
    RegisterAgain,
    /// The callee's disk failed.
    #[error("the other side's disk failed")]
    Io,
    /// Not now.
    #[error("busy")]
    Busy,
    /// An argument makes no sense.
    #[error("an argument makes no sense")]
    Invalid,
    /// The caller is not the extent's primary.
    #[error("not the extent's home")]
    NotHome,
    /// The extent is at a higher epoch.
    #[error("the extent is at a higher epoch")]
    Stale,
    /// The callee was started again since ATTACH.
    #[error("not attached")]
    AttachAgain,
    /// The callee is full.
    #[error("no room")]
    NoSpace,
    /// The callee has no such image, or not whole.
    #[error("no such image")]
    NoImage,
}

impl Refusal {
    fn number(&self) -> u32 {
        match self {
            Self::NotAuthenticated => 1,
            Self::BadMac => 2,
            Self::BadVersion => 3,
            Self::WrongPeer => 4,
            Self::NotLeader { .. } => 5,
            Self::RegisterAgain => 6,
            Self::Io => 7,
            Self::Busy => 8,
            Self::Invalid => 9,
            Self::NotHome => 10,
            Self::Stale => 11,
            Self::AttachAgain => 12,
            Self::NoSpace => 13,
            Self::NoImage => 14,
        }
    }
}

/// Writes a reply: its status, then its body if there is one.
pub fn put_reply<T: Encode>(w: &mut Writer, reply: &Result<T, Refusal>) {
    match reply {
        Ok(body) => {
            w.u32(0);
            body.encode(w);
        }
        Err(refusal) => {
            w.u32(refusal.number());
            if let Refusal::NotLeader { leader } = refusal {
                w.string(leader);
            }
        }
    }
}

/// Reads a whole reply.
///
/// # Errors
/// Any [`XdrError`], bytes left over included. The inner error is the callee's refusal.
pub fn decode_reply<T: Decode>(bytes: Bytes) -> Result<Result<T, Refusal>, XdrError> {
    let mut r = Reader::new(bytes);
    let refusal = match r.u32()? {
        0 => {
            let body = T::decode(&mut r)?;
            r.finish()?;
            return Ok(Ok(body));
        }
        1 => Refusal::NotAuthenticated,
        2 => Refusal::BadMac,
        3 => Refusal::BadVersion,
        4 => Refusal::WrongPeer,
        5 => Refusal::NotLeader { leader: text(&mut r, "leader")? },
        6 => Refusal::RegisterAgain,
        7 => Refusal::Io,
        8 => Refusal::Busy,
        9 => Refusal::Invalid,
        10 => Refusal::NotHome,
        11 => Refusal::Stale,
        12 => Refusal::AttachAgain,
        13 => Refusal::NoSpace,
        14 => Refusal::NoImage,
        value => return Err(XdrError::BadDiscriminant { what: "control status", value }),
    };
    r.finish()?;
    Ok(Err(refusal))
}
