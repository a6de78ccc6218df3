//! Clients lock ranges of files that they share, hold them for a while, and release them.

use wire_nfs::v4::ops::lock::{LockType, Locker};
use wire_nfs::v4::ops::{lock, locku};
use wire_nfs::v4::{Nfsstat4, Op, Stateid};

use super::compound::Operations;
use super::content::Opened;
use super::opens::owner;
use super::session::{Called, Client};
use crate::chance::Chance;
use crate::check::locks::Hold;

/// Bytes of a file that are locked.
const BYTES: u64 = 8;

/// A file whose locks a client takes.
pub(crate) struct Lockable {
    pub(crate) number: usize,
    pub(crate) file: Opened,
    stateid: Option<Stateid>,
}

impl Lockable {
    pub(crate) fn new(number: usize, file: Opened) -> Self {
        Self { number, file, stateid: None }
    }
}

/// Takes a lock, holds it, lets go. Says whether the file may be used on.
pub(crate) async fn act(client: &Client, chance: &mut Chance, on: &mut Lockable) -> bool {
    let from_byte = chance.below(BYTES);
    let to_byte = chance.between(from_byte + 1, BYTES + 1);
    let exclusive = chance.percent(70);
    let lock_type = if exclusive { LockType::Write } else { LockType::Read };
    let locker = match on.stateid {
        Some(lock_stateid) => Locker::Existing { lock_stateid, lock_seqid: 0 },
        None => Locker::New {
            open_seqid: 0,
            open_stateid: on.file.stateid,
            lock_seqid: 0,
            owner: owner(client, "locker"),
        },
    };
    let (offset, length) = (from_byte, to_byte - from_byte);
    let args = lock::Args { lock_type, reclaim: false, offset, length, locker };
    let Called::Reply(mut reply) = client.call(Operations::at(&on.file.handle).then(Op::Lock, &args)).await
    else {
        client.record.count("locks: unknown");
        // Whether or not it is held: it is released.
        return on.stateid.is_some() && release(client, on).await;
    };
    let from_ns = client.now_ns();
    let granted = reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<lock::ResOk>(Op::Lock));
    let stateid = match granted {
        Ok(granted) => granted.lock_stateid,
        Err(status) => {
            client.record.count(format!("locks: {}", status.name()));
            return matches!(status, Nfsstat4::Denied | Nfsstat4::Delay);
        }
    };
    on.stateid = Some(Stateid { seqid: 0, ..stateid });
    client.record.count("locks: granted");
    let (number, file) = (client.number, on.number);
    let hold = Hold { client: number, file, from_byte, to_byte, exclusive, from_ns, until_ns: None };
    let at = {
        let mut record = client.record.lock();
        record.holds.push(hold);
        record.holds.len() - 1
    };
    client.env.clock.sleep_ms(chance.between(20, 400)).await;
    client.record.lock().holds[at].until_ns = Some(client.now_ns());
    release(client, on).await
}

async fn release(client: &Client, on: &mut Lockable) -> bool {
    let Some(lock_stateid) = on.stateid else { return false };
    let args = locku::Args { lock_type: LockType::Write, seqid: 0, lock_stateid, offset: 0, length: BYTES };
    for _ in 0..10 {
        let called = client.call(Operations::at(&on.file.handle).then(Op::Locku, &args)).await;
        let Called::Reply(mut reply) = called else { continue };
        match reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<locku::ResOk>(Op::Locku)) {
            Ok(_) => return true,
            Err(Nfsstat4::Delay) => client.pause(100).await,
            Err(status) => {
                client.record.count(format!("locks: unlock {}", status.name()));
                return false;
            }
        }
    }
    false
}
