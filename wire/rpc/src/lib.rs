//! ONC RPC, version 2, over a byte stream: records, call and reply headers, credentials.
//!
//! Sans-io: [`RecordAssembler`] says how many bytes it wants and hands out whole records, [`parse`]
//! turns a record into a header and a [`Reader`](wire_xdr::Reader) over the arguments or results,
//! [`call`](fn@call) and the functions of [`reply`] write headers that the caller continues.
//! Nothing here knows a program, a socket or time; RPCSEC_GSS credentials are carried as bytes and
//! not understood.
//!
//! INVARIANT: no input panics; a single-fragment record is handed out as one `Bytes` that its
//! payload was read into.
//! Spec: RFC 5531.

#![forbid(unsafe_code)]

mod call;
mod credential;
mod limits;
mod message;
mod record;
pub mod reply;
mod version;

pub use call::{CallHeader, call};
pub use credential::{AuthStat, AuthSys, Credential, OpaqueAuth, auth_flavor};
pub use limits::{AUTH_BODY_BYTES_MAX, GIDS_MAX, MACHINE_NAME_BYTES_MAX, READ_AHEAD_BYTES};
pub use message::{Message, ParseError, parse};
pub use record::{RecordAssembler, RecordError, mark, mark_bytes};
pub use reply::{
    ReplyHeader, ReplyStatus, accepted_success, auth_error, garbage_args, proc_unavail, prog_mismatch,
    prog_unavail, rpc_mismatch, system_err,
};
pub use version::RPC_VERSION;
