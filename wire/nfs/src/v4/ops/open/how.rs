//! `openflag4` and `createhow4`: whether OPEN makes the file, and what if it exists.
//!
//! Spec: RFC 8881 §18.16.3.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::v4::{Fattr4, Verifier};

const OPEN4_NOCREATE: u32 = 0;
const OPEN4_CREATE: u32 = 1;
const UNCHECKED4: u32 = 0;
const GUARDED4: u32 = 1;
const EXCLUSIVE4: u32 = 2;
const EXCLUSIVE4_1: u32 = 3;

/// Whether the file is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenHow {
    /// It has to exist.
    NoCreate,
    /// It is made.
    Create(CreateHow),
}

/// How the file is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateHow {
    /// It may exist: then only its size is set, if to 0.
    Unchecked(Fattr4),
    /// It must not exist.
    Guarded(Fattr4),
    /// It must not exist, unless the same verifier made it. Without attributes.
    Exclusive(Verifier),
    /// It must not exist, unless the same verifier made it. With attributes.
    Exclusive41(Verifier, Fattr4),
}

impl CreateHow {
    /// The attributes that the file begins with.
    #[must_use]
    pub fn attributes(&self) -> Option<&Fattr4> {
        match self {
            Self::Unchecked(attributes) | Self::Guarded(attributes) | Self::Exclusive41(_, attributes) => {
                Some(attributes)
            }
            Self::Exclusive(_) => None,
        }
    }
}

impl Decode for OpenHow {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            OPEN4_NOCREATE => Ok(Self::NoCreate),
            OPEN4_CREATE => CreateHow::decode(r).map(Self::Create),
            value => Err(XdrError::BadDiscriminant { what: "opentype4", value }),
        }
    }
}

impl Encode for OpenHow {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::NoCreate => w.u32(OPEN4_NOCREATE),
            Self::Create(how) => {
                w.u32(OPEN4_CREATE);
                how.encode(w);
            }
        }
    }
}

impl Decode for CreateHow {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            UNCHECKED4 => Fattr4::decode(r).map(Self::Unchecked),
            GUARDED4 => Fattr4::decode(r).map(Self::Guarded),
            EXCLUSIVE4 => Verifier::decode(r).map(Self::Exclusive),
            EXCLUSIVE4_1 => Ok(Self::Exclusive41(Verifier::decode(r)?, Fattr4::decode(r)?)),
            value => Err(XdrError::BadDiscriminant { what: "createmode4", value }),
        }
    }
}

impl Encode for CreateHow {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Unchecked(attributes) => {
                w.u32(UNCHECKED4);
                attributes.encode(w);
            }
            Self::Guarded(attributes) => {
                w.u32(GUARDED4);
                attributes.encode(w);
            }
            Self::Exclusive(verifier) => {
                w.u32(EXCLUSIVE4);
                verifier.encode(w);
            }
            Self::Exclusive41(verifier, attributes) => {
                w.u32(EXCLUSIVE4_1);
                verifier.encode(w);
                attributes.encode(w);
            }
        }
    }
}
