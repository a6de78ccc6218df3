//! Replies of LAYOUTGET and LAYOUTRETURN, recalls, and the notice of a lost layout.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use std::sync::Arc;

use bytes::Bytes;
use mds_server::export::Export;
use mds_server::server::Settings;
use rig::callbacks::Callbacks;
use rig::data::{ask_for_layout, data_server, give_back, layout_get, layout_of, open_for, open_through};
use rig::{Client, Rig};
use wire_nfs::flexfiles::{FfLayout, decode_body};
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::{DeviceError, Iomode, LENGTH_TO_END, LayoutUpdate};
use wire_nfs::v4::ops::layoutreturn::{self, ReturnFile, ReturnScope};
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::ops::sequence::status_flags;
use wire_nfs::v4::ops::{free_stateid, layoutcommit, layouterror, layoutget, putfh, setattr, test_stateid};
use wire_nfs::v4::{AttrValues, Fattr4, Filehandle, Nfsstat4, Nfstime4, Op, Stateid};

const EXTENT_BYTES: u64 = 64 << 20;
const RECALL_MS: u64 = 100;
/// Linux checks these two.
const REVOKED: u32 = status_flags::RECALLABLE_STATE_REVOKED | status_flags::EXPIRED_SOME_STATE_REVOKED;

/// The file is in the second export.
async fn rig() -> Rig {
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    let settings = Settings { shards: 1, recall_ms: RECALL_MS, ..Settings::default() };
    Rig::made(vec![Export::any_port(), files], settings, None).await
}

fn shown(got: &layoutget::ResOk) -> FfLayout {
    decode_body(&got.layouts[0].body).expect("it decodes")
}

/// A request that cannot be granted as it is gets nothing: the first grant has the first stateid.
/// Spec: RFC 8881 §18.43.3.
#[tokio::test]
async fn a_layout_is_as_long_as_needed_and_no_larger_than_the_clients_limit() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut client = rig.client(b"bounds").await;
    let file = open_through(&mut client, "files", "file").await;
    let too_long =
        layout_get(&mut client, (&file.0, &file.1), |args| args.min_length = EXTENT_BYTES + 1).await;
    assert_eq!(too_long.err(), Some(Nfsstat4::Badlayout));
    let behind = layout_get(&mut client, (&file.0, &file.1), |args| {
        (args.offset, args.length, args.min_length) = (EXTENT_BYTES - 4096, 8192, 8192);
    });
    assert_eq!(behind.await.err(), Some(Nfsstat4::Badlayout));
    let too_large = layout_get(&mut client, (&file.0, &file.1), |args| args.maxcount = 100).await;
    assert_eq!(too_large.err(), Some(Nfsstat4::Toosmall));
    let got = layout_get(&mut client, (&file.0, &file.1), |args| args.min_length = EXTENT_BYTES)
        .await
        .expect("it fits");
    assert_eq!((got.stateid.seqid, got.layouts[0].length), (1, EXTENT_BYTES));
    // A layout for reading need not reach beyond the end of the file, which is empty.
    let to_read = layout_get(&mut client, (&file.0, &file.1), |args| {
        (args.iomode, args.min_length) = (Iomode::Read, EXTENT_BYTES + 1);
    });
    assert!(to_read.await.is_ok());
}

/// A hostile client requests a layout to write with the stateid of one to read, of a file that it
/// has open for reading only.
/// Spec: RFC 8881 §18.43.3.
#[tokio::test]
async fn a_layout_to_read_buys_none_to_write() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut owner = rig.client(b"owner").await;
    let written = open_through(&mut owner, "files", "file").await;
    layout_of(&mut owner, &written, 0, Iomode::ReadWrite).await;
    let mut client = rig.client(b"hostile").await;
    let file = open_for(&mut client, "files", "file", share::ACCESS_READ).await;
    let to_read = layout_of(&mut client, &file, 0, Iomode::Read).await;
    for shown in [to_read, file.1] {
        let refused = layout_get(&mut client, (&file.0, &shown), |_| {}).await;
        assert_eq!(refused.err(), Some(Nfsstat4::Openmode));
    }
}

/// A layout to read has another user than one to write, and the same group.
/// Origin: pynfs 4.1 FFLA1.
/// Spec: RFC 8435 §2.2, §5.1.
#[tokio::test]
async fn layouts_to_read_and_to_write_differ_in_the_user_only() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut client = rig.client(b"users").await;
    let file = open_through(&mut client, "files", "file").await;
    let mut users = Vec::new();
    for iomode in [Iomode::ReadWrite, Iomode::Read] {
        let got =
            layout_get(&mut client, (&file.0, &file.1), |args| args.iomode = iomode).await.expect("a layout");
        let body = shown(&got);
        let shown = &body.mirrors[0].data_servers[0];
        users.push((shown.user.clone(), shown.group.clone()));
    }
    assert_ne!(users[0].0, users[1].0);
    assert_eq!(users[0].1, users[1].1);
}

