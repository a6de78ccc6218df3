//! LOCK: a byte-range lock, or the conflicting one.
//!
//! A blocking lock in conflict is answered DENIED; Linux retries by itself.
//!
//! Spec: RFC 8881 §18.10, §9.

use mds_state::command::lock::{Conflict, Lock, Locker, Range};
use mds_state::{Command, Outcome, Refusal};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::lock::{Args, Denied, LockType, Locker as WireLocker, ResOk};
use wire_nfs::v4::owner::StateOwner;
use wire_xdr::{Encode, Writer};

use crate::context::{Context, Failure, OpResult};
use crate::{give_way, status};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    if args.reclaim {
        cx.server.metrics.reclaimed("lock");
        // Locks outlive every restart here, so there is never one to reclaim.
        return Err(Nfsstat4::NoGrace.into());
    }
    let locker = match args.locker {
        WireLocker::New { open_stateid, owner, .. } => {
            Locker::New { open: cx.resolve(open_stateid)?, owner: owner.owner.to_vec() }
        }
        WireLocker::Existing { lock_stateid, .. } => Locker::Existing { stateid: cx.resolve(lock_stateid)? },
    };
    let client = cx.client()?;
    let lock = Lock {
        client,
        ino: handle.ino,
        exclusive: args.lock_type.is_write(),
        range: Range { offset_bytes: args.offset, length_bytes: args.length },
        locker,
    };
    give_way::give_way_to_lock(&cx.server, lock.ino, lock.range, lock.exclusive).await;
    match cx.submit(Command::Lock(lock)).await? {
        Outcome::Stateid(stateid) => Ok(ResOk { lock_stateid: cx.put_stateid(stateid) }),
        Outcome::Refused(Refusal::LockDenied(conflict)) => Err(denied(&conflict, client)),
        Outcome::Refused(refusal) => Err(refused(&refusal).into()),
        _ => Err(Nfsstat4::Serverfault.into()),
    }
}

/// Status of a refused LOCK or LOCKU. A full table does not empty by itself: DELAY would make the
/// client retry for ever.
/// QUIRK(linux): no status of version 4 becomes ENOLCK. Of those allowed for LOCK and LOCKU (RFC
/// 8881 §15.2), SERVERFAULT reaches the application at once, as EREMOTEIO.
pub(crate) fn refused(refusal: &Refusal) -> Nfsstat4 {
    match refusal {
        Refusal::TableFull => Nfsstat4::Serverfault,
        refusal => status::of_refusal(refusal),
    }
}

/// DENIED with the conflicting lock. Another client's id is hidden: a host that knows it could
/// create sessions for it.
pub(crate) fn denied(conflict: &Conflict, own: u64) -> Failure {
    let clientid = if conflict.client == own { own } else { 0 };
    let mut body = Writer::new();
    Denied {
        offset: conflict.range.offset_bytes,
        length: conflict.range.length_bytes,
        lock_type: if conflict.exclusive { LockType::Write } else { LockType::Read },
        owner: StateOwner { clientid, owner: conflict.owner.clone().into() },
    }
    .encode(&mut body);
    Failure { status: Nfsstat4::Denied, body: Some(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DELAY would be retried for as long as the application lives.
    #[test]
    fn a_full_table_ends_a_lock() {
        assert_eq!(refused(&Refusal::TableFull), Nfsstat4::Serverfault);
        assert_eq!(refused(&Refusal::Busy), Nfsstat4::Delay);
        assert_eq!(refused(&Refusal::BadRange), Nfsstat4::Inval);
    }
}
