//! LAYOUTRETURN: gives layouts back.
//!
//! Spec: RFC 8881 §18.44.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::xdr_body,
    limits::LAYOUT_RETURN_BODY_BYTES_MAX,
    v4::{Stateid, attr::LayoutType, layout::Iomode},
};

const RETURN_FILE: u32 = 1;
const RETURN_FSID: u32 = 2;
const RETURN_ALL: u32 = 3;

/// What to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The layouts are from before the server restarted.
    pub reclaim: bool,
    /// The type of the layouts.
    pub layout_type: LayoutType,
    /// Layouts of this iomode.
    pub iomode: Iomode,
    /// Of what.
    pub scope: ReturnScope,
}

xdr_body! { Args { reclaim, layout_type, iomode, scope } }

/// Of what layouts are given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnScope {
    /// A range of the current file.
    File(ReturnFile),
    /// The file system of the current filehandle.
    Fsid,
    /// All.
    All,
}

/// A range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnFile {
    /// First byte.
    pub offset: u64,
    /// Bytes; all ones is up to the end.
    pub length: u64,
    /// The layout.
    pub stateid: Stateid,
    /// What the layout type has to say: for flexible files errors and statistics.
    pub body: Bytes,
}

xdr_body! { ReturnFile { offset, length, stateid, body: opaque(LAYOUT_RETURN_BODY_BYTES_MAX) } }

impl Decode for ReturnScope {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            RETURN_FILE => ReturnFile::decode(r).map(Self::File),
            RETURN_FSID => Ok(Self::Fsid),
            RETURN_ALL => Ok(Self::All),
            value => Err(XdrError::BadDiscriminant { what: "layoutreturn_type4", value }),
        }
    }
}

impl Encode for ReturnScope {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::File(file) => {
                w.u32(RETURN_FILE);
                file.encode(w);
            }
            Self::Fsid => w.u32(RETURN_FSID),
            Self::All => w.u32(RETURN_ALL),
        }
    }
}

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk {
    /// The layout's stateid, if the client still has a layout of the file.
    pub stateid: Option<Stateid>,
}

xdr_body! { ResOk { stateid } }
