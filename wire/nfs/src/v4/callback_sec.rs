//! `callback_sec_parms4`: with which credential the server may call the client back.
//!
//! Spec: RFC 8881 §18.33; RFC 5531 appendix A.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::xdr_body,
    limits::{AUTH_SYS_GIDS_MAX, AUTH_SYS_MACHINE_BYTES_MAX, GSS_HANDLE_BYTES_MAX},
};

const AUTH_NONE: u32 = 0;
const AUTH_SYS: u32 = 1;
const RPCSEC_GSS: u32 = 6;

/// One way to call back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackSec {
    /// Without a credential.
    None,
    /// With this AUTH_SYS credential.
    Sys(AuthSys),
    /// With these RPCSEC_GSS contexts.
    Gss(GssHandles),
}

/// The AUTH_SYS credential to call back with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthSys {
    /// Arbitrary.
    pub stamp: u32,
    /// The caller's name.
    pub machine_name: Bytes,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub gids: Vec<u32>,
}

xdr_body! {
    AuthSys {
        stamp,
        machine_name: opaque(AUTH_SYS_MACHINE_BYTES_MAX),
        uid,
        gid,
        gids: list(AUTH_SYS_GIDS_MAX),
    }
}

/// The RPCSEC_GSS contexts to call back with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GssHandles {
    /// 1 none, 2 integrity, 3 privacy.
    pub service: u32,
    /// The context that the server names.
    pub from_server: Bytes,
    /// The context that the client names.
    pub from_client: Bytes,
}

xdr_body! {
    GssHandles {
        service,
        from_server: opaque(GSS_HANDLE_BYTES_MAX),
        from_client: opaque(GSS_HANDLE_BYTES_MAX),
    }
}

impl Decode for CallbackSec {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            AUTH_NONE => Ok(Self::None),
            AUTH_SYS => AuthSys::decode(r).map(Self::Sys),
            RPCSEC_GSS => GssHandles::decode(r).map(Self::Gss),
            value => Err(XdrError::BadDiscriminant { what: "callback_sec_parms4", value }),
        }
    }
}

impl Encode for CallbackSec {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::None => w.u32(AUTH_NONE),
            Self::Sys(cred) => {
                w.u32(AUTH_SYS);
                cred.encode(w);
            }
            Self::Gss(handles) => {
                w.u32(RPCSEC_GSS);
                handles.encode(w);
            }
        }
    }
}
