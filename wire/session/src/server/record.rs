//! What a session is made of, as the replicated state keeps it: enough for any metadata server to
//! go on with it.
//!
//! Holds nothing of one server: no connection, no slot, no reply. `mds-state` stores it, `sessions`
//! works with it.
//!
//! Spec: RFC 8881 §18.36; docs/protocol/sessions.md §1.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wire_nfs::v4::{
    SessionId,
    callback_sec::{AuthSys, CallbackSec},
    ops::create_session::{self, ChannelAttrs},
};

use super::channel::Negotiated;
use crate::limits::{BACK_SLOTS_MAX, SLOTS_MAX};

/// A session, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its name: client, sequence of the CREATE_SESSION that made it, and four random bytes.
    pub id: [u8; 16],
    /// Whose it is.
    pub client: u64,
    /// `csa_sequence` of the CREATE_SESSION that made it.
    pub sequence: u32,
    /// The minor version of the COMPOUND that made it.
    pub minor_version: u32,
    /// The client's requests.
    pub fore: ChannelBounds,
    /// The server's requests.
    pub back: ChannelBounds,
    /// The connection of CREATE_SESSION was to carry callbacks.
    pub back_wanted: bool,
    /// RPC program of callbacks.
    pub program: u32,
    /// The credential of callbacks; `None` if the client takes none that we can make.
    pub credential: Option<CallbackCredential>,
}

/// What was negotiated of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelBounds {
    /// Bytes of the largest request.
    pub request_bytes_max: u32,
    /// Bytes of the largest reply.
    pub response_bytes_max: u32,
    /// Bytes of the largest reply that is kept for a retry.
    pub response_cached_bytes_max: u32,
    /// Operations of a compound.
    pub operations_max: u32,
    /// Slots.
    pub requests_max: u32,
}

/// With which credential the client wants to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallbackCredential {
    /// AUTH_NONE.
    None,
    /// AUTH_SYS.
    Sys {
        /// Arbitrary.
        stamp: u32,
        /// The caller's name.
        #[serde(with = "serde_bytes")]
        machine_name: Vec<u8>,
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Supplementary groups.
        gids: Vec<u32>,
    },
}

/// Names a session: no other of any client ever has this name, in this file system or, but for
/// chance, in another.
#[must_use]
pub fn session_id(client: u64, sequence: u32, random: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&client.to_be_bytes());
    id[8..12].copy_from_slice(&sequence.to_be_bytes());
    id[12..].copy_from_slice(&random.to_be_bytes());
    id
}

impl SessionRecord {
    /// The record of a session that is made from negotiated arguments.
    #[must_use]
    pub fn new(
        args: &create_session::Args,
        negotiated: &Negotiated,
        minor_version: u32,
        random: u32,
    ) -> Self {
        let record = Self {
            id: session_id(args.clientid, args.sequence, random),
            client: args.clientid,
            sequence: args.sequence,
            minor_version,
            fore: ChannelBounds::of(&negotiated.fore),
            back: ChannelBounds::of(&negotiated.back),
            back_wanted: negotiated.back_wanted,
            program: args.cb_program,
            credential: negotiated.credential.as_ref().and_then(CallbackCredential::of),
        };
        assert!(record.is_sound(), "negotiated bounds are sound, and the name tells the client");
        record
    }

    /// Its name on the wire.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.id)
    }

    /// The answer to the CREATE_SESSION that made it, now and at each retry. Neither PERSIST nor
    /// RDMA is given.
    #[must_use]
    pub fn created(&self) -> create_session::ResOk {
        create_session::ResOk {
            session: self.session(),
            sequence: self.sequence,
            flags: if self.back_wanted { create_session::flags::CONN_BACK_CHAN } else { 0 },
            fore: self.fore.attrs(),
            back: self.back.attrs(),
        }
    }

    /// Whether its bounds are such as are negotiated. A record comes from the log: what it says is
    /// checked before it is used.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let of_client = self.id[..8] == self.client.to_be_bytes();
        of_client
            && (1..=SLOTS_MAX).contains(&self.fore.requests_max)
            && self.back.requests_max <= BACK_SLOTS_MAX
    }
}

impl ChannelBounds {
    /// The bounds among a channel's attributes.
    #[must_use]
    pub fn of(attrs: &ChannelAttrs) -> Self {
        Self {
            request_bytes_max: attrs.request_bytes_max,
            response_bytes_max: attrs.response_bytes_max,
            response_cached_bytes_max: attrs.response_cached_bytes_max,
            operations_max: attrs.operations_max,
            requests_max: attrs.requests_max,
        }
    }

    /// The attributes on the wire.
    #[must_use]
    pub fn attrs(&self) -> ChannelAttrs {
        ChannelAttrs {
            header_pad_bytes: 0,
            request_bytes_max: self.request_bytes_max,
            response_bytes_max: self.response_bytes_max,
            response_cached_bytes_max: self.response_cached_bytes_max,
            operations_max: self.operations_max,
            requests_max: self.requests_max,
            rdma_ird: Vec::new(),
        }
    }
}

impl CallbackCredential {
    /// The credential that the client offered; `None` for one that we cannot make.
    #[must_use]
    pub fn of(offered: &CallbackSec) -> Option<Self> {
        match offered {
            CallbackSec::None => Some(Self::None),
            CallbackSec::Sys(sys) => Some(Self::Sys {
                stamp: sys.stamp,
                machine_name: sys.machine_name.to_vec(),
                uid: sys.uid,
                gid: sys.gid,
                gids: sys.gids.clone(),
            }),
            CallbackSec::Gss(_) => None,
        }
    }

    /// The credential to call with.
    #[must_use]
    pub fn sec(&self) -> CallbackSec {
        match self {
            Self::None => CallbackSec::None,
            Self::Sys { stamp, machine_name, uid, gid, gids } => CallbackSec::Sys(AuthSys {
                stamp: *stamp,
                machine_name: Bytes::copy_from_slice(machine_name),
                uid: *uid,
                gid: *gid,
                gids: gids.clone(),
            }),
        }
    }
}
