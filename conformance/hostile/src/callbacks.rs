//! A client's end of callbacks: says OK to each, and keeps that a layout was asked back.
//!
//! Spec: RFC 8881 §20.3, §20.9.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use wire_nfs::v4::callback::compound::{CbCompoundHeader, decode_cb_op};
use wire_nfs::v4::callback::sequence;
use wire_nfs::v4::{CbOp, Nfsstat4};
use wire_rpc::accepted_success;
use wire_xdr::{Decode, Encode, Writer, XdrError};

/// Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Callbacks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    recalls: AtomicU32,
    recalled: AtomicBool,
}

impl Callbacks {
    /// How many recalls came so far.
    pub(crate) fn recalls(&self) -> u32 {
        self.0.recalls.load(Ordering::SeqCst)
    }

    /// Whether one came since this was last asked.
    pub(crate) fn take_recalled(&self) -> bool {
        self.0.recalled.swap(false, Ordering::SeqCst)
    }

    fn answer(&self, call: &mut Call) -> Result<Writer, XdrError> {
        let header = CbCompoundHeader::decode(&mut call.args)?;
        let mut reply = accepted_success(call.header.xid);
        reply.u32(Nfsstat4::Ok.as_u32());
        reply.opaque(&Bytes::new());
        let invalid = || XdrError::Invalid { field: "CB_COMPOUND" };
        decode_cb_op(&mut call.args)?.map_err(|_| invalid())?;
        let asked = sequence::Args::decode(&mut call.args)?;
        let sequenced = sequence::ResOk {
            session: asked.session,
            sequenceid: asked.sequenceid,
            slotid: asked.slotid,
            highest_slotid: asked.highest_slotid,
            target_highest_slotid: asked.highest_slotid,
        };
        reply.u32(header.op_count.min(2));
        reply.u32(CbOp::Sequence.as_u32());
        reply.u32(Nfsstat4::Ok.as_u32());
        sequenced.encode(&mut reply);
        if 1 < header.op_count {
            let op = decode_cb_op(&mut call.args)?.map_err(|_| invalid())?;
            if op == CbOp::Layoutrecall {
                self.0.recalls.fetch_add(1, Ordering::SeqCst);
                self.0.recalled.store(true, Ordering::SeqCst);
            }
            reply.u32(op.as_u32());
            reply.u32(Nfsstat4::Ok.as_u32());
        }
        Ok(reply)
    }
}

impl Service for Callbacks {
    fn call(&self, mut call: Call, _: &Connection) -> BoxFuture<'static, Answer> {
        let xid = call.header.xid;
        let answer = self.answer(&mut call).unwrap_or_else(|_| wire_rpc::garbage_args(xid));
        Box::pin(std::future::ready(Answer::Reply(answer)))
    }

    fn closed(&self, _: u64) {}
}
