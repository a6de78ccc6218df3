//! Clients and users without rights: their requests are refused before other clients notice.

mod rig;

use std::sync::Arc;

use bytes::Bytes;
use mds_server::export::Export;
use rig::callbacks::Callbacks;
use rig::data::{ask_for_layout, data_server, layout_get, layout_of, open_for, open_through};
use rig::{Client, Reply, Rig};
use wire_nfs::flexfiles::{FfLayout, decode_body};
use wire_nfs::v4::layout::{DeviceError, Iomode, LENGTH_TO_END};

use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{layouterror, lookup, open, putfh, putrootfh, read, setattr};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, DeviceId, Fattr4, Filehandle, Nfsstat4, Op, Stateid};

async fn rig() -> Rig {
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    Rig::with_exports(vec![Export::any_port(), files]).await
}

async fn user(rig: &Rig, uid: u32, owner: &'static [u8]) -> Client {
    rig.introduced(Client::new(rig.connect(), owner, uid)).await
}

async fn set(client: &mut Client, at: &Filehandle, stateid: Stateid, values: AttrValues) -> Nfsstat4 {
    let args = setattr::Args { stateid, attributes: Fattr4::from_values(&values) };
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: at.clone() });
        c.op(Op::Setattr, &args);
    });
    reply.await.status
}

async fn set_mode(client: &mut Client, at: &Filehandle, mode: u32) {
    let mode = AttrValues { mode: Some(mode), ..AttrValues::default() };
    assert_eq!(set(client, at, Stateid::ANONYMOUS, mode).await, Nfsstat4::Ok);
}

async fn report(
    client: &mut Client,
    at: &Filehandle,
    stateid: Stateid,
    (device, status): (DeviceId, Nfsstat4),
) {
    let error = DeviceError { device, status, op: Op::Write.as_u32() };
    let args = layouterror::Args { offset: 0, length: LENGTH_TO_END, stateid, errors: vec![error] };
    let told = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: at.clone() });
        c.op(Op::Layouterror, &args);
    });
    told.await.ok(2);
}

/// Opens and empties a file of `/files`.
async fn open_and_cut(client: &mut Client, file: &'static str) -> Reply {
    let nothing = AttrValues { size: Some(0), ..AttrValues::default() };
    let args = open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny: share::DENY_NONE,
        owner: StateOwner { clientid: client.clientid, owner: Bytes::from_static(b"cuts") },
        how: OpenHow::Create(CreateHow::Unchecked(Fattr4::from_values(&nothing))),
        claim: Claim::Null(Bytes::from_static(file.as_bytes())),
    };
    let reply = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Lookup, &lookup::Args { name: Bytes::from_static(b"files") });
        c.op(Op::Open, &args);
    });
    reply.await
}

async fn read_through(client: &mut Client, (at, stateid): &(Filehandle, Stateid)) -> Nfsstat4 {
    let args = read::Args { stateid: *stateid, offset: 0, count: 10 };
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: at.clone() });
        c.op(Op::Read, &args);
    });
    reply.await.status
}

/// A report counts only for the client that shows the layout. A report of any client that marked a
/// data server as full stopped all writes of a cluster.
/// Spec: RFC 7862 §15.6; RFC 8435 §9.1.
#[tokio::test]
async fn a_report_counts_for_its_holder_alone() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut owner = user(&rig, 0, b"owner").await;
    let file = open_through(&mut owner, "files", "file").await;
    let got = layout_get(&mut owner, (&file.0, &file.1), |_| {}).await.expect("a layout");
    let body: FfLayout = decode_body(&got.layouts[0].body).expect("it decodes");
    let device = body.mirrors[0].data_servers[0].device;
    let mut stranger = user(&rig, 1000, b"stranger").await;
    for stateid in [Stateid::ANONYMOUS, got.stateid] {
        for status in [Nfsstat4::Nospc, Nfsstat4::Nxio] {
            report(&mut stranger, &file.0, stateid, (device, status)).await;
        }
    }
    let other = open_through(&mut owner, "files", "other").await;
    layout_of(&mut owner, &other, 0, Iomode::ReadWrite).await;
    let own = open_through(&mut stranger, "files", "file").await;
    let held = layout_of(&mut stranger, &own, 0, Iomode::ReadWrite).await;
    report(&mut stranger, &own.0, held, (device, Nfsstat4::Nospc)).await;
    let refused = ask_for_layout(&mut stranger, (&own.0, &own.1), 0, Iomode::ReadWrite).await;
    assert_eq!(refused.err(), Some(Nfsstat4::Nospc), "its report counts");
    layout_of(&mut owner, &other, 0, Iomode::ReadWrite).await;
}

/// A client that may not cut a file causes no recall: permission is checked first.
#[tokio::test]
async fn a_refused_request_recalls_nothing() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let callbacks = Callbacks::new();
    let connection = rig.connect().with_service(Arc::new(callbacks.clone()));
    let mut owner = rig.client_on(connection, b"owner").await;
    let file = open_through(&mut owner, "files", "file").await;
    layout_of(&mut owner, &file, 0, Iomode::ReadWrite).await;
    set_mode(&mut owner, &file.0, 0o644).await;
    let mut stranger = user(&rig, 1000, b"stranger").await;
    let cut = AttrValues { size: Some(0), ..AttrValues::default() };
    assert_eq!(set(&mut stranger, &file.0, Stateid::ANONYMOUS, cut.clone()).await, Nfsstat4::Access);
    assert_eq!(open_and_cut(&mut stranger, "file").await.status, Nfsstat4::Access);
    rig.env.clock.sleep_ms(200).await;
    assert_eq!(callbacks.came(), 0);
    set_mode(&mut owner, &file.0, 0o666).await;
    // It is recalled when it may be cut, without a wait.
    let cutting = set(&mut stranger, &file.0, Stateid::ANONYMOUS, cut);
    let recalled = async {
        while callbacks.came() == 0 {
            rig.env.clock.sleep_ms(5).await;
        }
    };
    let (cut, ()) = tokio::join!(cutting, recalled);
    assert!([Nfsstat4::Ok, Nfsstat4::Delay].contains(&cut), "{cut:?}");
}

/// A file that is open for writing alone may be read through that open if its mode allows it, and
/// not otherwise.
/// Spec: RFC 8881 §18.22.3.
#[tokio::test]
async fn an_open_for_writing_alone_reads_only_with_permission() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut owner = user(&rig, 0, b"owner").await;
    let made = open_through(&mut owner, "files", "file").await;
    layout_of(&mut owner, &made, 0, Iomode::ReadWrite).await;
    set_mode(&mut owner, &made.0, 0o622).await;
    let mut writer = user(&rig, 1000, b"writer").await;
    let open = open_for(&mut writer, "files", "file", share::ACCESS_WRITE).await;
    assert_eq!(read_through(&mut writer, &open).await, Nfsstat4::Access);
    let refused = ask_for_layout(&mut writer, (&open.0, &open.1), 0, Iomode::Read).await;
    assert_eq!(refused.err(), Some(Nfsstat4::Layoutunavailable));
    set_mode(&mut owner, &made.0, 0o666).await;
    assert_ne!(read_through(&mut writer, &open).await, Nfsstat4::Access);
    layout_of(&mut writer, &open, 0, Iomode::Read).await;
}
