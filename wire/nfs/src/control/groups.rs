//! GROUP, ENCODE and REBUILD: which images belong together, how a group's parity is made, and how
//! an image of a group is made again.
//!
//! Records, shapes and drafts of groups are bytes here; `layout` reads and writes them
//! (docs/formats/group.md §3).
//!
//! Spec: docs/protocol/seal.md §3, §5, §6.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use super::images::ImageName;
use super::limits;

/// Arguments of GROUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskGroup {
    /// Which image.
    pub image: ImageName,
}

xdr_struct! { AskGroup { image } }

/// A group's record and one of its slots: body of GROUP's reply, and arguments of REBUILD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSlot {
    /// The group's record, at most [`limits::GROUP_BYTES_MAX`].
    pub record: Bytes,
    /// Which image of it: members first.
    pub slot: u32,
}

impl Decode for GroupSlot {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { record: r.opaque(limits::GROUP_BYTES_MAX)?, slot: r.u32()? })
    }
}

impl Encode for GroupSlot {
    fn encode(&self, w: &mut Writer) {
        w.opaque_bytes(self.record.clone());
        w.u32(self.slot);
    }
}

/// Arguments of ENCODE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeGroup {
    /// The group's shape with zeros for the sums of the parity images, at most
    /// [`limits::GROUP_BYTES_MAX`].
    pub draft: Bytes,
    /// The data server of each member, 0 for an empty one; at most [`limits::GROUP_SLOTS_MAX`].
    pub homes: Vec<u32>,
    /// The data servers that get the parity images; the callee is the first one.
    pub parity: Vec<u32>,
}

impl Decode for EncodeGroup {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let draft = r.opaque(limits::GROUP_BYTES_MAX)?;
        let homes = list(r, limits::GROUP_SLOTS_MAX)?;
        Ok(Self { draft, homes, parity: list(r, limits::GROUP_SLOTS_MAX)? })
    }
}

impl Encode for EncodeGroup {
    fn encode(&self, w: &mut Writer) {
        w.opaque_bytes(self.draft.clone());
        put_list(w, &self.homes);
        put_list(w, &self.parity);
    }
}

/// Body of ENCODE's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedGroup {
    /// The group's shape, at most [`limits::GROUP_BYTES_MAX`].
    pub shape: Bytes,
}

impl Decode for EncodedGroup {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { shape: r.opaque(limits::GROUP_BYTES_MAX)? })
    }
}

impl Encode for EncodedGroup {
    fn encode(&self, w: &mut Writer) {
        w.opaque_bytes(self.shape.clone());
    }
}
