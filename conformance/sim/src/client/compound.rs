//! Compounds as a client writes and reads them.

use bytes::Bytes;
use wire_nfs::v4::compound::{ReplyHeader, decode_op_reply};
use wire_nfs::v4::ops::{getfh, putfh, sequence};
use wire_nfs::v4::{Filehandle, Nfsstat4, Op};
use wire_xdr::{Decode, Encode, Reader, Writer};

/// The operations behind SEQUENCE.
#[derive(Default)]
pub(crate) struct Operations {
    writer: Writer,
    count: u32,
    /// The server need not keep the answer.
    uncached: bool,
}

impl Operations {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One that begins at the root.
    pub(crate) fn at_root() -> Self {
        Self::new().then(Op::Putrootfh, &wire_nfs::v4::ops::putrootfh::Args)
    }

    /// One that begins at a handle.
    pub(crate) fn at(handle: &Filehandle) -> Self {
        Self::new().then(Op::Putfh, &putfh::Args { filehandle: handle.clone() })
    }

    pub(crate) fn then(mut self, op: Op, args: &impl Encode) -> Self {
        self.writer.u32(op.as_u32());
        args.encode(&mut self.writer);
        self.count += 1;
        self
    }

    pub(crate) fn then_handle(self) -> Self {
        self.then(Op::Getfh, &getfh::Args)
    }

    /// The answer may be too large to be kept, and need not be: it is the same if it is read again.
    pub(crate) fn uncached(mut self) -> Self {
        self.uncached = true;
        self
    }

    /// Whether the server is asked to keep the answer.
    pub(crate) fn is_cached(&self) -> bool {
        !self.uncached
    }

    /// The operations as they are sent, and how many they are.
    pub(crate) fn finish(self) -> (Bytes, u32) {
        (self.writer.into_bytes(), self.count)
    }
}

/// A compound without a session.
pub(crate) fn bare(op: Op, args: &impl Encode) -> Writer {
    let mut w = header(1);
    w.u32(op.as_u32());
    args.encode(&mut w);
    w
}

/// A compound in a session.
pub(crate) fn in_session(args: &sequence::Args, operations: &Bytes, count: u32) -> Writer {
    let mut w = header(count + 1);
    w.u32(Op::Sequence.as_u32());
    args.encode(&mut w);
    w.raw_bytes(operations.clone());
    w
}

fn header(count: u32) -> Writer {
    let mut w = Writer::new();
    w.opaque(b"");
    w.u32(1);
    w.u32(count);
    w
}

/// A reply being read.
pub(crate) struct Reply {
    pub(crate) status: Nfsstat4,
    pub(crate) count: u32,
    /// An earlier send of the request may have been carried out, at a server that never answered
    /// it.
    pub(crate) sent_before: bool,
    reader: Reader,
}

impl Reply {
    /// Reads the header; `None` if the server wrote what cannot be read.
    pub(crate) fn begin(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes.clone());
        let header = ReplyHeader::decode(&mut reader).ok()?;
        Some(Self { status: header.status, count: header.op_count, sent_before: false, reader })
    }

    /// The status of the next result.
    pub(crate) fn status(&mut self, op: Op) -> Nfsstat4 {
        decode_op_reply(&mut self.reader, op).unwrap_or(Nfsstat4::Badxdr)
    }

    /// The next result, if it is a good one.
    pub(crate) fn next<R: Decode>(&mut self, op: Op) -> Result<R, Nfsstat4> {
        let status = self.status(op);
        if status != Nfsstat4::Ok {
            return Err(status);
        }
        R::decode(&mut self.reader).map_err(|_| Nfsstat4::Badxdr)
    }

    /// The next results have no more than their status.
    pub(crate) fn skip(&mut self, ops: &[Op]) -> Result<(), Nfsstat4> {
        ops.iter().try_for_each(|op| match self.status(*op) {
            Nfsstat4::Ok => Ok(()),
            status => Err(status),
        })
    }

    pub(crate) fn handle(&mut self) -> Result<Filehandle, Nfsstat4> {
        Ok(self.next::<getfh::ResOk>(Op::Getfh)?.filehandle)
    }
}
