//! Messages between members: procedures of the Raft program and their bodies
//! (docs/protocol/raft.md).
//!
//! Arguments are a shard's number, the receiver's name, and one opaque which holds postcard of the
//! engine's own message; results are one such opaque. Lengths are bounded before anything is
//! allocated.
//!
//! Spec: docs/protocol/control.md §1 for the handshake that precedes them on a connection.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire_nfs::control::{Refusal, decode_reply, put_reply};
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::type_config::{NodeId, SnapshotMeta, Vote};
use crate::limits::MESSAGE_BYTES_MAX;

/// The version of the Raft program.
pub(crate) const RAFT_VERSION: u32 = 5;

/// A procedure of the Raft program. 0 to 2 belong to the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum RaftProcedure {
    AppendEntries = 3,
    Vote = 4,
    PreVote = 5,
    SnapshotChunk = 6,
    SnapshotInstall = 7,
    TransferLeader = 8,
    NodeHeartbeat = 9,
    Callers = 10,
    Propose = 11,
    ReadIndex = 12,
    Identify = 13,
    Join = 14,
    Clock = 15,
}

impl RaftProcedure {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        let procedure = match number {
            3 => Self::AppendEntries,
            4 => Self::Vote,
            5 => Self::PreVote,
            6 => Self::SnapshotChunk,
            7 => Self::SnapshotInstall,
            8 => Self::TransferLeader,
            9 => Self::NodeHeartbeat,
            10 => Self::Callers,
            11 => Self::Propose,
            12 => Self::ReadIndex,
            13 => Self::Identify,
            14 => Self::Join,
            15 => Self::Clock,
            _ => return None,
        };
        assert!(procedure as u32 == number, "a number names the procedure that has it");
        Some(procedure)
    }
}

/// A message's receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct To {
    pub(crate) shard: u32,
    /// The receiving node; 0: whichever node is at the address.
    pub(crate) node: NodeId,
}

impl To {
    /// The node at the address, about no single shard.
    pub(crate) const NODE: Self = Self::shard(0);

    /// A shard's replica at the address.
    pub(crate) const fn shard(shard: u32) -> Self {
        Self { shard, node: 0 }
    }
}

/// Queries a node's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueryIdentity;

/// The answer to [`QueryIdentity`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: NodeId,
    /// Shards of the cluster.
    pub(crate) shards: u32,
    /// Shards that have begun, as far as this node knows.
    pub(crate) begun: Vec<u32>,
}

/// Queries a node's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueryClock;

/// The answer to [`QueryClock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockShows {
    pub(crate) wall_unix_ns: u64,
}

/// Requests admission of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) id: NodeId,
    /// The node's address, `ip:port`.
    pub(crate) address: String,
}

/// The answer to [`Join`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Joined {
    Done,
    /// The leader's address, to which the node must send its request; empty if no leader is known.
    Leader(String),
    /// The reason, in words.
    Refused(String),
}

/// A part of a snapshot. Parts come in order; the first has offset zero and restarts the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotChunk {
    /// Identifies a transfer.
    pub(crate) transfer: u64,
    pub(crate) offset_bytes: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// All parts are sent: installs the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotInstall {
    pub(crate) transfer: u64,
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
}

/// One opaque on the wire.
struct Body(Bytes);

impl Encode for Body {
    fn encode(&self, w: &mut Writer) {
        w.opaque_bytes(self.0.clone());
    }
}

impl Decode for Body {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self(r.opaque(MESSAGE_BYTES_MAX)?))
    }
}

/// Why a body is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Xdr(#[from] XdrError),
    #[error("body does not decode")]
    Garbled,
    #[error("refused: {0}")]
    Refused(Refusal),
}

fn encode_body<T: Serialize>(message: &T) -> Body {
    Body(postcard::to_stdvec(message).expect("the engine's messages have no unsized parts").into())
}

fn decode_body<T: DeserializeOwned>(body: &Body) -> Result<T, BodyError> {
    match postcard::take_from_bytes(&body.0) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(BodyError::Garbled),
    }
}

pub(crate) fn encode_args<T: Serialize>(to: To, message: &T) -> Writer {
    let mut w = Writer::new();
    w.u32(to.shard);
    w.u64(to.node);
    encode_body(message).encode(&mut w);
    w
}

/// Decodes the receiver of arguments; returns the rest of them too.
pub(crate) fn decode_to(bytes: Bytes) -> Result<(To, Bytes), BodyError> {
    let mut r = Reader::new(bytes);
    Ok((To { shard: r.u32()?, node: r.u64()? }, r.rest()))
}

/// Decodes the message in the rest that [`decode_to`] returned.
pub(crate) fn decode_args<T: DeserializeOwned>(bytes: Bytes) -> Result<T, BodyError> {
    let mut r = Reader::new(bytes);
    let body = Body::decode(&mut r)?;
    r.finish()?;
    decode_body(&body)
}

/// Appends a reply: a status, and the result behind OK.
pub(crate) fn encode_result<T: Serialize>(w: &mut Writer, result: Result<&T, Refusal>) {
    put_reply(w, &result.map(encode_body));
}

