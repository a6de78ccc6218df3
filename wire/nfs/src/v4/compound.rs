//! COMPOUND: the envelope of a sequence of operations, and of their results.
//!
//! Arguments are read lazily: the header first, then for each operation its number and its own
//! arguments, so that an operation that is not served stops the compound without its arguments
//! being known, and a bad one does not spoil those before it. Results are written as they come;
//! status and count are filled in at the end.
//!
//! CB_COMPOUND has the same results, and arguments with one more field: see `callback::compound`.
//!
//! Spec: RFC 8881 §2.3, §16.2, §18.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Mark, Reader, Slot, Writer, XdrError};

use crate::{
    body::xdr_body,
    limits::{COMPOUND_OPS_MAX, TAG_BYTES_MAX},
    v4::{Nfsstat4, Op},
};

/// What stands before the operations of a COMPOUND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompoundHeader {
    /// The client's own note; the reply repeats it.
    pub tag: Bytes,
    /// 1 or 2, if it is to be served.
    pub minor_version: u32,
    /// How many operations follow, by the client's word: nothing is allocated for it. See
    /// [`check_op_count`](Self::check_op_count).
    pub op_count: u32,
}

xdr_body! { CompoundHeader { tag: opaque(TAG_BYTES_MAX), minor_version, op_count } }

impl CompoundHeader {
    /// Checks the number of operations against [`COMPOUND_OPS_MAX`]; a session's own limit comes on
    /// top.
    ///
    /// # Errors
    /// TOO_MANY_OPS, the status to answer the whole compound with.
    pub fn check_op_count(&self) -> Result<(), Nfsstat4> {
        check_op_count(self.op_count)
    }
}

pub(super) fn check_op_count(op_count: u32) -> Result<(), Nfsstat4> {
    match usize::try_from(op_count) {
        Ok(count) if count <= COMPOUND_OPS_MAX => Ok(()),
        _ => Err(Nfsstat4::TooManyOps),
    }
}

/// What stands before the results of a COMPOUND or CB_COMPOUND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The status of the last operation that was tried.
    pub status: Nfsstat4,
    /// The request's tag.
    pub tag: Bytes,
    /// How many results follow.
    pub op_count: u32,
}

xdr_body! { ReplyHeader { status, tag: opaque(TAG_BYTES_MAX), op_count } }

impl ReplyHeader {
    /// Checks the number of results against [`COMPOUND_OPS_MAX`].
    ///
    /// # Errors
    /// [`XdrError::TooLong`].
    pub fn check_op_count(&self) -> Result<(), XdrError> {
        let len = usize::try_from(self.op_count).unwrap_or(usize::MAX);
        if len <= COMPOUND_OPS_MAX { Ok(()) } else { Err(XdrError::TooLong { len, max: COMPOUND_OPS_MAX }) }
    }
}

/// What stands before the body of each result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpReplyHeader {
    /// The operation's number, or that of ILLEGAL.
    pub op: u32,
    /// What became of it.
    pub status: Nfsstat4,
}

xdr_body! { OpReplyHeader { op, status } }

/// Writes the answer to a compound whose minor version is not served: no results (RFC 8881 §2.7).
/// It is also the answer to NFSv4.0, whose header looks the same.
pub fn encode_refusal(w: &mut Writer, status: Nfsstat4, tag: &Bytes) {
    ReplyHeader { status, tag: tag.clone(), op_count: 0 }.encode(w);
}

/// Writes the results of a compound, one operation after another.
#[derive(Debug)]
#[must_use = "finish() fills in the status and the count"]
pub struct ReplyWriter {
    status: Slot,
    count: Slot,
    ops: u32,
}

impl ReplyWriter {
    /// Writes the header, with status and count to come.
    pub fn begin(w: &mut Writer, tag: &Bytes) -> Self {
        let status = w.reserve_u32();
        w.opaque(tag);
        let count = w.reserve_u32();
        Self { status, count, ops: 0 }
    }

