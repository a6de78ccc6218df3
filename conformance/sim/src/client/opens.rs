//! Files that are closed and opened again.
//!
//! QUIRK(linux): the first OPEN after a CLOSE must give a stateid with the sequence 1. With another
//! one a client waits five seconds for the answers that seem to be missing. So a CLOSE that was
//! answered must not be lost.

use bytes::Bytes;
use wire_nfs::v4::ops::open::{Claim, OpenHow, share};
use wire_nfs::v4::ops::{close, open};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{Filehandle, Op, Stateid};

use super::compound::Operations;
use super::session::{Called, Client};
use crate::chance::Chance;

/// How often a file is opened again at most.
const AGAIN_MAX: u64 = 3;

/// Closes a file that this client's owner for names has open once, and perhaps opens it again.
/// No other task knows it as that owner's.
pub(crate) async fn close(client: &Client, chance: &mut Chance, handle: &Filehandle, stateid: Stateid) {
    let (mut stateid, mut left) = (stateid, chance.below(AGAIN_MAX));
    loop {
        let clientid = client.clientid();
        let args = close::Args { seqid: 0, open_stateid: stateid };
        let Called::Reply(mut closed) = client.call(Operations::at(handle).then(Op::Close, &args)).await
        else {
            return;
        };
        if closed.skip(&[Op::Putfh, Op::Close]).is_err() || left == 0 {
            return;
        }
        let args = open::Args {
            seqid: 0,
            share_access: share::ACCESS_BOTH,
            share_deny: share::DENY_NONE,
            owner: owner(client, "names"),
            how: OpenHow::NoCreate,
            claim: Claim::Filehandle,
        };
        let Called::Reply(mut reply) = client.call(Operations::at(handle).then(Op::Open, &args)).await else {
            return;
        };
        let opened = reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<open::ResOk>(Op::Open));
        let Ok(opened) = opened else { return };
        client.record.count("opens: again");
        if opened.stateid.seqid != 1 && client.clientid() == clientid {
            client.record.broken(format!(
                "client {}: a file that was closed and opened again has the stateid {:?}",
                client.number, opened.stateid
            ));
        }
        (stateid, left) = (opened.stateid, left - 1);
    }
}

/// An open owner of this client.
pub(crate) fn owner(client: &Client, name: &str) -> StateOwner {
    StateOwner { clientid: client.clientid(), owner: Bytes::from(format!("{name} {}", client.number)) }
}
