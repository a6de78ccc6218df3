//! Any operation at all: for fuzzers, traces, and tests of one codec after another.
//!
//! Servers and clients do not come through here: they know which operation they read.
//!
//! Spec: RFC 8881 §16.2.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::{
    access, allocate, backchannel_ctl, bind_conn_to_session, close, commit, create, create_session,
    deallocate, delegreturn, destroy_clientid, destroy_session, exchange_id, free_stateid, getattr,
    getdeviceinfo, getfh, getxattr, layoutcommit, layouterror, layoutget, layoutreturn, layoutstats, link,
    listxattrs, lock, lockt, locku, lookup, lookupp, nverify, open, open_downgrade, putfh, putpubfh,
    putrootfh, read, readdir, readlink, reclaim_complete, remove, removexattr, rename, restorefh, savefh,
    secinfo, secinfo_no_name, seek, sequence, setattr, setxattr, test_stateid, verify, write,
};
use crate::v4::Op;

macro_rules! any_operation {
    ($(#[$meta:meta])* $name:ident, $body:ident, $($op:ident $module:ident,)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is the operation of the same name in `Op`, which is documented")]
        pub enum $name {
            $($op($module::$body),)*
        }

        impl $name {
            /// Every operation that has a codec.
            pub const OPS: &'static [Op] = &[$(Op::$op),*];

            /// Reads what belongs to this operation; `None` if it has no codec.
            ///
            /// # Errors
            /// Those of the operation's codec.
            pub fn decode(op: Op, r: &mut Reader) -> Result<Option<Self>, XdrError> {
                match op {
                    $(Op::$op => $module::$body::decode(r).map(|body| Some(Self::$op(body))),)*
                    _ => Ok(None),
                }
            }

            /// Which operation it is.
            #[must_use]
            pub fn op(&self) -> Op {
                match self {
                    $(Self::$op(_) => Op::$op,)*
                }
            }
        }

        impl Encode for $name {
            fn encode(&self, w: &mut Writer) {
                match self {
                    $(Self::$op(body) => body.encode(w),)*
                }
            }
        }
    };
}

macro_rules! every_operation {
    ($(#[$meta:meta])* $name:ident, $body:ident) => {
        any_operation! {
            $(#[$meta])* $name, $body,
            Access access,
            Allocate allocate,
            BackchannelCtl backchannel_ctl,
            BindConnToSession bind_conn_to_session,
            Close close,
            Commit commit,
            Create create,
            CreateSession create_session,
            Deallocate deallocate,
            Delegreturn delegreturn,
            DestroyClientid destroy_clientid,
            DestroySession destroy_session,
            ExchangeId exchange_id,
            FreeStateid free_stateid,
            Getattr getattr,
            Getdeviceinfo getdeviceinfo,
            Getfh getfh,
            Getxattr getxattr,
            Layoutcommit layoutcommit,
            Layouterror layouterror,
            Layoutget layoutget,
            Layoutreturn layoutreturn,
            Layoutstats layoutstats,
            Link link,
            Listxattrs listxattrs,
            Lock lock,
            Lockt lockt,
            Locku locku,
            Lookup lookup,
            Lookupp lookupp,
            Nverify nverify,
            Open open,
            OpenDowngrade open_downgrade,
            Putfh putfh,
            Putpubfh putpubfh,
            Putrootfh putrootfh,
            Read read,
            Readdir readdir,
            Readlink readlink,
            ReclaimComplete reclaim_complete,
            Remove remove,
            Removexattr removexattr,
            Rename rename,
            Restorefh restorefh,
            Savefh savefh,
            Secinfo secinfo,
            SecinfoNoName secinfo_no_name,
            Seek seek,
            Sequence sequence,
            Setattr setattr,
            Setxattr setxattr,
            TestStateid test_stateid,
            Verify verify,
            Write write,
        }
    };
}

every_operation! {
    /// The arguments of some operation.
    AnyArgs, Args
}

every_operation! {
    /// The result of some operation that went well.
    AnyResOk, ResOk
}

/// Reads the arguments of the operation with this number; `None` if it is no operation, or one
/// without a codec.
///
/// # Errors
/// Those of the operation's codec.
pub fn decode_any(op: u32, r: &mut Reader) -> Result<Option<AnyArgs>, XdrError> {
    match Op::from_u32(op) {
        Some(op) => AnyArgs::decode(op, r),
        None => Ok(None),
    }
}
