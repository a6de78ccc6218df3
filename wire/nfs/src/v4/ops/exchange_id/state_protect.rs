//! How a client's state is protected from others: asked for, and granted.
//!
//! Spec: RFC 8881 §18.35.3.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::xdr_body,
    limits::{GSS_HANDLE_BYTES_MAX, OID_BYTES_MAX, SSV_ALGORITHMS_MAX, SSV_HANDLES_MAX},
    v4::Bitmap,
};

const SP4_NONE: u32 = 0;
const SP4_MACH_CRED: u32 = 1;
const SP4_SSV: u32 = 2;

/// The operations that the protection is for, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProtectOps {
    /// Refused without the machine's credential.
    pub must_enforce: Bitmap,
    /// Allowed with it, whichever principal made the state.
    pub must_allow: Bitmap,
}

xdr_body! { ProtectOps { must_enforce, must_allow } }

/// An object identifier of an algorithm, in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecOid {
    /// The bytes.
    pub oid: Bytes,
}

xdr_body! { SecOid { oid: opaque(OID_BYTES_MAX) } }

/// What a client wants of a shared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsvParms {
    /// For which operations.
    pub ops: ProtectOps,
    /// Hashes that the client knows.
    pub hash_algorithms: Vec<SecOid>,
    /// Ciphers that the client knows.
    pub encryption_algorithms: Vec<SecOid>,
    /// How many secrets back a request may use.
    pub window: u32,
    /// How many contexts the client wants.
    pub gss_handles: u32,
}

xdr_body! {
    SsvParms {
        ops,
        hash_algorithms: list(SSV_ALGORITHMS_MAX),
        encryption_algorithms: list(SSV_ALGORITHMS_MAX),
        window,
        gss_handles,
    }
}

/// What a client gets of a shared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsvInfo {
    /// For which operations.
    pub ops: ProtectOps,
    /// Index of the hash in the client's list.
    pub hash_algorithm: u32,
    /// Index of the cipher in the client's list.
    pub encryption_algorithm: u32,
    /// Bytes of the secret.
    pub ssv_bytes: u32,
    /// How many secrets back a request may use.
    pub window: u32,
    /// The contexts.
    pub handles: Vec<GssHandle>,
}

/// The handle of an RPCSEC_GSS context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GssHandle {
    /// The bytes.
    pub handle: Bytes,
}

xdr_body! { GssHandle { handle: opaque(GSS_HANDLE_BYTES_MAX) } }

xdr_body! {
    SsvInfo { ops, hash_algorithm, encryption_algorithm, ssv_bytes, window, handles: list(SSV_HANDLES_MAX) }
}

/// The protection that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateProtectAsked {
    /// None: any caller with the client id.
    None,
    /// The machine's credential.
    MachineCred(ProtectOps),
    /// A shared secret.
    Ssv(SsvParms),
}

/// The protection that a server grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateProtectGranted {
    /// None. A client that asked for the machine's credential goes on without.
    None,
    /// The machine's credential.
    MachineCred(ProtectOps),
    /// A shared secret.
    Ssv(SsvInfo),
}

macro_rules! protect_codec {
    ($name:ident, $ssv:ident, $what:literal) => {
        impl Decode for $name {
            fn decode(r: &mut Reader) -> Result<Self, XdrError> {
                match r.u32()? {
                    SP4_NONE => Ok(Self::None),
                    SP4_MACH_CRED => ProtectOps::decode(r).map(Self::MachineCred),
                    SP4_SSV => $ssv::decode(r).map(Self::Ssv),
                    value => Err(XdrError::BadDiscriminant { what: $what, value }),
                }
            }
        }

        impl Encode for $name {
            fn encode(&self, w: &mut Writer) {
                match self {
                    Self::None => w.u32(SP4_NONE),
                    Self::MachineCred(ops) => {
                        w.u32(SP4_MACH_CRED);
                        ops.encode(w);
                    }
                    Self::Ssv(ssv) => {
                        w.u32(SP4_SSV);
                        ssv.encode(w);
                    }
                }
            }
        }
    };
}

protect_codec!(StateProtectAsked, SsvParms, "state_protect4_a");
protect_codec!(StateProtectGranted, SsvInfo, "state_protect4_r");