pub(crate) fn decode_result<T: DeserializeOwned>(bytes: Bytes) -> Result<T, BodyError> {
    decode_body(&decode_reply::<Body>(bytes)?.map_err(BodyError::Refused)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::{Beat, BeatReply, Led};

    #[test]
    fn bodies_come_back_and_garbage_does_not() {
        let chunk = SnapshotChunk { transfer: 7, offset_bytes: 1 << 40, bytes: vec![1, 2, 3] };
        let to = To { shard: 300, node: 1 << 60 };
        let args = encode_args(to, &chunk).into_bytes();
        let decoded = |args: Bytes| {
            let (to, rest) = decode_to(args)?;
            Ok::<_, BodyError>((to, decode_args::<SnapshotChunk>(rest)?))
        };
        assert_eq!(decoded(args.clone()), Ok((to, chunk.clone())));
        for end in 0..args.len() {
            assert!(decoded(args.slice(..end)).is_err(), "cut at {end}");
        }
        let huge = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert!(matches!(decode_args::<SnapshotChunk>(huge), Err(BodyError::Xdr(_))));
        let mut w = Writer::new();
        encode_result(&mut w, Ok(&chunk));
        assert_eq!(decode_result::<SnapshotChunk>(w.into_bytes()), Ok(chunk));
        let mut w = Writer::new();
        encode_result::<SnapshotChunk>(&mut w, Err(Refusal::NotAuthenticated));
        let refused = decode_result::<SnapshotChunk>(w.into_bytes());
        assert_eq!(refused, Err(BodyError::Refused(Refusal::NotAuthenticated)));
    }

    #[test]
    fn heartbeat_bytes() {
        let leads = vec![
            Led { shard: 3, term: 200, hibernates: true },
            Led { shard: 255, term: 1, hibernates: false },
        ];
        let beat = Beat { from: 2, start: 0x1_0000, version: 7, leads: Some(leads) };
        let hex = |writer: Writer| -> String {
            writer.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let expected = "0000000000000000000000000000000f0280800407010203c80101ff01010000";
        assert_eq!(hex(encode_args(To::NODE, &beat)), expected);
        let beat = Beat { leads: None, ..beat };
        assert_eq!(hex(encode_args(To::NODE, &beat)), "000000000000000000000000000000060280800407000000");
        let reply = BeatReply { start: 9, version: 7, refused: vec![3, 300] };
        let mut w = Writer::new();
        encode_result(&mut w, Ok(&reply));
        assert_eq!(hex(w), "000000000000000609070203ac020000");
    }

    #[test]
    fn identity_bytes() {
        let hex = |writer: Writer| -> String {
            writer.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(hex(encode_args(To::NODE, &QueryIdentity)), "00000000000000000000000000000000");
        let identity = Identity { id: 0x1_0003, shards: 512, begun: vec![0, 300] };
        let mut w = Writer::new();
        encode_result(&mut w, Ok(&identity));
        assert_eq!(hex(w), "000000000000000983800480040200ac02000000");
    }

    #[test]
    fn clock_bytes() {
        let hex = |writer: Writer| -> String {
            writer.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(hex(encode_args(To::NODE, &QueryClock)), "00000000000000000000000000000000");
        let mut w = Writer::new();
        encode_result(&mut w, Ok(&ClockShows { wall_unix_ns: 300 }));
        assert_eq!(hex(w), "0000000000000002ac020000");
    }

    #[test]
    fn join_bytes() {
        let hex = |writer: Writer| -> String {
            writer.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let join = Join { id: 0x1_0004, address: "a:1".to_owned() };
        assert_eq!(hex(encode_args(To::NODE, &join)), "0000000000000000000000000000000784800403613a3100");
        for (joined, expected) in [
            (Joined::Done, "000000000000000100000000"),
            (Joined::Leader("a:1".to_owned()), "00000000000000050103613a31000000"),
            (Joined::Refused("no".to_owned()), "000000000000000402026e6f"),
        ] {
            let mut w = Writer::new();
            encode_result(&mut w, Ok(&joined));
            assert_eq!(hex(w), expected);
        }
    }

    #[test]
    fn forwarded_bytes() {
        use mds_state::Outcome;

        use crate::engine::forward::{Proposal, Proposed, QueryIndex, ReadIndex};
        let hex = |writer: Writer| -> String {
            writer.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let to = To { shard: 5, node: 0x0102_0304_0506_0003 };
        assert_eq!(hex(encode_args(to, &QueryIndex)), "00000005010203040506000300000000");
        let proposal = Proposal { entry: vec![3, 1, 2] };
        assert_eq!(hex(encode_args(To::shard(5), &proposal)), "0000000500000000000000000000000403030102");
        for (proposed, expected) in [
            (Proposed::Done { index: 300, outcome: Box::new(Outcome::Done) }, "000000000000000400ac0201"),
            (Proposed::NotLeading, "000000000000000101000000"),
            (Proposed::Refused, "000000000000000102000000"),
            (Proposed::Unknown, "000000000000000103000000"),
        ] {
            let mut w = Writer::new();
            encode_result(&mut w, Ok(&proposed));
            assert_eq!(hex(w), expected);
        }
        let mut w = Writer::new();
        encode_result(&mut w, Ok(&ReadIndex { index: Some(7) }));
        assert_eq!(hex(w), "000000000000000201070000");
    }
}
