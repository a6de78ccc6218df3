//! CB_LAYOUTRECALL: asks for layouts back.
//!
//! Spec: RFC 8881 §20.3.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::{xdr_body, xdr_void},
    v4::{
        Filehandle, Stateid,
        attr::{Fsid, LayoutType},
        layout::Iomode,
    },
};

const RECALL_FILE: u32 = 1;
const RECALL_FSID: u32 = 2;
const RECALL_ALL: u32 = 3;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The type of the layouts.
    pub layout_type: LayoutType,
    /// Layouts of this iomode.
    pub iomode: Iomode,
    /// The layout has changed: what is dirty had better go through the metadata server.
    pub changed: bool,
    /// Of what.
    pub scope: RecallScope,
}

xdr_body! { Args { layout_type, iomode, changed, scope } }

/// Of what layouts are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecallScope {
    /// A range of a file.
    File(RecallFile),
    /// A file system.
    Fsid(Fsid),
    /// All.
    All,
}

/// A range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallFile {
    /// The file.
    pub filehandle: Filehandle,
    /// First byte.
    pub offset: u64,
    /// Bytes; all ones is up to the end.
    pub length: u64,
    /// The layout. QUIRK(linux): the seqid has to be exactly one above the last the client has
    /// seen.
    pub stateid: Stateid,
}

xdr_body! { RecallFile { filehandle, offset, length, stateid } }

impl Decode for RecallScope {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            RECALL_FILE => RecallFile::decode(r).map(Self::File),
            RECALL_FSID => Fsid::decode(r).map(Self::Fsid),
            RECALL_ALL => Ok(Self::All),
            value => Err(XdrError::BadDiscriminant { what: "layoutrecall_type4", value }),
        }
    }
}

impl Encode for RecallScope {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::File(file) => {
                w.u32(RECALL_FILE);
                file.encode(w);
            }
            Self::Fsid(fsid) => {
                w.u32(RECALL_FSID);
                fsid.encode(w);
            }
            Self::All => w.u32(RECALL_ALL),
        }
    }
}

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
