//! What a Linux host answers when the metadata server calls it.
//!
//! A recall is answered with OK at once; then what is under way ends, and LAYOUTCOMMIT and
//! LAYOUTRETURN follow.
//!
//! Spec: RFC 8881 §20.3, §20.9.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use wire_nfs::v4::callback::compound::{CbCompoundHeader, decode_cb_op};
use wire_nfs::v4::callback::layoutrecall::{Args, RecallFile, RecallScope};
use wire_nfs::v4::callback::sequence;
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::{CbOp, Nfsstat4};
use wire_rpc::{accepted_success, garbage_args};
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::host::Host;

/// Answers for a host, once there is one. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Callbacks {
    host: Arc<OnceLock<Weak<Host>>>,
}

impl Callbacks {
    /// Answers for this host from now on.
    pub(crate) fn serve(&self, host: &Arc<Host>) {
        drop(self.host.set(Arc::downgrade(host)));
    }

    /// A CB_COMPOUND of CB_SEQUENCE and one operation.
    fn reply(&self, xid: u32, args: &mut Reader) -> Result<Writer, XdrError> {
        CbCompoundHeader::decode(args)?;
        let malformed = || XdrError::Invalid { field: "CB_COMPOUND" };
        if decode_cb_op(args)? != Ok(CbOp::Sequence) {
            return Err(malformed());
        }
        let asked = sequence::Args::decode(args)?;
        let op = decode_cb_op(args)?.map_err(|_| malformed())?;
        let status = self.answer(op, args)?;
        let sequenced = sequence::ResOk {
            session: asked.session,
            sequenceid: asked.sequenceid,
            slotid: asked.slotid,
            highest_slotid: asked.highest_slotid,
            target_highest_slotid: asked.highest_slotid,
        };
        let mut reply = accepted_success(xid);
        reply.u32(status.as_u32());
        reply.opaque(&Bytes::new());
        reply.u32(2);
        reply.u32(CbOp::Sequence.as_u32());
        reply.u32(Nfsstat4::Ok.as_u32());
        sequenced.encode(&mut reply);
        reply.u32(op.as_u32());
        reply.u32(status.as_u32());
        Ok(reply)
    }

    fn answer(&self, op: CbOp, args: &mut Reader) -> Result<Nfsstat4, XdrError> {
        if op != CbOp::Layoutrecall {
            return Ok(Nfsstat4::Notsupp);
        }
        let Args { iomode, scope, .. } = Args::decode(args)?;
        let host = self.host.get().and_then(Weak::upgrade);
        Ok(match (host, scope) {
            (Some(host), RecallScope::File(file)) => recall(&host, iomode, &file),
            // Servers of ours recall files, one by one.
            (_, RecallScope::Fsid(_) | RecallScope::All) | (None, _) => Nfsstat4::NomatchingLayout,
        })
    }
}

impl Service for Callbacks {
    fn call(&self, mut call: Call, _: &Connection) -> BoxFuture<'static, Answer> {
        let xid = call.header.xid;
        let reply = self.reply(xid, &mut call.args).unwrap_or_else(|_| garbage_args(xid));
        Box::pin(async move { Answer::Reply(reply) })
    }
}

/// `initiate_file_draining`. A recall that overtakes the answer to a LAYOUTGET gets DELAY.
fn recall(host: &Arc<Host>, iomode: Iomode, file: &RecallFile) -> Nfsstat4 {
    let Some(inode) = host.known(&file.filehandle) else { return Nfsstat4::NomatchingLayout };
    let mut layouts = inode.layouts.lock();
    let Some(held) = layouts.stateid() else { return Nfsstat4::NomatchingLayout };
    if held.other != file.stateid.other {
        return Nfsstat4::BadStateid;
    }
    if inode.getting.try_lock().is_err() || held.next().seqid < file.stateid.seqid {
        host.count("recall delayed");
        return Nfsstat4::Delay;
    }
    if file.stateid.seqid <= held.seqid {
        return Nfsstat4::OldStateid;
    }
    layouts.recalled(file.stateid);
    host.count("recalled");
    tokio::spawn(Arc::clone(host).give_back(Arc::clone(&inode), iomode));
    Nfsstat4::Ok
}
