//! A request whose reply is lost with its server, resent on the same session to its successor.
//!
//! Spec: docs/protocol/sessions.md.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use bytes::Bytes;
use mds_server::export::Export;
use rig::{Client, Ops, Rig};
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::sequence::status_flags;
use wire_nfs::v4::ops::write::StableHow;
use wire_nfs::v4::ops::{
    bind_conn_to_session, close, getfh, link, lock, lookup, open, putfh, putrootfh, read, remove, rename,
    savefh, setattr, write,
};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{Fattr4, Filehandle, Nfsstat4, Op, Stateid};

const ROOT: putrootfh::Args = putrootfh::Args;

/// The same on one shard and on several.
macro_rules! on_one_and_several {
    ($($name:ident),+) => {
        mod one_shard {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Rig::start().await).await;
            })+
        }
        mod several_shards {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Rig::with(vec![super::Export::any_port()], 5).await).await;
            })+
        }
    };
}

on_one_and_several!(
    names_are_changed_once,
    each_operation_of_a_compound_is_executed_once,
    files_are_opened_and_locked_once,
    a_name_that_leads_elsewhere_by_now_is_not_opened_again,
    bytes_are_written_once,
    a_file_is_closed_once,
    a_false_retry_is_known_after_a_restart,
    a_session_outlives_its_server
);

fn bytes(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn mkdir(c: &mut Ops<'_>, name: &'static str) {
    c.op(Op::Putrootfh, &ROOT);
    let args =
        create::Args { object: ObjectType::Directory, name: bytes(name), attributes: Fattr4::default() };
    c.op(Op::Create, &args);
}

fn remove(c: &mut Ops<'_>, name: &'static str) {
    c.op(Op::Putrootfh, &ROOT);
    c.op(Op::Remove, &remove::Args { name: bytes(name) });
}

fn open_file(client: &Client, name: &'static str) -> open::Args {
    open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny: 0,
        owner: StateOwner { clientid: client.clientid, owner: bytes("opener") },
        how: OpenHow::Create(CreateHow::Guarded(Fattr4::default())),
        claim: Claim::Null(bytes(name)),
    }
}

/// Sends a compound, restarts the server as if its reply had been lost, sends it again: the reply
/// is the same.
async fn lost(rig: &mut Rig, client: &mut Client, write: impl Fn(&mut Ops<'_>)) -> rig::Reply {
    let mut first = client.compound(&write).await;
    let (status, count, body) = (first.status, first.count, first.reader.rest());
    rig.restart().await;
    let mut second = client.again(&write).await;
    assert_eq!((second.status, second.count, second.reader.rest()), (status, count, body.clone()));
    // And once more: now it is in the new server's own reply cache.
    let third = client.again(&write).await;
    assert_eq!((third.status, third.count), (status, count));
    client.again(&write).await
}

async fn names_are_changed_once(mut rig: Rig) {
    let mut client = rig.client(b"once").await;
    lost(&mut rig, &mut client, |c| mkdir(c, "a")).await.ok(2);
    let exists = client.compound(|c| mkdir(c, "a")).await;
    assert_eq!(exists.status, Nfsstat4::Exist, "a new request does run");
    let refused = lost(&mut rig, &mut client, |c| mkdir(c, "a")).await;
    assert_eq!(refused.status, Nfsstat4::Exist);
    lost(&mut rig, &mut client, |c| {
        c.op(Op::Putrootfh, &ROOT);
        c.op(Op::Savefh, &savefh::Args);
        c.op(Op::Rename, &rename::Args { old_name: bytes("a"), new_name: bytes("b") });
    })
    .await
    .ok(3);
    lost(&mut rig, &mut client, |c| remove(c, "b")).await.ok(2);
    let gone = client.compound(|c| remove(c, "b")).await;
    assert_eq!(gone.status, Nfsstat4::Noent);
    // A refusal stays one, though the name exists by then.
    let mut other = rig.client(b"other").await;
    let first = client.compound(|c| remove(c, "c")).await;
    assert_eq!(first.status, Nfsstat4::Noent);
    other.compound(|c| mkdir(c, "c")).await.ok(2);
    rig.restart().await;
    assert_eq!(client.again(|c| remove(c, "c")).await.status, Nfsstat4::Noent);
    client.compound(|c| remove(c, "c")).await.ok(2);
}

/// Two operations of one compound that change state, each once.
async fn each_operation_of_a_compound_is_executed_once(mut rig: Rig) {
    let mut client = rig.client(b"two").await;
    let both = |c: &mut Ops<'_>| {
        mkdir(c, "a");
        mkdir(c, "b");
    };
    lost(&mut rig, &mut client, both).await.ok(4);
    // The second is refused; the first is not undone, nor done again.
    let half = |c: &mut Ops<'_>| {
        remove(c, "a");
        mkdir(c, "b");
        mkdir(c, "never");
    };
    let reply = lost(&mut rig, &mut client, half).await;
    assert_eq!((reply.status, reply.count), (Nfsstat4::Exist, 5));
    let never = client
        .compound(|c| {
            c.op(Op::Putrootfh, &ROOT);
            c.op(Op::Lookup, &lookup::Args { name: bytes("never") });
        })
        .await;
    assert_eq!(never.status, Nfsstat4::Noent);
}

