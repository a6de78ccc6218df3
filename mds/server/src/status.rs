//! From a refusal to a status on the wire: one total function for each kind of refusal.
//!
//! Spec: RFC 8881 §15.1.

use mds_namespace::FsError;
use mds_raft::ProposeError;
use mds_state::Refusal;
use wire_nfs::v4::Nfsstat4;

/// The status of a refusal by the namespace.
#[must_use]
pub(crate) fn of_namespace(error: &FsError) -> Nfsstat4 {
    match error {
        FsError::NotFound => Nfsstat4::Noent,
        FsError::Exists => Nfsstat4::Exist,
        FsError::NotDirectory => Nfsstat4::Notdir,
        FsError::IsDirectory => Nfsstat4::Isdir,
        FsError::NotEmpty => Nfsstat4::Notempty,
        FsError::AccessDenied => Nfsstat4::Access,
        FsError::NotPermitted => Nfsstat4::Perm,
        FsError::Invalid => Nfsstat4::Inval,
        FsError::BadName => Nfsstat4::Badname,
        FsError::NameTooLong => Nfsstat4::Nametoolong,
        FsError::SymlinkInPath => Nfsstat4::Symlink,
        FsError::WrongKind => Nfsstat4::WrongType,
        FsError::TooLarge => Nfsstat4::Fbig,
        FsError::TooManyLinks => Nfsstat4::Mlink,
        FsError::NoSpace => Nfsstat4::Nospc,
        FsError::Stale => Nfsstat4::Stale,
        FsError::CrossDevice => Nfsstat4::Xdev,
        FsError::ContentMoved | FsError::NoSuchExtent | FsError::Busy => Nfsstat4::Delay,
        FsError::Store(_) => Nfsstat4::Serverfault,
        FsError::Elsewhere => Nfsstat4::Delay,
    }
}

/// The status of a refusal by the state machine.
#[must_use]
pub(crate) fn of_refusal(refusal: &Refusal) -> Nfsstat4 {
    match refusal {
        Refusal::Namespace(error) => of_namespace(error),
        Refusal::StaleClient => Nfsstat4::StaleClientid,
        Refusal::ClientBusy => Nfsstat4::ClientidBusy,
        Refusal::ClientInUse => Nfsstat4::ClidInuse,
        Refusal::NoSuchClient => Nfsstat4::Noent,
        Refusal::NotSame => Nfsstat4::NotSame,
        Refusal::Misordered => Nfsstat4::SeqMisordered,
        Refusal::CompleteAlready => Nfsstat4::CompleteAlready,
        Refusal::ShareDenied => Nfsstat4::ShareDenied,
        Refusal::BadStateid => Nfsstat4::BadStateid,
        Refusal::OldStateid => Nfsstat4::OldStateid,
        Refusal::OpenMode => Nfsstat4::Openmode,
        Refusal::LocksHeld => Nfsstat4::LocksHeld,
        Refusal::LockDenied(_) => Nfsstat4::Denied,
        Refusal::BadRange | Refusal::BadShare | Refusal::BadSession => Nfsstat4::Inval,
        Refusal::UnknownSession | Refusal::NoSuchSession => Nfsstat4::Badsession,
        Refusal::FalseRetry => Nfsstat4::SeqFalseRetry,
        Refusal::NoGrace => Nfsstat4::NoGrace,
        Refusal::Recalled => Nfsstat4::Recallconflict,
        Refusal::Busy
        | Refusal::ContentMoved
        | Refusal::NamesMoved
        | Refusal::NoSuchExtent
        | Refusal::TableFull
        | Refusal::Superseded => Nfsstat4::Delay,
    }
}

/// The status when a command found no majority, or this node does not lead: the client waits and
/// retries.
#[must_use]
pub(crate) fn of_propose(error: &ProposeError) -> Nfsstat4 {
    match error {
        ProposeError::NotLeader { .. }
        | ProposeError::Unavailable
        | ProposeError::Timeout
        | ProposeError::Stopped(_) => Nfsstat4::Delay,
        ProposeError::TooLong => Nfsstat4::ReqTooBig,
    }
}
