//! Why a call brought no results.

use std::io::ErrorKind;
use std::net::SocketAddr;

use wire_rpc::ReplyStatus;
use wire_xdr::XdrError;

/// Why a call brought no results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection, and none could be made. The call did not run.
    #[error("cannot connect to {addr}: {kind}")]
    Connect {
        /// Where to.
        addr: SocketAddr,
        /// What the network said.
        kind: ErrorKind,
    },
    /// The greeting on a fresh connection was refused. The call did not run.
    #[error("greeting refused: {reason}")]
    Hello {
        /// Told by the greeting.
        reason: String,
    },
    /// No reply in time. The call may have run, or may still.
    #[error("no reply in time")]
    Timeout,
    /// The connection ended before the reply. The call may have run.
    #[error("disconnected")]
    Disconnected,
    /// The server answered that it will not run the call, and why.
    #[error("rejected: {0:?}")]
    Rejected(ReplyStatus),
    /// The reply's results are not what the procedure returns.
    #[error("reply is garbage: {0}")]
    Garbage(#[from] XdrError),
}
