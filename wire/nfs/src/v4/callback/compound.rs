//! CB_COMPOUND: the envelope of callbacks. Its results look like those of COMPOUND: see
//! `v4::compound`.
//!
//! Spec: RFC 8881 §19.2.

use bytes::Bytes;
use wire_xdr::{Encode, Reader, Slot, Writer, XdrError};

use crate::{
    body::xdr_body,
    limits::TAG_BYTES_MAX,
    v4::{CbOp, Nfsstat4, compound::check_op_count},
};

/// The procedure of the callback program that carries a CB_COMPOUND.
pub const PROC_CB_COMPOUND: u32 = 1;
/// The version of the callback program in every minor version.
/// QUIRK(linux): its callback service answers to version 1; the RFC's program definition says the
/// same.
pub const CB_PROGRAM_VERSION: u32 = 1;

/// What stands before the operations of a CB_COMPOUND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CbCompoundHeader {
    /// The server's own note; the reply repeats it.
    pub tag: Bytes,
    /// That of the session.
    pub minor_version: u32,
    /// Of NFSv4.0; 0 and ignored since.
    pub callback_ident: u32,
    /// How many operations follow, by the server's word: nothing is allocated for it.
    pub op_count: u32,
}

xdr_body! { CbCompoundHeader { tag: opaque(TAG_BYTES_MAX), minor_version, callback_ident, op_count } }

impl CbCompoundHeader {
    /// Checks the number of operations against our bound; a session's own limit comes on top.
    ///
    /// # Errors
    /// TOO_MANY_OPS, the status to answer the whole compound with.
    pub fn check_op_count(&self) -> Result<(), Nfsstat4> {
        check_op_count(self.op_count)
    }
}

/// Writes the operations of a CB_COMPOUND, for a server.
#[derive(Debug)]
#[must_use = "finish() fills in the count"]
pub struct CbRequestWriter {
    count: Slot,
    ops: u32,
}

impl CbRequestWriter {
    /// Writes the header, with the count to come.
    pub fn begin(w: &mut Writer, tag: &Bytes, minor_version: u32) -> Self {
        w.opaque(tag);
        w.u32(minor_version);
        w.u32(0);
        Self { count: w.reserve_u32(), ops: 0 }
    }

    /// Writes one operation: its number and its arguments.
    pub fn op(&mut self, w: &mut Writer, op: CbOp, args: &impl Encode) {
        self.ops += 1;
        w.u32(op.as_u32());
        args.encode(w);
    }

    /// Fills in the count.
    pub fn finish(self, w: &mut Writer) {
        assert!(check_op_count(self.ops).is_ok(), "a server of ours keeps to the bound");
        w.patch_u32(self.count, self.ops);
    }
}

/// Reads the next operation's number: `Err` holds a number that is no operation, for CB_ILLEGAL.
///
/// # Errors
/// [`XdrError::Short`] if the compound ends here, although it promised more.
pub fn decode_cb_op(r: &mut Reader) -> Result<Result<CbOp, u32>, XdrError> {
    let number = r.u32()?;
    Ok(CbOp::from_u32(number).filter(|op| *op != CbOp::Illegal).ok_or(number))
}

/// Reads a result's header, and checks that it answers this operation.
///
/// # Errors
/// [`XdrError::BadDiscriminant`] if it answers another; CB_ILLEGAL is let through, as it has no
/// number of its own to repeat.
pub fn decode_cb_op_reply(r: &mut Reader, op: CbOp) -> Result<Nfsstat4, XdrError> {
    let (number, status) = (r.u32()?, Nfsstat4::from_u32(r.u32()?));
    if number == op.as_u32() || number == CbOp::Illegal.as_u32() && !status.is_ok() {
        Ok(status)
    } else {
        Err(XdrError::BadDiscriminant { what: "nfs_cb_resop4", value: number })
    }
}
