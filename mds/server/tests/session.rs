//! Mounting and sessions, against the real server on a network in memory.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use bytes::Bytes;
use rig::{Client, Rig};
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::{destroy_clientid, exchange_id, getattr, getfh, lookup, putfh, putrootfh, remove};
use wire_nfs::v4::{Bitmap, Fattr4, Nfsstat4, Op};

fn mkdir(name: &'static [u8]) -> create::Args {
    create::Args {
        object: ObjectType::Directory,
        name: Bytes::from_static(name),
        attributes: Fattr4::default(),
    }
}

/// The requests of a Linux client at mount, in its order, each with the reply that it requires.
/// Origin: a captured mount of Linux 6.12.
/// Spec: RFC 8881 §2.10.3, §5.6.
#[tokio::test]
async fn mount_trace_of_a_linux_client() {
    let rig = Rig::start().await;
    let mut client = Client::new(rig.connect(), b"linux", 0);
    let id = client.exchange_id().await;
    assert_eq!(id.flags, exchange_id::flags::USE_PNFS_MDS, "pNFS, and no flag that the client does not know");
    // Trunking discovery sends it twice; an unconfirmed record is replaced (§18.35.5 case 4).
    let again = client.exchange_id().await;
    assert_eq!(again.server_major_id, id.server_major_id);
    let session = client.create_session().await;
    assert!(8 <= session.fore.operations_max && session.fore.response_bytes_max <= 1 << 20);
    let root_asks = Bitmap::of(&[numbers::TYPE, numbers::CHANGE, numbers::SIZE, numbers::FSID]);
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            c.op(Op::Getfh, &getfh::Args);
            c.op(Op::Getattr, &getattr::Args { requested: root_asks });
        })
        .await
        .ok(3);
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    let root: getfh::ResOk = reply.next(Op::Getfh);
    let attributes: getattr::ResOk = reply.next(Op::Getattr);
    assert_eq!(attributes.attributes.mask, root_asks);
    // Unknown attributes are left out, never an error.
    let asked =
        Bitmap::of(&[numbers::MAXREAD, numbers::MAXWRITE, numbers::LEASE_TIME, numbers::FS_LAYOUT_TYPES, 86]);
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: root.filehandle.clone() });
            c.op(Op::Getattr, &getattr::Args { requested: asked });
        })
        .await
        .ok(2);
    let _: putfh::ResOk = reply.next(Op::Putfh);
    let info: getattr::ResOk = reply.next(Op::Getattr);
    let values = info.attributes.to_values().unwrap();
    assert_eq!(
        (values.maxread, values.maxwrite, values.lease_time_s),
        (Some(1 << 20), Some(1 << 20), Some(60))
    );
    assert!(values.fs_layout_types.is_some_and(|types| types.len() == 1));
}

/// A retry with the same slot and sequence gets the cached reply, and nothing runs twice.
/// Origin: pynfs 4.1 SEQ9b.
/// Spec: RFC 8881 §2.10.6.1.
#[tokio::test]
async fn a_retry_is_replayed_and_runs_nothing() {
    let rig = Rig::start().await;
    let mut client = rig.client(b"retry").await;
    let make = |c: &mut rig::Ops<'_>| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Create, &mkdir(b"d"));
    };
    client.compound(make).await.ok(2);
    client.again(make).await.ok(2);
    let again = client.compound(make).await;
    assert_eq!(again.status, Nfsstat4::Exist, "a new request does run");
}

/// Operations that may stand outside of a session, alone, and those that may not.
/// Origin: pynfs 4.1 SEQ10, COMP1, DESCID.
/// Spec: RFC 8881 §2.10.6.3, §15.1.11, §18.46.3.
#[tokio::test]
async fn operations_outside_of_a_session() {
    let rig = Rig::start().await;
    let mut client = rig.client(b"outside").await;
    let status = |reply: rig::Reply| reply.status;
    let root = putrootfh::Args;
    assert_eq!(status(client.bare(|c| c.op(Op::Putrootfh, &root)).await), Nfsstat4::OpNotInSession);
    let args = destroy_clientid::Args { clientid: client.clientid };
    let two = client.bare(|c| {
        c.op(Op::DestroyClientid, &args);
        c.op(Op::Putrootfh, &root);
    });
    assert_eq!(status(two.await), Nfsstat4::NotOnlyOp);
    assert_eq!(status(client.send(0, |c| c.op(Op::Putrootfh, &root)).await), Nfsstat4::MinorVersMismatch);
    assert_eq!(status(client.bare(|c| c.op(Op::DestroyClientid, &args)).await), Nfsstat4::ClientidBusy);
    assert_eq!(client.destroy_session().await, Nfsstat4::Ok);
    assert_eq!(status(client.bare(|c| c.op(Op::DestroyClientid, &args)).await), Nfsstat4::Ok);
}

/// A compound ends at its first failure, with the results up to it.
/// Spec: RFC 8881 §16.2.3.
#[tokio::test]
async fn a_compound_ends_at_the_first_failure() {
    let rig = Rig::start().await;
    let mut client = rig.client(b"ends").await;
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            c.op(Op::Lookup, &lookup::Args { name: Bytes::from_static(b"nothing") });
            c.op(Op::Remove, &remove::Args { name: Bytes::from_static(b"x") });
        })
        .await;
    assert_eq!((reply.status, reply.count), (Nfsstat4::Noent, 3));
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    assert_eq!(reply.next_status(Op::Lookup), Nfsstat4::Noent);
}