async fn opened(rig: &mut Rig, client: &mut Client, name: &'static str) -> (Filehandle, Stateid) {
    let args = open_file(client, name);
    let mut reply = lost(rig, client, |c| {
        c.op(Op::Putrootfh, &ROOT);
        c.op(Op::Open, &args);
        c.op(Op::Getfh, &getfh::Args);
    })
    .await
    .ok(3);
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    let open: open::ResOk = reply.next(Op::Open);
    let file: getfh::ResOk = reply.next(Op::Getfh);
    (file.filehandle, open.stateid)
}

async fn files_are_opened_and_locked_once(mut rig: Rig) {
    let mut client = rig.client(b"locks").await;
    let (filehandle, stateid) = opened(&mut rig, &mut client, "f").await;
    let put = putfh::Args { filehandle };
    let guarded = open_file(&client, "f");
    let exists = client
        .compound(|c| {
            c.op(Op::Putrootfh, &ROOT);
            c.op(Op::Open, &guarded);
        })
        .await;
    assert_eq!(exists.status, Nfsstat4::Exist, "a new request does run");
    let owner = StateOwner { clientid: client.clientid, owner: bytes("locker") };
    let locks = lock::Args {
        lock_type: lock::LockType::Write,
        reclaim: false,
        offset: 0,
        length: 10,
        locker: lock::Locker::New { open_seqid: 0, open_stateid: stateid, lock_seqid: 0, owner },
    };
    let mut reply = lost(&mut rig, &mut client, |c| {
        c.op(Op::Putfh, &put);
        c.op(Op::Lock, &locks);
    })
    .await
    .ok(2);
    let _: putfh::ResOk = reply.next(Op::Putfh);
    let locked: lock::ResOk = reply.next(Op::Lock);
    assert_eq!(locked.lock_stateid.seqid, 1, "locked once");
}

/// The shard of an OPEN depends on its name's inode, and another client may have changed that.
async fn a_name_that_leads_elsewhere_by_now_is_not_opened_again(mut rig: Rig) {
    let mut client = rig.client(b"opens").await;
    let mut other = rig.client(b"other").await;
    let open = |args: &open::Args| {
        let args = args.clone();
        move |c: &mut Ops<'_>| {
            c.op(Op::Putrootfh, &ROOT);
            c.op(Op::Open, &args);
            c.op(Op::Getfh, &getfh::Args);
        }
    };
    // It led to a file in the directory's shard, and leads to a directory in another.
    for name in ["a", "b", "c", "d"] {
        let opens = open(&open_file(&client, name));
        let body = client.compound(&opens).await.ok(3).reader.rest();
        other.compound(|c| remove(c, name)).await.ok(2);
        other.compound(|c| mkdir(c, name)).await.ok(2);
        rig.restart().await;
        assert_eq!(client.again(&opens).await.ok(3).reader.rest(), body, "{name}");
    }
    // It led to a file in another shard, and leads to one in the directory's.
    for (directory, name) in [("a", "e"), ("b", "f"), ("c", "g"), ("d", "h")] {
        let made = open_file(&other, name);
        other
            .compound(|c| {
                c.op(Op::Putrootfh, &ROOT);
                c.op(Op::Lookup, &lookup::Args { name: bytes(directory) });
                c.op(Op::Open, &made);
                c.op(Op::Putrootfh, &ROOT);
                c.op(Op::Lookup, &lookup::Args { name: bytes(directory) });
                c.op(Op::Savefh, &savefh::Args);
                c.op(Op::Putrootfh, &ROOT);
                c.op(Op::Rename, &rename::Args { old_name: bytes(name), new_name: bytes(name) });
            })
            .await
            .ok(8);
        let opens = open(&open::Args { how: OpenHow::NoCreate, ..open_file(&client, name) });
        let handle = |mut reply: rig::Reply| {
            let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
            let opened: open::ResOk = reply.next(Op::Open);
            let got: getfh::ResOk = reply.next(Op::Getfh);
            (opened.stateid, got.filehandle)
        };
        let first = handle(client.compound(&opens).await.ok(3));
        other.compound(|c| remove(c, name)).await.ok(2);
        other
            .compound(|c| {
                c.op(Op::Putrootfh, &ROOT);
                c.op(Op::Open, &made);
            })
            .await
            .ok(2);
        rig.restart().await;
        assert_eq!(handle(client.again(&opens).await.ok(3)), first, "{name}");
    }
}