/// Linux merges segments with equal handles, and forgets I/O under way through the older one.
/// Origin: `lab fsx --only fsx-neighbours`, kernel 6.12.
/// Spec: docs/formats/ds_handle.md.
#[tokio::test]
async fn two_layouts_to_write_have_different_handles() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut client = rig.client(b"flushes").await;
    let file = open_through(&mut client, "files", "file").await;
    layout_of(&mut client, &file, 0, Iomode::ReadWrite).await;
    for (iomode, equal) in [(Iomode::ReadWrite, false), (Iomode::Read, true)] {
        let mut handles = Vec::new();
        for _ in 0..2 {
            let got = layout_get(&mut client, (&file.0, &file.1), |args| args.iomode = iomode).await;
            let body = shown(&got.expect("a layout"));
            handles.push(body.mirrors[0].data_servers[0].filehandles[0].clone());
        }
        assert_eq!(handles[0] == handles[1], equal, "{iomode:?}");
    }
}

/// A data server that failed a client once is excluded for it for a while. That is no property of
/// the file, and Linux must not stay away from layouts for two minutes.
/// Spec: RFC 8881 §18.43.3.
#[tokio::test]
async fn a_data_server_that_failed_does_not_make_layouts_unavailable() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut client = rig.client(b"failed").await;
    let file = open_through(&mut client, "files", "file").await;
    let got = layout_get(&mut client, (&file.0, &file.1), |_| {}).await.expect("a layout");
    let body = shown(&got);
    let device = body.mirrors[0].data_servers[0].device;
    let error = DeviceError { device, status: Nfsstat4::Io, op: Op::Write.as_u32() };
    let args =
        layouterror::Args { offset: 0, length: LENGTH_TO_END, stateid: got.stateid, errors: vec![error] };
    let told = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: file.0.clone() });
        c.op(Op::Layouterror, &args);
    });
    told.await.ok(2);
    for iomode in [Iomode::ReadWrite, Iomode::Read] {
        let refused = layout_get(&mut client, (&file.0, &file.1), |args| args.iomode = iomode).await;
        assert_eq!(refused.err(), Some(Nfsstat4::Badlayout), "{iomode:?}");
    }
}

fn returned(scope: ReturnScope) -> layoutreturn::Args {
    layoutreturn::Args { reclaim: false, layout_type: LayoutType::FLEX_FILES, iomode: Iomode::Any, scope }
}

/// A return of all layouts needs no filehandle; a return of those of a file system or of a file
/// needs one of it.
/// Spec: RFC 8881 §18.44.1.
#[tokio::test]
async fn all_layouts_are_returned_without_a_filehandle() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let mut client = rig.client(b"all").await;
    let file = open_through(&mut client, "files", "file").await;
    let held = layout_of(&mut client, &file, 0, Iomode::ReadWrite).await;
    let of_one = ReturnFile { offset: 0, length: LENGTH_TO_END, stateid: held, body: Bytes::new() };
    for scope in [ReturnScope::Fsid, ReturnScope::File(of_one)] {
        let args = returned(scope);
        let refused = client.compound(|c| c.op(Op::Layoutreturn, &args)).await;
        assert_eq!(refused.status, Nfsstat4::Nofilehandle);
    }
    // With several exports this does not concern a layout got through another one.
    let args = returned(ReturnScope::Fsid);
    let of_fsid = client.compound(|c| {
        c.op(Op::Putrootfh, &wire_nfs::v4::ops::putrootfh::Args);
        c.op(Op::Layoutreturn, &args);
    });
    of_fsid.await.ok(2);
    let again = layout_of(&mut client, &(file.0.clone(), held), 0, Iomode::ReadWrite).await;
    assert_eq!(again.other, held.other, "it is still there");
    let args = returned(ReturnScope::All);
    client.compound(|c| c.op(Op::Layoutreturn, &args)).await.ok(1);
    assert_eq!(give_back(&mut client, &file.0, again).await.1, Nfsstat4::BadStateid);
}

/// Makes a file a little longer, which recalls the layouts of others.
async fn resize(client: &mut Client, handle: &Filehandle, stateid: Stateid) {
    let attributes = Fattr4::from_values(&AttrValues { size: Some(1), ..AttrValues::default() });
    let cut = setattr::Args { stateid, attributes };
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: handle.clone() });
        c.op(Op::Setattr, &cut);
    });
    reply.await.ok(2);
}

/// A client finds its layout by the handle through which it has the file, in any export.
/// Spec: RFC 8881 §20.3.3.
#[tokio::test]
async fn a_recall_uses_the_handle_that_the_client_knows() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    // The handle is known before the client has a backchannel: handles do not change.
    let mut before = rig.client(b"before").await;
    let (handle, _) = open_through(&mut before, "files", "file").await;
    let callbacks = Callbacks::of_layout(handle.clone());
    let connection = rig.connect().with_service(Arc::new(callbacks.clone()));
    let mut holder = rig.client_on(connection, b"holder").await;
    let file = open_through(&mut holder, "files", "file").await;
    assert_eq!(file.0, handle);
    layout_of(&mut holder, &file, 0, Iomode::ReadWrite).await;
    let (_, open) = open_through(&mut before, "files", "file").await;
    resize(&mut before, &handle, open).await;
    let mut waited = 0;
    while callbacks.found() == 0 {
        waited += 1;
        assert!(waited < 600, "{} came, none of which named it", callbacks.came());
        rig.env.clock.sleep_ms(5).await;
    }
}