    /// Begins the result of one operation: writes its number. The body, if there is one, is written
    /// straight after this, and [`OpReply::finish`] or [`OpReply::fail`] ends it.
    pub fn begin_op(&mut self, w: &mut Writer, op: u32) -> OpReply {
        self.ops += 1;
        w.u32(op);
        let status = w.reserve_u32();
        OpReply { status, body: w.mark(), body_start: w.len() }
    }

    /// Writes the result of one operation that has no body with this status.
    pub fn op_status(&mut self, w: &mut Writer, op: u32, status: Nfsstat4) {
        self.begin_op(w, op).finish(w, status);
    }

    /// How many results were begun.
    #[must_use]
    pub fn ops(&self) -> u32 {
        self.ops
    }

    /// Fills in the header. The status is that of the last result.
    pub fn finish(self, w: &mut Writer, status: Nfsstat4) {
        w.patch_u32(self.status, status.as_u32());
        w.patch_u32(self.count, self.ops);
    }
}

/// One result being written.
#[derive(Debug)]
#[must_use = "a result has a status"]
pub struct OpReply {
    status: Slot,
    body: Mark,
    body_start: usize,
}

impl OpReply {
    /// Bytes of the body so far.
    #[must_use]
    pub fn body_bytes(&self, w: &Writer) -> usize {
        w.len() - self.body_start
    }

    /// Ends the result, with the body that was written.
    pub fn finish(self, w: &mut Writer, status: Nfsstat4) {
        w.patch_u32(self.status, status.as_u32());
    }

    /// Ends the result without a body: what was written of it is dropped.
    pub fn fail(self, w: &mut Writer, status: Nfsstat4) {
        w.truncate_to(self.body);
        w.patch_u32(self.status, status.as_u32());
    }
}

/// Writes the operations of a compound, for a client.
#[derive(Debug)]
#[must_use = "finish() fills in the count"]
pub struct RequestWriter {
    count: Slot,
    ops: u32,
}

impl RequestWriter {
    /// Writes the header, with the count to come.
    pub fn begin(w: &mut Writer, tag: &Bytes, minor_version: u32) -> Self {
        w.opaque(tag);
        w.u32(minor_version);
        Self { count: w.reserve_u32(), ops: 0 }
    }

    /// Writes one operation: its number and its arguments.
    pub fn op(&mut self, w: &mut Writer, op: Op, args: &impl Encode) {
        self.ops += 1;
        w.u32(op.as_u32());
        args.encode(w);
    }

    /// Fills in the count.
    pub fn finish(self, w: &mut Writer) {
        assert!(check_op_count(self.ops).is_ok(), "a client of ours keeps to the bound");
        w.patch_u32(self.count, self.ops);
    }
}

/// Reads the next operation's number: `Err` holds a number that is no operation, for OP_ILLEGAL
/// (RFC 8881 §15.2).
///
/// # Errors
/// [`XdrError::Short`] if the compound ends here, although it promised more.
pub fn decode_op(r: &mut Reader) -> Result<Result<Op, u32>, XdrError> {
    let number = r.u32()?;
    // ILLEGAL has a number so that a reply can name it; as a request it is as illegal as any other.
    Ok(Op::from_u32(number).filter(|op| *op != Op::Illegal).ok_or(number))
}

