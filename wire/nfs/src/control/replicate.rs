//! ATTACH, REPLICATE and FLUSH: what the primary of an extent tells its replicas.
//!
//! The data of a record are not copied: they are a part of the message they came in.
//!
//! Spec: docs/protocol/replicate.md §1, §2; docs/protocol/seal.md §4.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, xdr_struct};

use super::extent::ExtentName;
use super::limits;

/// Arguments of ATTACH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Which extent.
    pub extent: ExtentName,
    /// Its epoch, as its primary knows it.
    pub epoch: u64,
}

xdr_struct! { Attach { extent, epoch } }

/// Body of ATTACH's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The replica's instance: random for each start.
    pub instance: u64,
    /// The highest sequence it has for the extent; 0: it has nothing.
    pub sequence: u64,
}

xdr_struct! { Attached { instance, sequence } }

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The data are the extent's bytes at the offset.
    Write,
    /// The bytes behind the offset are forgotten.
    Cut,
    /// What is older is what the image says that the data name; the offset is its content's length.
    Image,
}

/// Arguments of REPLICATE: one record of a primary's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicate {
    /// The replica's instance, as ATTACH told it.
    pub instance: u64,
    /// It is to be on stable storage before the answer.
    pub stable: bool,
    /// What it does.
    pub act: Act,
    /// To which extent.
    pub extent: ExtentName,
    /// The extent's epoch; of a CUT, the CUT's.
    pub epoch: u64,
    /// Its place among the acts on the extent.
    pub sequence: u64,
    /// From the extent's start.
    pub offset: u32,
    /// Of a WRITE, at most [`limits::RECORD_DATA_BYTES_MAX`]; of an IMAGE, the
    /// [`limits::IMAGE_RECORD_DATA_BYTES`] of the journal's record; of a CUT, none.
    pub data: Bytes,
}

impl Decode for Replicate {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let (instance, stable) = (r.u64()?, r.bool()?);
        let act = match r.u32()? {
            1 => Act::Write,
            3 => Act::Cut,
            4 => Act::Image,
            value => return Err(XdrError::BadDiscriminant { what: "act of a record", value }),
        };
        let (extent, epoch, sequence) = (ExtentName::decode(r)?, r.u64()?, r.u64()?);
        let (offset, data) = (r.u32()?, r.opaque(limits::RECORD_DATA_BYTES_MAX)?);
        let fits = match act {
            Act::Write => !data.is_empty(),
            Act::Cut => data.is_empty(),
            Act::Image => data.len() == limits::IMAGE_RECORD_DATA_BYTES,
        };
        if !fits {
            return Err(XdrError::Invalid { field: "data" });
        }
        Ok(Self { instance, stable, act, extent, epoch, sequence, offset, data })
    }
}

impl Encode for Replicate {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.instance);
        w.bool(self.stable);
        w.u32(match self.act {
            Act::Write => 1,
            Act::Cut => 3,
            Act::Image => 4,
        });
        self.extent.encode(w);
        w.u64(self.epoch);
        w.u64(self.sequence);
        w.u32(self.offset);
        w.opaque_bytes(self.data.clone());
    }
}

/// Arguments of FLUSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The replica's instance, as ATTACH told it.
    pub instance: u64,
}

xdr_struct! { Flush { instance } }

/// Arguments of READ_DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadData {
    /// Of which extent.
    pub extent: ExtentName,
    /// The epoch of the set as the caller knows it.
    pub epoch: u64,
    /// From the extent's start.
    pub offset: u32,
    /// How many bytes, at most [`limits::RECORD_DATA_BYTES_MAX`]; none: which image is in use.
    pub length: u32,
}

xdr_struct! { ReadData { extent, epoch, offset, length } }

/// Arguments of SAY_AGAIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SayAgain {
    /// Which extent.
    pub extent: ExtentName,
    /// The epoch of the set as the caller knows it.
    pub epoch: u64,
    /// The caller: a replica of that set.
    pub server: u32,
}

xdr_struct! { SayAgain { extent, epoch, server } }

/// Body of READ_DATA's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldData {
    /// The lowest sequence of the records that say the bytes.
    pub sequence: u64,
    /// As many as were asked for; or the payload of the IMAGE record.
    pub data: Bytes,
}

impl Decode for HeldData {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { sequence: r.u64()?, data: r.opaque(limits::RECORD_DATA_BYTES_MAX)? })
    }
}

impl Encode for HeldData {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.sequence);
        w.opaque_bytes(self.data.clone());
    }
}
