//! `open_delegation4`: what an OPEN grants beyond the open, or why it does not.
//!
//! Spec: RFC 8881 §10.4, §18.16.3.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::DelegationType;
use crate::{body::xdr_body, limits::PRINCIPAL_BYTES_MAX, v4::Stateid};

const LIMIT_SIZE: u32 = 1;
const LIMIT_BLOCKS: u32 = 2;
const WHY_CONTENTION: u32 = 1;
const WHY_RESOURCE: u32 = 2;

/// A delegation, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    /// None.
    None,
    /// A read delegation.
    Read(ReadDelegation),
    /// A write delegation.
    Write(WriteDelegation),
    /// None, with a reason: only for a client that said what it wants.
    NoneExt(WhyNoDelegation),
}

/// One entry of an access control list: who needs no ACCESS under the delegation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ace {
    /// 0 allows, 1 denies.
    pub ace_type: u32,
    /// Flags.
    pub flag: u32,
    /// Kinds of access.
    pub access_mask: u32,
    /// Whose access; empty: of no user.
    pub who: Bytes,
}

xdr_body! { Ace { ace_type, flag, access_mask, who: opaque(PRINCIPAL_BYTES_MAX) } }

/// A read delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadDelegation {
    /// Its stateid.
    pub stateid: Stateid,
    /// It is to be given back at once.
    pub recall: bool,
    /// Who may open without asking.
    pub permissions: Ace,
}

xdr_body! { ReadDelegation { stateid, recall, permissions } }

/// A write delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteDelegation {
    /// Its stateid.
    pub stateid: Stateid,
    /// It is to be given back at once.
    pub recall: bool,
    /// How much the client may keep unwritten at CLOSE.
    pub space_limit: SpaceLimit,
    /// Who may open without asking.
    pub permissions: Ace,
}

xdr_body! { WriteDelegation { stateid, recall, space_limit, permissions } }

/// How much a client may write before it has to ask whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceLimit {
    /// Up to this size of the file, in bytes.
    Size(u64),
    /// This many blocks of this many bytes.
    Blocks {
        /// Blocks.
        blocks: u32,
        /// Bytes of each.
        block_bytes: u32,
    },
}

impl Decode for SpaceLimit {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            LIMIT_SIZE => r.u64().map(Self::Size),
            LIMIT_BLOCKS => Ok(Self::Blocks { blocks: r.u32()?, block_bytes: r.u32()? }),
            value => Err(XdrError::BadDiscriminant { what: "limit_by4", value }),
        }
    }
}

impl Encode for SpaceLimit {
    fn encode(&self, w: &mut Writer) {
        match *self {
            Self::Size(bytes) => {
                w.u32(LIMIT_SIZE);
                w.u64(bytes);
            }
            Self::Blocks { blocks, block_bytes } => {
                w.u32(LIMIT_BLOCKS);
                w.u32(blocks);
                w.u32(block_bytes);
            }
        }
    }
}

/// Why there is no delegation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNoDelegation {
    /// The client wanted none.
    NotWanted,
    /// Others use the file; whether the delegation will be sent once they do not.
    Contention {
        /// It will be.
        will_push: bool,
    },
    /// No room; whether the client will be told once there is.
    Resource {
        /// It will be.
        will_signal: bool,
    },
    /// Not for objects of this type.
    NotSuppFtype,
    /// No write delegation for objects of this type.
    WriteDelegNotSuppFtype,
    /// A read delegation is not turned into a write delegation.
    NotSuppUpgrade,
    /// A write delegation is not turned into a read delegation.
    NotSuppDowngrade,
    /// The wish was withdrawn.
    Cancelled,
    /// It is a directory.
    IsDir,
}

impl WhyNoDelegation {
    fn number(self) -> u32 {
        match self {
            Self::NotWanted => 0,
            Self::Contention { .. } => WHY_CONTENTION,
            Self::Resource { .. } => WHY_RESOURCE,
            Self::NotSuppFtype => 3,
            Self::WriteDelegNotSuppFtype => 4,
            Self::NotSuppUpgrade => 5,
            Self::NotSuppDowngrade => 6,
            Self::Cancelled => 7,
            Self::IsDir => 8,
        }
    }
}

impl Decode for WhyNoDelegation {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            0 => Ok(Self::NotWanted),
            WHY_CONTENTION => Ok(Self::Contention { will_push: r.bool()? }),
            WHY_RESOURCE => Ok(Self::Resource { will_signal: r.bool()? }),
            3 => Ok(Self::NotSuppFtype),
            4 => Ok(Self::WriteDelegNotSuppFtype),
            5 => Ok(Self::NotSuppUpgrade),
            6 => Ok(Self::NotSuppDowngrade),
            7 => Ok(Self::Cancelled),
            8 => Ok(Self::IsDir),
            value => Err(XdrError::BadDiscriminant { what: "why_no_delegation4", value }),
        }
    }
}

impl Encode for WhyNoDelegation {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.number());
        match *self {
            Self::Contention { will_push: flag } | Self::Resource { will_signal: flag } => w.bool(flag),
            _ => {}
        }
    }
}

impl Decode for Delegation {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match DelegationType::decode(r)? {
            DelegationType::None => Ok(Self::None),
            DelegationType::Read => ReadDelegation::decode(r).map(Self::Read),
            DelegationType::Write => WriteDelegation::decode(r).map(Self::Write),
            DelegationType::NoneExt => WhyNoDelegation::decode(r).map(Self::NoneExt),
        }
    }
}

impl Encode for Delegation {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::None => DelegationType::None.encode(w),
            Self::Read(delegation) => {
                DelegationType::Read.encode(w);
                delegation.encode(w);
            }
            Self::Write(delegation) => {
                DelegationType::Write.encode(w);
                delegation.encode(w);
            }
            Self::NoneExt(why) => {
                DelegationType::NoneExt.encode(w);
                why.encode(w);
            }
        }
    }
}