/// Reads a result's header, and checks that it answers this operation.
///
/// # Errors
/// [`XdrError::BadDiscriminant`] if it answers another; ILLEGAL is let through, as it has no number
/// of its own to repeat.
pub fn decode_op_reply(r: &mut Reader, op: Op) -> Result<Nfsstat4, XdrError> {
    let header = OpReplyHeader::decode(r)?;
    if header.op == op.as_u32() || header.op == Op::Illegal.as_u32() && !header.status.is_ok() {
        Ok(header.status)
    } else {
        Err(XdrError::BadDiscriminant { what: "nfs_resop4", value: header.op })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Bytes = Bytes::from_static(b"tag");

    /// Spec: RFC 8881 §16.2: tag, minor version, then the counted operations.
    #[test]
    fn request_golden_bytes() {
        let mut w = Writer::new();
        let mut request = RequestWriter::begin(&mut w, &TAG, 2);
        request.op(&mut w, Op::Putrootfh, &crate::v4::ops::putrootfh::Args);
        request.op(&mut w, Op::Getfh, &crate::v4::ops::getfh::Args);
        request.finish(&mut w);
        let golden: &[u8] = &[
            0, 0, 0, 3, b't', b'a', b'g', 0, // tag
            0, 0, 0, 2, // minor version
            0, 0, 0, 2, // operations
            0, 0, 0, 24, // PUTROOTFH
            0, 0, 0, 10, // GETFH
        ];
        assert_eq!(w.to_bytes(), golden);
        let mut r = Reader::new(w.into_bytes());
        let header = CompoundHeader::decode(&mut r).unwrap();
        assert_eq!(header, CompoundHeader { tag: TAG, minor_version: 2, op_count: 2 });
        assert_eq!(decode_op(&mut r), Ok(Ok(Op::Putrootfh)));
        assert_eq!(decode_op(&mut r), Ok(Ok(Op::Getfh)));
        assert!(decode_op(&mut r).is_err());
    }

    /// A body that was begun is dropped when the operation fails; status and count come last and
    /// stand first.
    #[test]
    fn reply_golden_bytes() {
        let mut w = Writer::new();
        let mut reply = ReplyWriter::begin(&mut w, &TAG);
        reply.op_status(&mut w, 24, Nfsstat4::Ok);
        let getfh = reply.begin_op(&mut w, 10);
        w.opaque(b"half a body");
        assert_eq!(getfh.body_bytes(&w), 16);
        getfh.fail(&mut w, Nfsstat4::Delay);
        assert_eq!(reply.ops(), 2);
        reply.finish(&mut w, Nfsstat4::Delay);
        let golden: &[u8] = &[
            0, 0, 0x27, 0x18, // DELAY
            0, 0, 0, 3, b't', b'a', b'g', 0, // tag
            0, 0, 0, 2, // results
            0, 0, 0, 24, 0, 0, 0, 0, // PUTROOTFH, OK
            0, 0, 0, 10, 0, 0, 0x27, 0x18, // GETFH, DELAY
        ];
        assert_eq!(w.to_bytes(), golden);
        let mut r = Reader::new(w.into_bytes());
        assert_eq!(
            ReplyHeader::decode(&mut r),
            Ok(ReplyHeader { status: Nfsstat4::Delay, tag: TAG, op_count: 2 })
        );
        assert_eq!(decode_op_reply(&mut r, Op::Putrootfh), Ok(Nfsstat4::Ok));
        assert!(decode_op_reply(&mut r.clone(), Op::Putrootfh).is_err());
        assert_eq!(decode_op_reply(&mut r, Op::Getfh), Ok(Nfsstat4::Delay));
    }

    /// NFSv4.0 gets MINOR_VERS_MISMATCH and an empty array. Spec: RFC 8881 §2.7.
    #[test]
    fn refusal_golden_bytes() {
        let mut w = Writer::new();
        encode_refusal(&mut w, Nfsstat4::MinorVersMismatch, &Bytes::new());
        assert_eq!(w.into_bytes(), [0u8, 0, 0x27, 0x25, 0, 0, 0, 0, 0, 0, 0, 0].as_slice());
    }

    #[test]
    fn hostile_headers() {
        let header = CompoundHeader { tag: TAG, minor_version: 1, op_count: u32::MAX };
        assert_eq!(header.check_op_count(), Err(Nfsstat4::TooManyOps));
        let mut w = Writer::new();
        w.opaque(&[0; TAG_BYTES_MAX + 1]);
        assert!(CompoundHeader::decode(&mut Reader::new(w.into_bytes())).is_err());
        let illegal = |number: u32| {
            let mut w = Writer::new();
            w.u32(number);
            decode_op(&mut Reader::new(w.into_bytes()))
        };
        assert_eq!(illegal(2), Ok(Err(2)));
        assert_eq!(illegal(10_044), Ok(Err(10_044)));
        assert_eq!(illegal(76), Ok(Err(76)));
    }
}
