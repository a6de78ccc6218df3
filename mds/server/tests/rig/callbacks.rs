//! A client's end of callbacks: answers OK to each, once permitted; or refuses a recall of an
//! unknown layout, if it knows the file by another handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use tokio::sync::Semaphore;
use wire_nfs::v4::callback::compound::{CbCompoundHeader, decode_cb_op};
use wire_nfs::v4::callback::layoutrecall::{self, RecallScope};
use wire_nfs::v4::callback::sequence;
use wire_nfs::v4::{CbOp, Filehandle, Nfsstat4};
use wire_rpc::accepted_success;
use wire_xdr::{Decode, Encode};

/// Clones share the same state.
#[derive(Clone)]
pub(crate) struct Callbacks(Arc<Inner>);

struct Inner {
    came: AtomicU32,
    may_answer: Semaphore,
    /// The handle by which it holds a layout; any handle will do without.
    knows: Option<Filehandle>,
    /// Recalls with that handle.
    found: AtomicU32,
}

impl Callbacks {
    /// No callback has come, and none may be answered.
    pub(crate) fn new() -> Self {
        Self::made(None)
    }

    /// For a client that holds a layout by this handle, and answers at once.
    pub(crate) fn of_layout(handle: Filehandle) -> Self {
        let callbacks = Self::made(Some(handle));
        callbacks.0.may_answer.add_permits(1_000);
        callbacks
    }

    fn made(knows: Option<Filehandle>) -> Self {
        let (came, found) = (AtomicU32::new(0), AtomicU32::new(0));
        Self(Arc::new(Inner { came, may_answer: Semaphore::new(0), knows, found }))
    }

    /// Number of recalls with the handle of its layout.
    pub(crate) fn found(&self) -> u32 {
        self.0.found.load(Ordering::SeqCst)
    }

    /// Number of callbacks so far.
    pub(crate) fn came(&self) -> u32 {
        self.0.came.load(Ordering::SeqCst)
    }

    /// Permits one answer.
    pub(crate) fn answer_one(&self) {
        self.0.may_answer.add_permits(1);
    }
}

impl Inner {
    fn judge(&self, op: CbOp, call: &mut Call) -> Nfsstat4 {
        let Some(known) = &self.knows else { return Nfsstat4::Ok };
        assert_eq!(op, CbOp::Layoutrecall);
        let args = layoutrecall::Args::decode(&mut call.args).expect("its arguments");
        let RecallScope::File(file) = args.scope else { panic!("not of a file") };
        if file.filehandle != *known {
            return Nfsstat4::NomatchingLayout;
        }
        self.found.fetch_add(1, Ordering::SeqCst);
        Nfsstat4::Ok
    }
}

impl Service for Callbacks {
    fn call(&self, mut call: Call, _: &Connection) -> BoxFuture<'static, Answer> {
        let header = CbCompoundHeader::decode(&mut call.args).expect("a header");
        assert_eq!(header.op_count, 2, "CB_SEQUENCE and one more");
        assert_eq!(decode_cb_op(&mut call.args), Ok(Ok(CbOp::Sequence)));
        let asked = sequence::Args::decode(&mut call.args).expect("its arguments");
        let op = decode_cb_op(&mut call.args).expect("a number").expect("an operation");
        self.0.came.fetch_add(1, Ordering::SeqCst);
        let status = self.0.judge(op, &mut call);
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            inner.may_answer.acquire().await.expect("never closed").forget();
            let sequenced = sequence::ResOk {
                session: asked.session,
                sequenceid: asked.sequenceid,
                slotid: asked.slotid,
                highest_slotid: asked.highest_slotid,
                target_highest_slotid: asked.highest_slotid,
            };
            let mut reply = accepted_success(call.header.xid);
            reply.u32(status.as_u32());
            reply.opaque(&Bytes::new());
            reply.u32(header.op_count);
            reply.u32(CbOp::Sequence.as_u32());
            reply.u32(Nfsstat4::Ok.as_u32());
            sequenced.encode(&mut reply);
            reply.u32(op.as_u32());
            reply.u32(status.as_u32());
            Answer::Reply(reply)
        })
    }

    fn closed(&self, _: u64) {}
}
