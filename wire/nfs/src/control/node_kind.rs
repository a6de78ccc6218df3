//! The kinds of nodes: HELLO carries one, and procedures are open to some.
//!
//! Spec: docs/protocol/control.md §1.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

/// What a node says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum NodeKind {
    /// A metadata server.
    Metadata = 1,
    /// A data server.
    Data = 2,
    /// A gateway.
    Gateway = 3,
    /// An administrator's tool.
    Administrator = 4,
}

impl Decode for NodeKind {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(match r.u32()? {
            1 => Self::Metadata,
            2 => Self::Data,
            3 => Self::Gateway,
            4 => Self::Administrator,
            value => return Err(XdrError::BadDiscriminant { what: "node kind", value }),
        })
    }
}

impl Encode for NodeKind {
    fn encode(&self, w: &mut Writer) {
        w.u32(*self as u32);
    }
}
