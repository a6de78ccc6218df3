//! The table of operations: the needs of each, whether it changes state, and the maximum size of
//! its reply.
//!
//! The compound loop reads rows and has no special cases. An operation that is not served has no
//! row and answers NOTSUPP, which turns the capability off in the client (RFC 8881 §15.1.1.5); the
//! reasons are in `not_served`.
//!
//! Spec: RFC 8881 §16.2, §17.

use futures_util::future::BoxFuture;
use wire_nfs::v4::{Nfsstat4, Op};
use wire_xdr::{Decode, Encode, Reader, Writer};

use crate::context::{Context, OpResult};
use crate::limits::{READDIR_BYTES_MAX, TRANSFER_BYTES_MAX};
use crate::op;

/// Precondition of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// None: it may stand alone, outside of a session.
    Nothing,
    /// A session.
    Session,
    /// A session and a current filehandle.
    Filehandle,
}

/// The code of an operation, with arguments and reply still as bytes.
pub(crate) type Run =
    for<'a> fn(&'a mut Context, &'a mut Reader, &'a mut Writer) -> BoxFuture<'a, OpResult<()>>;

/// A row of the table.
pub(crate) struct Row {
    /// The operation.
    pub(crate) op: Op,
    /// Its precondition.
    pub(crate) needs: Needs,
    /// It changes state: refused before it runs if its reply might not fit.
    pub(crate) mutates: bool,
    /// The largest reply after operation number and status, bytes.
    pub(crate) reply_bytes_max: u32,
    /// Its code.
    pub(crate) run: Run,
}

macro_rules! row {
    ($op:ident, $module:ident, $needs:ident, $effect:ident, $reply_bytes_max:expr) => {
        Row {
            op: Op::$op,
            needs: Needs::$needs,
            mutates: effect!($effect),
            reply_bytes_max: $reply_bytes_max,
            run: {
                fn run<'a>(
                    context: &'a mut Context,
                    arguments: &'a mut Reader,
                    reply: &'a mut Writer,
                ) -> BoxFuture<'a, OpResult<()>> {
                    Box::pin(async move {
                        let arguments = Decode::decode(arguments).map_err(|_| Nfsstat4::Badxdr)?;
                        op::$module::run_op(context, arguments).await?.encode(reply);
                        Ok(())
                    })
                }
                run
            },
        }
    };
}

macro_rules! effect {
    (reads) => {
        false
    };
    (mutates) => {
        true
    };
}

/// Attributes without handle and thresholds stay below this.
const ATTRIBUTES_BYTES_MAX: u32 = 1024;
const STATEID_BYTES: u32 = 16;
const CHANGE_BYTES: u32 = 20;

static ROWS: &[Row] = &[
    row!(Access, access, Filehandle, reads, 8),
    row!(BackchannelCtl, backchannel_ctl, Session, mutates, 0),
    row!(BindConnToSession, bind_conn_to_session, Nothing, mutates, 24),
    row!(Close, close, Filehandle, mutates, STATEID_BYTES),
    row!(Commit, commit, Filehandle, mutates, 8),
    row!(Create, create, Filehandle, mutates, CHANGE_BYTES + 40),
    row!(CreateSession, create_session, Nothing, mutates, 128),
    row!(Delegreturn, delegreturn, Filehandle, mutates, 0),
    row!(DestroyClientid, destroy_clientid, Nothing, mutates, 0),
    row!(DestroySession, destroy_session, Nothing, mutates, 0),
    row!(ExchangeId, exchange_id, Nothing, mutates, 512),
    row!(FreeStateid, free_stateid, Session, mutates, 0),
    row!(Getattr, getattr, Filehandle, reads, ATTRIBUTES_BYTES_MAX),
    row!(Getdeviceinfo, getdeviceinfo, Session, reads, 1024),
    row!(Getfh, getfh, Filehandle, reads, 136),
    row!(Layoutcommit, layoutcommit, Filehandle, mutates, 12),
    row!(Layouterror, layouterror, Filehandle, mutates, 0),
    row!(Layoutget, layoutget, Filehandle, mutates, 1024),
    row!(Layoutreturn, layoutreturn, Session, mutates, 20),
    row!(Layoutstats, layoutstats, Filehandle, reads, 0),
    row!(Link, link, Filehandle, mutates, CHANGE_BYTES),
    row!(Lock, lock, Filehandle, mutates, 1100),
    row!(Lockt, lockt, Filehandle, reads, 1100),
    row!(Locku, locku, Filehandle, mutates, STATEID_BYTES),
    row!(Lookup, lookup, Filehandle, reads, 0),
    row!(Lookupp, lookupp, Filehandle, reads, 0),
    row!(Nverify, nverify, Filehandle, reads, 0),
    row!(Open, open, Filehandle, mutates, 128),
    row!(OpenDowngrade, open_downgrade, Filehandle, mutates, STATEID_BYTES),
    row!(Putfh, putfh, Session, reads, 0),
    row!(Putpubfh, putpubfh, Session, reads, 0),
    row!(Putrootfh, putrootfh, Session, reads, 0),
    row!(Read, read, Filehandle, reads, TRANSFER_BYTES_MAX + 8),
    row!(Readdir, readdir, Filehandle, reads, READDIR_BYTES_MAX),
    row!(Readlink, readlink, Filehandle, reads, 4104),
    row!(ReclaimComplete, reclaim_complete, Session, mutates, 0),
    row!(Remove, remove, Filehandle, mutates, CHANGE_BYTES),
    row!(Rename, rename, Filehandle, mutates, 2 * CHANGE_BYTES),
    row!(Restorefh, restorefh, Session, reads, 0),
    row!(Savefh, savefh, Filehandle, reads, 0),
    row!(Secinfo, secinfo, Filehandle, reads, 32),
    row!(SecinfoNoName, secinfo_no_name, Filehandle, reads, 32),
    row!(Setattr, setattr, Filehandle, mutates, 16),
    row!(TestStateid, test_stateid, Session, reads, 4100),
    row!(Verify, verify, Filehandle, reads, 0),
    row!(Write, write, Filehandle, mutates, 20),
];

/// The row of an operation; `None` for SEQUENCE, which the loop itself runs, and for operations
/// that are not served.
#[must_use]
pub(crate) fn row(op: Op) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.op == op)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_at_most_one_row() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..index].iter().all(|other| other.op != row.op), "{}", row.op.name());
        }
    }
}