/// Flags about lost layouts, as SEQUENCE shows them.
async fn flags(client: &mut Client) -> u32 {
    client.sequence += 1;
    let (flags, reply) = client.flagged(|c| c.op(Op::Putrootfh, &wire_nfs::v4::ops::putrootfh::Args)).await;
    reply.ok(1);
    flags & REVOKED
}

async fn test(client: &mut Client, stateid: Stateid) -> Nfsstat4 {
    let args = test_stateid::Args { stateids: vec![stateid] };
    let mut reply = client.compound(|c| c.op(Op::TestStateid, &args)).await.ok(1);
    let tested: test_stateid::ResOk = reply.next(Op::TestStateid);
    tested.statuses[0]
}

async fn free(client: &mut Client, stateid: Stateid) -> Nfsstat4 {
    client.compound(|c| c.op(Op::FreeStateid, &free_stateid::Args { stateid })).await.status
}

async fn commit(
    client: &mut Client,
    handle: &Filehandle,
    stateid: Stateid,
    time_modify: Option<Nfstime4>,
) -> Nfsstat4 {
    let args = layoutcommit::Args {
        offset: 0,
        length: 4096,
        reclaim: false,
        stateid,
        last_write_offset: Some(4095),
        time_modify,
        update: LayoutUpdate { layout_type: LayoutType::FLEX_FILES, body: Bytes::new() },
    };
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: handle.clone() });
        c.op(Op::Layoutcommit, &args);
    });
    reply.await.status
}

/// A client with this implementation name has lost a layout: it was recalled, and has no
/// backchannel.
async fn lost(rig: &Rig, implementation: &'static str) -> (Client, Filehandle, Stateid) {
    let mut holder = Client::new(rig.connect(), b"holder", 0);
    holder.implementation = Some(implementation);
    let mut holder = rig.introduced(holder).await;
    let mut other = rig.client(b"other").await;
    let file = open_through(&mut holder, "files", "file").await;
    let held = layout_of(&mut holder, &file, 0, Iomode::ReadWrite).await;
    let (_, open) = open_through(&mut other, "files", "file").await;
    resize(&mut other, &file.0, open).await;
    // Until it is revoked a layout is refused.
    let mut waited = 0;
    while ask_for_layout(&mut holder, (&file.0, &file.1), 0, Iomode::ReadWrite).await
        == Err(Nfsstat4::Recallconflict)
    {
        waited += 1;
        assert!(waited < 600, "it is never revoked");
        rig.env.clock.sleep_ms(5).await;
    }
    (holder, file.0, held)
}

/// Spec: RFC 8881 §12.5.5.2, §18.38.3, §18.46.3, §18.48.3.
#[tokio::test]
async fn a_revoked_layout_is_reported_until_it_is_freed() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let (mut holder, handle, held) = lost(&rig, "tester 1.0").await;
    let mut waited = 0;
    // The flag follows the revocation by a moment.
    while flags(&mut holder).await == 0 {
        waited += 1;
        assert!(waited < 600, "no flag");
        rig.env.clock.sleep_ms(5).await;
    }
    assert_eq!(flags(&mut holder).await, status_flags::RECALLABLE_STATE_REVOKED);
    assert_eq!(test(&mut holder, held).await, Nfsstat4::DelegRevoked);
    assert_eq!(give_back(&mut holder, &handle, held).await.1, Nfsstat4::DelegRevoked);
    assert_eq!(flags(&mut holder).await, status_flags::RECALLABLE_STATE_REVOKED, "it has not freed it");
    let asked = ask_for_layout(&mut holder, (&handle, &held), 0, Iomode::ReadWrite).await;
    assert_eq!(asked, Err(Nfsstat4::DelegRevoked), "LAYOUTGET");
    for time in [None, Some(Nfstime4::default())] {
        assert_eq!(commit(&mut holder, &handle, held, time).await, Nfsstat4::DelegRevoked, "{time:?}");
    }
    assert_eq!(free(&mut holder, held).await, Nfsstat4::Ok);
    assert_eq!(flags(&mut holder).await, 0);
    assert_eq!(test(&mut holder, held).await, Nfsstat4::BadStateid);
    assert_eq!(free(&mut holder, held).await, Nfsstat4::BadStateid);
}

/// Linux would drop the layouts of all files, with the LAYOUTCOMMITs it owes for them; and never
/// free the stateid.
#[tokio::test]
async fn a_linux_client_gets_no_revocation_flags() {
    let rig = rig().await;
    let _data_server = data_server(&rig).await;
    let (mut holder, _, held) = lost(&rig, "Linux 7.2.1 #1 SMP x86_64").await;
    assert_eq!(test(&mut holder, held).await, Nfsstat4::BadStateid);
    // Another client would get a flag a moment after the revocation.
    for _ in 0..20 {
        assert_eq!(flags(&mut holder).await, 0);
        rig.env.clock.sleep_ms(5).await;
    }
}