/// A resent request does not overwrite another client's later bytes.
async fn bytes_are_written_once(mut rig: Rig) {
    let mut client = rig.client(b"writes").await;
    let (filehandle, stateid) = opened(&mut rig, &mut client, "f").await;
    let put = putfh::Args { filehandle };
    let writes = write::Args { stateid, offset: 0, stable: StableHow::FileSync, data: bytes("one") };
    let one = |c: &mut Ops<'_>| {
        c.op(Op::Putfh, &put);
        c.op(Op::Write, &writes);
    };
    lost(&mut rig, &mut client, one).await.ok(2);
    client.compound(one).await.ok(2);
    let mut other = rig.client(b"other").await;
    let over = write::Args { stateid: Stateid::ANONYMOUS, data: bytes("two"), ..writes.clone() };
    other
        .compound(|c| {
            c.op(Op::Putfh, &put);
            c.op(Op::Write, &over);
        })
        .await
        .ok(2);
    rig.restart().await;
    client.again(one).await.ok(2);
    let reads = read::Args { stateid, offset: 0, count: 10 };
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putfh, &put);
            c.op(Op::Read, &reads);
        })
        .await
        .ok(2);
    let _: putfh::ResOk = reply.next(Op::Putfh);
    let found: read::ResOk = reply.next(Op::Read);
    assert_eq!(found.data, bytes("two"));
}

/// SETATTR, LINK, and CLOSE, whose open is gone when it is resent.
async fn a_file_is_closed_once(mut rig: Rig) {
    let mut client = rig.client(b"state").await;
    let (filehandle, stateid) = opened(&mut rig, &mut client, "f").await;
    let put = putfh::Args { filehandle };
    lost(&mut rig, &mut client, |c| {
        c.op(Op::Putfh, &put);
        c.op(Op::Setattr, &setattr::Args { stateid, attributes: Fattr4::default() });
    })
    .await
    .ok(2);
    lost(&mut rig, &mut client, |c| {
        c.op(Op::Putfh, &put);
        c.op(Op::Savefh, &savefh::Args);
        c.op(Op::Putrootfh, &ROOT);
        c.op(Op::Link, &link::Args { name: bytes("g") });
    })
    .await
    .ok(4);
    let closes = close::Args { seqid: 0, open_stateid: stateid };
    let close = |c: &mut Ops<'_>| {
        c.op(Op::Putfh, &put);
        c.op(Op::Close, &closes);
    };
    lost(&mut rig, &mut client, close).await.ok(2);
    assert_eq!(client.compound(close).await.status, Nfsstat4::BadStateid);
}

/// Another request under the sequence of an executed one is no retry, and runs nothing.
/// Spec: RFC 8881 §2.10.6.1.3.1.
async fn a_false_retry_is_known_after_a_restart(mut rig: Rig) {
    let mut client = rig.client(b"false").await;
    client.compound(|c| mkdir(c, "a")).await.ok(2);
    rig.restart().await;
    assert_eq!(client.again(|c| mkdir(c, "b")).await.status, Nfsstat4::SeqFalseRetry);
    client.compound(|c| mkdir(c, "b")).await.ok(2);
}

/// A session exists after a restart, wherever its slots are; the state of its backchannel's slots
/// is unknown.
/// Spec: RFC 8881 §2.10.13, §18.34.
async fn a_session_outlives_its_server(mut rig: Rig) {
    let mut client = rig.client(b"survivor").await;
    let session = client.session;
    for _ in 0..5 {
        // None of these is in the log.
        client.compound(|c| c.op(Op::Putrootfh, &ROOT)).await.ok(1);
    }
    rig.restart().await;
    client.sequence += 1;
    let (flags, reply) = client.flagged(|c| c.op(Op::Putrootfh, &ROOT)).await;
    reply.ok(1);
    let down = status_flags::CB_PATH_DOWN | status_flags::CB_PATH_DOWN_SESSION;
    assert_eq!(flags, down | status_flags::BACKCHANNEL_FAULT);
    rig.restart().await;
    let bind = bind_conn_to_session::Args {
        session,
        direction: bind_conn_to_session::DirectionAsked::BackOrBoth,
        rdma_mode: false,
    };
    assert_eq!(client.bare(|c| c.op(Op::BindConnToSession, &bind)).await.status, Nfsstat4::Ok);
    client.sequence += 1;
    let (flags, reply) = client.flagged(|c| c.op(Op::Putrootfh, &ROOT)).await;
    reply.ok(1);
    assert_eq!(flags, status_flags::BACKCHANNEL_FAULT, "the state of its slots is unknown");
    // A retry of CREATE_SESSION returns the same session.
    rig.restart().await;
    client.create_sequence -= 1;
    assert_eq!(client.create_session().await.session, session);
    client.sequence = 100;
    client.compound(|c| mkdir(c, "a")).await.ok(2);
    assert_eq!(client.destroy_session().await, Nfsstat4::Ok);
    rig.restart().await;
    assert_eq!(client.compound(|c| mkdir(c, "b")).await.status, Nfsstat4::Badsession);
    assert_eq!(client.destroy_session().await, Nfsstat4::Badsession);
}
