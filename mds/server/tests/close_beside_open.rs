//! A CLOSE with a successful reply ends the open, also while an OPEN of the same owner is under
//! way.
//!
//! Spec: RFC 8881 §9.10, §18.2; docs/adr/0004-close-is-not-waited-for.md.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use bytes::Bytes;
use futures_util::join;
use rig::{Client, Rig};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{close, getfh, open, putfh, putrootfh, sequence};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{Fattr4, Filehandle, Nfsstat4, Op, Stateid};

/// The CLOSE comes while the log has the OPEN's entry and flushes it.
const ROUNDS: u32 = 100;

fn open_by(client: &Client, claim: Claim, how: OpenHow) -> open::Args {
    open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny: share::DENY_NONE,
        owner: StateOwner { clientid: client.clientid, owner: Bytes::from_static(b"owner") },
        how,
        claim,
    }
}

/// Sends a compound on a slot of its own.
async fn on_slot(
    client: &Client,
    slotid: u32,
    sequenceid: u32,
    write: impl FnOnce(&mut rig::Ops<'_>),
) -> rig::Reply {
    let session = client.session;
    let args = sequence::Args { session, sequenceid, slotid, highest_slotid: 2, cache_this: true };
    let mut reply = client
        .send(2, |c| {
            c.op(Op::Sequence, &args);
            write(c);
        })
        .await;
    let _: sequence::ResOk = reply.next(Op::Sequence);
    reply
}

async fn created(client: &mut Client) -> (Filehandle, Stateid) {
    let how = OpenHow::Create(CreateHow::Unchecked(Fattr4::default()));
    let args = open_by(client, Claim::Null(Bytes::from_static(b"f")), how);
    let made = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Open, &args);
        c.op(Op::Getfh, &getfh::Args);
    });
    let mut reply = made.await.ok(3);
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    let opened: open::ResOk = reply.next(Op::Open);
    let at: getfh::ResOk = reply.next(Op::Getfh);
    (at.filehandle, opened.stateid)
}

/// QUIRK(linux): to a client whose CLOSE succeeded, an OPEN that joins the closed open has
/// overtaken others, for which it waits five seconds.
#[tokio::test]
async fn a_close_beside_an_open_of_the_same_owner_is_carried_out_or_refused() {
    let rig = Rig::start().await;
    let mut client = rig.client(b"beside").await;
    let (filehandle, mut held) = created(&mut client).await;
    let put = putfh::Args { filehandle };
    let opens = open_by(&client, Claim::Filehandle, OpenHow::NoCreate);
    for round in 1..=ROUNDS {
        let closes = close::Args { seqid: 0, open_stateid: held };
        let open = on_slot(&client, 1, round, |c| {
            c.op(Op::Putfh, &put);
            c.op(Op::Open, &opens);
        });
        let close = on_slot(&client, 2, round, |c| {
            c.op(Op::Putfh, &put);
            c.op(Op::Close, &closes);
        });
        let (opened, closed) = join!(open, close);
        let mut opened = opened.ok(2);
        let _: putfh::ResOk = opened.next(Op::Putfh);
        held = opened.next::<open::ResOk>(Op::Open).stateid;
        match closed.status {
            Nfsstat4::Ok => {
                assert_eq!(held.seqid, 1, "round {round}: the closed open still exists")
            }
            status => assert_eq!((status, held.seqid), (Nfsstat4::OldStateid, closes.open_stateid.seqid + 1)),
        }
    }
}
