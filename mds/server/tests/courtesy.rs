//! A client's state outlives its lease until another client wants it.
//!
//! Spec: RFC 8881 §8.4.2.4.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use bytes::Bytes;
use mds_server::server::Settings;
use rig::{Client, Rig};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{getfh, lock, lockt, lookup, open, putfh, putrootfh};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{Fattr4, Filehandle, Nfsstat4, Op, Stateid};

const LEASE_MS: u64 = 500;
const ROOT: putrootfh::Args = putrootfh::Args;

async fn rig(courtesy_ms: u64) -> Rig {
    Rig::with_settings(Settings { lease_ms: LEASE_MS, courtesy_ms, shards: 1, ..Settings::default() }).await
}

/// Lets a lease run out, and the server notice it.
async fn silence(rig: &Rig) {
    rig.env.clock.sleep_ms(LEASE_MS + 2_500).await;
}

fn owner(client: &Client) -> StateOwner {
    StateOwner { clientid: client.clientid, owner: Bytes::from_static(b"owner") }
}

async fn open(
    client: &mut Client,
    share_deny: u32,
    how: OpenHow,
) -> (Nfsstat4, Option<(Filehandle, Stateid)>) {
    let args = open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny,
        owner: owner(client),
        how,
        claim: Claim::Null(Bytes::from_static(b"file")),
    };
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &ROOT);
            c.op(Op::Open, &args);
            c.op(Op::Getfh, &getfh::Args);
        })
        .await;
    if reply.status != Nfsstat4::Ok {
        return (reply.status, None);
    }
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    let opened: open::ResOk = reply.next(Op::Open);
    let file: getfh::ResOk = reply.next(Op::Getfh);
    (Nfsstat4::Ok, Some((file.filehandle, opened.stateid)))
}

async fn made(client: &mut Client, share_deny: u32) -> (Filehandle, Stateid) {
    open(client, share_deny, OpenHow::Create(CreateHow::Unchecked(Fattr4::default())))
        .await
        .1
        .expect("it opens")
}

async fn lock(
    client: &mut Client,
    (filehandle, open_stateid): (Filehandle, Stateid),
    offset: u64,
) -> Nfsstat4 {
    let owner = owner(client);
    let locker = lock::Locker::New { open_seqid: 0, open_stateid, lock_seqid: 0, owner };
    let args = lock::Args { lock_type: lock::LockType::Write, reclaim: false, offset, length: 10, locker };
    let reply = client
        .compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle });
            c.op(Op::Lock, &args);
        })
        .await;
    reply.status
}

async fn looks(client: &mut Client) -> Nfsstat4 {
    let reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &ROOT);
            c.op(Op::Lookup, &lookup::Args { name: Bytes::from_static(b"file") });
        })
        .await;
    reply.status
}

#[tokio::test]
async fn a_client_that_returns_has_its_locks_unless_another_wanted_them() {
    let mut rig = rig(60_000).await;
    let mut away = rig.client(b"away").await;
    let file = made(&mut away, share::DENY_NONE).await;
    assert_eq!(lock(&mut away, file.clone(), 0).await, Nfsstat4::Ok);
    silence(&rig).await;
    // Another client opens the file and locks a range without a conflict.
    let mut other = rig.client(b"other").await;
    let same = made(&mut other, share::DENY_NONE).await;
    assert_eq!(lock(&mut other, same.clone(), 100).await, Nfsstat4::Ok);
    // The client returns, on its old session, and still has its lock.
    assert_eq!(looks(&mut away).await, Nfsstat4::Ok);
    let ask = lockt::Args { lock_type: lock::LockType::Write, offset: 0, length: 10, owner: owner(&other) };
    let filehandle = same.0.clone();
    let held = other
        .compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle });
            c.op(Op::Lockt, &ask);
        })
        .await;
    assert_eq!(held.status, Nfsstat4::Denied);
    // Silent again; now another client wants its range.
    silence(&rig).await;
    let mut third = rig.client(b"third").await;
    let same = made(&mut third, share::DENY_NONE).await;
    assert_eq!(lock(&mut third, same, 5).await, Nfsstat4::Ok);
    assert_eq!(looks(&mut away).await, Nfsstat4::Badsession);
    // The client without a conflict still exists.
    assert_eq!(looks(&mut other).await, Nfsstat4::Ok);
    rig.server.take().expect("it runs").stop().await;
}

#[tokio::test]
async fn a_share_reservation_gives_way_to_an_open() {
    let mut rig = rig(60_000).await;
    let mut away = rig.client(b"away").await;
    made(&mut away, share::DENY_BOTH).await;
    let mut other = rig.client(b"other").await;
    assert_eq!(open(&mut other, share::DENY_NONE, OpenHow::NoCreate).await.0, Nfsstat4::ShareDenied);
    silence(&rig).await;
    let mut other = rig.client(b"third").await;
    assert_eq!(open(&mut other, share::DENY_NONE, OpenHow::NoCreate).await.0, Nfsstat4::Ok);
    assert_eq!(looks(&mut away).await, Nfsstat4::Badsession);
    rig.server.take().expect("it runs").stop().await;
}

#[tokio::test]
async fn courtesy_ends_by_itself() {
    for courtesy_ms in [0, 300] {
        let mut rig = rig(courtesy_ms).await;
        let mut away = rig.client(b"away").await;
        made(&mut away, share::DENY_BOTH).await;
        silence(&rig).await;
        assert_eq!(looks(&mut away).await, Nfsstat4::Badsession);
        rig.server.take().expect("it runs").stop().await;
    }
}

/// Another principal gets the owner name of a client that only courtesy keeps.
/// Spec: RFC 8881 §18.35.4, case 3.
#[tokio::test]
async fn the_name_of_a_client_whose_lease_ran_out_is_free() {
    let mut rig = rig(60_000).await;
    let mut away = rig.client(b"away").await;
    made(&mut away, share::DENY_NONE).await;
    silence(&rig).await;
    let taker = rig.introduced(Client::new(rig.connect(), b"away", 5)).await;
    assert_ne!(taker.clientid, away.clientid);
    assert_eq!(looks(&mut away).await, Nfsstat4::Badsession);
    rig.server.take().expect("it runs").stop().await;
}

/// A client without state is not kept.
#[tokio::test]
async fn a_client_without_state_ends_with_its_lease() {
    let mut rig = rig(60_000).await;
    let mut away = rig.client(b"away").await;
    silence(&rig).await;
    assert_eq!(looks(&mut away).await, Nfsstat4::Badsession);
    rig.server.take().expect("it runs").stop().await;
}
