//! SECINFO: which security flavours a name can be reached with. Consumes the current filehandle.
//!
//! Spec: RFC 8881 §18.29; RFC 2203 §5.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::xdr_body,
    enumeration::xdr_enum,
    limits::{COMPONENT_BYTES_MAX, OID_BYTES_MAX, SECINFO_FLAVORS_MAX},
};

const RPCSEC_GSS: u32 = 6;

/// Which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// A name in the current directory.
    pub name: Bytes,
}

xdr_body! { Args { name: opaque(COMPONENT_BYTES_MAX) } }

/// The flavours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// Best first.
    pub flavors: Vec<Secinfo>,
}

xdr_body! { ResOk { flavors: list(SECINFO_FLAVORS_MAX) } }

/// One flavour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secinfo {
    /// A flavour that needs no more words: 0 for AUTH_NONE, 1 for AUTH_SYS.
    Flavor(u32),
    /// RPCSEC_GSS with one mechanism and service.
    Gss(GssInfo),
}

/// A mechanism and a service of RPCSEC_GSS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GssInfo {
    /// The mechanism's object identifier, in DER.
    pub oid: Bytes,
    /// Quality of protection; 0 is the mechanism's default.
    pub qop: u32,
    /// The service.
    pub service: GssService,
}

xdr_body! { GssInfo { oid: opaque(OID_BYTES_MAX), qop, service } }

xdr_enum! {
    /// What RPCSEC_GSS protects.
    pub enum GssService, "rpc_gss_svc_t" {
        /// Who is speaking.
        None = 1,
        /// And that it was not changed.
        Integrity = 2,
        /// And that it was not read.
        Privacy = 3,
    }
}

impl Decode for Secinfo {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            RPCSEC_GSS => GssInfo::decode(r).map(Self::Gss),
            flavor => Ok(Self::Flavor(flavor)),
        }
    }
}

impl Encode for Secinfo {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Flavor(flavor) => {
                assert!(*flavor != RPCSEC_GSS, "RPCSEC_GSS has an arm of its own");
                w.u32(*flavor);
            }
            Self::Gss(info) => {
                w.u32(RPCSEC_GSS);
                info.encode(w);
            }
        }
    }
}
