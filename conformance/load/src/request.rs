//! Compounds as the load writes and reads them.
//!
//! Spec: RFC 8881 §2.3, §18.46.

use bytes::Bytes;
use wire_nfs::v4::compound::{ReplyHeader, RequestWriter, decode_op_reply};
use wire_nfs::v4::ops::{getfh, putfh, putrootfh, sequence};
use wire_nfs::v4::{Filehandle, Nfsstat4, Op};
use wire_xdr::{Decode, Encode, Reader, Writer};

use crate::error::LoadError;

/// Operations behind SEQUENCE. They are written once, however often they are sent.
#[derive(Debug, Default)]
pub(crate) struct Request {
    writer: Writer,
    ops: Vec<Op>,
}

impl Request {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn at_root() -> Self {
        Self::new().then(Op::Putrootfh, &putrootfh::Args)
    }

    pub(crate) fn at(handle: &Filehandle) -> Self {
        Self::new().then(Op::Putfh, &putfh::Args { filehandle: handle.clone() })
    }

    pub(crate) fn then(mut self, op: Op, args: &impl Encode) -> Self {
        self.writer.u32(op.as_u32());
        args.encode(&mut self.writer);
        self.ops.push(op);
        self
    }

    pub(crate) fn then_handle(self) -> Self {
        self.then(Op::Getfh, &getfh::Args)
    }

    pub(crate) fn seal(self) -> Sealed {
        Sealed { count: u32::try_from(self.ops.len()).expect("a few"), bytes: self.writer.into_bytes() }
    }
}

/// The same, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    bytes: Bytes,
    count: u32,
}

impl Sealed {
    /// With SEQUENCE before them.
    pub(crate) fn in_session(&self, args: &sequence::Args) -> Writer {
        let mut writer = Writer::new();
        writer.opaque(b"");
        writer.u32(1);
        writer.u32(self.count + 1);
        writer.u32(Op::Sequence.as_u32());
        args.encode(&mut writer);
        writer.raw(&self.bytes);
        writer
    }
}

/// A compound of one operation, without a session.
pub(crate) fn bare(op: Op, args: &impl Encode) -> Writer {
    let mut writer = Writer::new();
    let mut request = RequestWriter::begin(&mut writer, &Bytes::new(), 1);
    request.op(&mut writer, op, args);
    request.finish(&mut writer);
    writer
}

/// An answer being read.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Of the operation at which the compound ended.
    pub(crate) status: Nfsstat4,
    reader: Reader,
}

impl Reply {
    pub(crate) fn begin(mut reader: Reader) -> Result<Self, LoadError> {
        let header =
            ReplyHeader::decode(&mut reader).map_err(|_| LoadError::Unreadable("a reply's header"))?;
        Ok(Self { status: header.status, reader })
    }

    /// The next result has no more than its status.
    pub(crate) fn skip(&mut self, op: Op) -> Result<(), LoadError> {
        match decode_op_reply(&mut self.reader, op) {
            Ok(Nfsstat4::Ok) => Ok(()),
            Ok(status) => Err(LoadError::Refused { op, status }),
            Err(_) => Err(LoadError::Unreadable(op.name())),
        }
    }

    /// The next result, which must be a good one.
    pub(crate) fn next<R: Decode>(&mut self, op: Op) -> Result<R, LoadError> {
        self.skip(op)?;
        R::decode(&mut self.reader).map_err(|_| LoadError::Unreadable(op.name()))
    }

    pub(crate) fn handle(&mut self) -> Result<Filehandle, LoadError> {
        Ok(self.next::<getfh::ResOk>(Op::Getfh)?.filehandle)
    }
}
