//! CLOSE: ends an open.
//!
//! With one replica it is answered once its command is queued in the log, before the flush: an open
//! that comes back after a power failure is the client's until it opens again or its lease ends
//! (docs/adr/0004-close-is-not-waited-for.md). While an OPEN of the file is under way, which may
//! move the stateid, CLOSE waits for its own outcome (`opening`). With several replicas it waits
//! for the commit (docs/adr/0012-close-is-waited-for-by-replicas.md).
//!
//! QUIRK(linux): a client that closed a file and opens it again takes a stateid with a sequence
//! other than 1 for one of several replies out of order, and waits five seconds for the others,
//! with its slot. So an answered CLOSE must not be lost with its leader.
//!
//! Spec: RFC 8881 §18.2. Locks under the open go with it, as the RFC allows and Linux expects.

use mds_state::command::open::Close;
use mds_state::{Command, Outcome};
use wire_nfs::v4::ops::close::{Args, ResOk};
use wire_nfs::v4::{Nfsstat4, Stateid};

use crate::context::{Context, OpResult};
use crate::status;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let client = cx.client()?;
    let stateid = cx.resolve(args.open_stateid)?;
    if let Some(outcome) = cx.recorded()? {
        answered(&outcome)?;
    } else {
        let is_waited_for = cx.server.shards.is_replicated() || cx.server.opening.is_under_way(handle.ino);
        cx.view()?.open(client, handle.ino, stateid).map_err(|e| status::of_refusal(&e))?;
        let close = Command::Close(Close { client, ino: handle.ino, stateid });
        if is_waited_for {
            cx.propose(close).await?;
        } else {
            cx.propose_behind(close).await?;
        }
    }
    cx.current_stateid = None;
    // RFC 8881 §18.2.4: the returned stateid should be one that is never valid.
    Ok(ResOk { open_stateid: Stateid::INVALID })
}

/// The reply to a CLOSE with this recorded outcome: the client has no reply yet.
fn answered(outcome: &Outcome) -> Result<(), Nfsstat4> {
    match outcome {
        Outcome::Refused(refusal) => Err(status::of_refusal(refusal)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use mds_state::{Refusal, StateidValue};

    use super::*;

    /// Spec: docs/protocol/sessions.md §2.
    #[test]
    fn a_refusal_stays_one() {
        // Another OPEN of the owner came between the check and the command.
        assert_eq!(answered(&Outcome::Refused(Refusal::OldStateid)), Err(Nfsstat4::OldStateid));
        assert_eq!(answered(&Outcome::Stateid(StateidValue { seqid: 2, other: [7; 12] })), Ok(()));
    }
}
