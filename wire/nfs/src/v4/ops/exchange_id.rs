//! EXCHANGE_ID: client and server tell each other who they are.
//!
//! All arms of the state protection are read; what of it is granted is the server's choice.
//!
//! Spec: RFC 8881 §18.35.

use bytes::Bytes;

use crate::{
    body::xdr_body,
    limits::{COMPONENT_BYTES_MAX, IMPL_IDS_MAX, OPAQUE_BYTES_MAX},
    v4::{Nfstime4, Verifier},
};

mod state_protect;

pub use state_protect::{
    GssHandle, ProtectOps, SecOid, SsvInfo, SsvParms, StateProtectAsked, StateProtectGranted,
};

/// Flags of request and reply.
pub mod flags {
    /// Referrals are understood.
    pub const SUPP_MOVED_REFER: u32 = 0x0000_0001;
    /// Migration is understood.
    pub const SUPP_MOVED_MIGR: u32 = 0x0000_0002;
    /// Fencing operations are understood. Tolerated by clients of NFSv4.2 only.
    pub const SUPP_FENCE_OPS: u32 = 0x0000_0004;
    /// State is bound to the principal that made it.
    pub const BIND_PRINC_STATEID: u32 = 0x0000_0100;
    /// A server without pNFS.
    pub const USE_NON_PNFS: u32 = 0x0001_0000;
    /// A metadata server.
    pub const USE_PNFS_MDS: u32 = 0x0002_0000;
    /// A data server.
    pub const USE_PNFS_DS: u32 = 0x0004_0000;
    /// The three pNFS roles.
    pub const MASK_PNFS: u32 = 0x0007_0000;
    /// The client updates a record that is confirmed.
    pub const UPD_CONFIRMED_REC_A: u32 = 0x4000_0000;
    /// The record is confirmed.
    pub const CONFIRMED_R: u32 = 0x8000_0000;
    /// Every flag that a request may have; another is INVAL.
    pub const ARGS_ALL: u32 = SUPP_MOVED_REFER
        | SUPP_MOVED_MIGR
        | SUPP_FENCE_OPS
        | BIND_PRINC_STATEID
        | MASK_PNFS
        | UPD_CONFIRMED_REC_A;
}

/// Which software runs on a side; only for people, and for QUIRKs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImplId {
    /// A DNS name of who made it.
    pub domain: Bytes,
    /// Name and version.
    pub name: Bytes,
    /// When it was built.
    pub date: Nfstime4,
}

xdr_body! { ImplId { domain: opaque(COMPONENT_BYTES_MAX), name: opaque(COMPONENT_BYTES_MAX), date } }

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// Changes when the client restarts.
    pub verifier: Verifier,
    /// Stays when the client restarts.
    pub owner_id: Bytes,
    /// Bits of [`flags`].
    pub flags: u32,
    /// How the client's state is to be protected.
    pub state_protect: StateProtectAsked,
    /// The client's software; at most one value.
    pub impl_id: Vec<ImplId>,
}

xdr_body! {
    Args { verifier, owner_id: opaque(OPAQUE_BYTES_MAX), flags, state_protect, impl_id: list(IMPL_IDS_MAX) }
}

/// Who the server is, and what it calls the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// The client id.
    pub clientid: u64,
    /// The sequence of the first CREATE_SESSION.
    pub sequenceid: u32,
    /// Bits of [`flags`]. QUIRK(linux): a bit it does not know fails the mount.
    pub flags: u32,
    /// How the client's state is protected.
    pub state_protect: StateProtectGranted,
    /// With the rest of the owner equal, tells servers apart that share client ids and not
    /// sessions.
    pub server_minor_id: u64,
    /// Equal on addresses of one server.
    pub server_major_id: Bytes,
    /// Within which the server's names have a meaning.
    pub server_scope: Bytes,
    /// The server's software; at most one value.
    pub impl_id: Vec<ImplId>,
}

xdr_body! {
    ResOk {
        clientid,
        sequenceid,
        flags,
        state_protect,
        server_minor_id,
        server_major_id: opaque(OPAQUE_BYTES_MAX),
        server_scope: opaque(OPAQUE_BYTES_MAX),
        impl_id: list(IMPL_IDS_MAX),
    }
}
