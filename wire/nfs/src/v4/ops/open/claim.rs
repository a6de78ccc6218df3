//! `open_claim4`: which file an OPEN is for, and by what right.
//!
//! Spec: RFC 8881 §18.16.3.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{enumeration::xdr_enum, limits::COMPONENT_BYTES_MAX, v4::Stateid};

xdr_enum! {
    /// Kinds of delegations.
    pub enum DelegationType, "open_delegation_type4" {
        /// None.
        None = 0,
        /// Others read at most.
        Read = 1,
        /// No other client has the file open.
        Write = 2,
        /// None, with a reason.
        NoneExt = 3,
    }
}

/// Which file, and by what right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The file of this name in the current directory.
    Null(Bytes),
    /// The current file, which was open, with this delegation, before the server restarted.
    Previous(DelegationType),
    /// The file of this name, under a delegation.
    DelegateCur(Stateid, Bytes),
    /// The file of this name, under a delegation from before the client restarted.
    DelegatePrev(Bytes),
    /// The current file.
    Filehandle,
    /// The current file, under a delegation.
    DelegCurFilehandle(Stateid),
    /// The current file, under a delegation from before the client restarted.
    DelegPrevFilehandle,
}

impl Claim {
    fn number(&self) -> u32 {
        match self {
            Self::Null(_) => 0,
            Self::Previous(_) => 1,
            Self::DelegateCur(..) => 2,
            Self::DelegatePrev(_) => 3,
            Self::Filehandle => 4,
            Self::DelegCurFilehandle(_) => 5,
            Self::DelegPrevFilehandle => 6,
        }
    }

    /// Whether the client reclaims what it had before a restart of the server. Only such opens are
    /// for the grace period.
    #[must_use]
    pub fn is_reclaim(&self) -> bool {
        matches!(self, Self::Previous(_))
    }

    /// The name in the current directory; `None` if the current filehandle is the file itself.
    #[must_use]
    pub fn name(&self) -> Option<&Bytes> {
        match self {
            Self::Null(name) | Self::DelegateCur(_, name) | Self::DelegatePrev(name) => Some(name),
            Self::Previous(_)
            | Self::Filehandle
            | Self::DelegCurFilehandle(_)
            | Self::DelegPrevFilehandle => None,
        }
    }
}

impl Decode for Claim {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            0 => r.opaque(COMPONENT_BYTES_MAX).map(Self::Null),
            1 => DelegationType::decode(r).map(Self::Previous),
            2 => Ok(Self::DelegateCur(Stateid::decode(r)?, r.opaque(COMPONENT_BYTES_MAX)?)),
            3 => r.opaque(COMPONENT_BYTES_MAX).map(Self::DelegatePrev),
            4 => Ok(Self::Filehandle),
            5 => Stateid::decode(r).map(Self::DelegCurFilehandle),
            6 => Ok(Self::DelegPrevFilehandle),
            value => Err(XdrError::BadDiscriminant { what: "open_claim_type4", value }),
        }
    }
}

impl Encode for Claim {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.number());
        match self {
            Self::Null(name) | Self::DelegatePrev(name) => w.opaque(name),
            Self::Previous(delegation) => delegation.encode(w),
            Self::DelegateCur(stateid, name) => {
                stateid.encode(w);
                w.opaque(name);
            }
            Self::DelegCurFilehandle(stateid) => stateid.encode(w),
            Self::Filehandle | Self::DelegPrevFilehandle => {}
        }
    }
}
