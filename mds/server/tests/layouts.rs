//! Layouts after their server is gone, at its successor.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use std::sync::Arc;

use env_transport::Server;
use mds_server::export::Export;
use mds_server::server::Settings;
use rig::callbacks::Callbacks;
use rig::data::{ask_for_layout, data_server, give_back, layout_of, open_through, register};
use rig::{Client, Rig};
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::{putfh, sequence::status_flags, setattr};
use wire_nfs::v4::{AttrValues, Fattr4, Filehandle, Nfsstat4, Op, Stateid};

/// A client continues with its layout after a restart, whether for reading or for writing: it can
/// be returned, is valid until then and not afterwards, and no flag reports a revocation.
/// Spec: docs/adr/0002-state-in-raft.md.
#[tokio::test]
async fn layouts_outlive_a_restart() {
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    let mut rig = Rig::with_exports(vec![Export::any_port(), files]).await;
    let _data_server = data_server(&rig).await;
    let mut client = rig.client(b"reader").await;
    let mut held = Vec::new();
    for (iomode, name) in [(Iomode::Read, "read"), (Iomode::ReadWrite, "written")] {
        let (handle, open) = open_through(&mut client, "files", name).await;
        let made = layout_of(&mut client, &(handle.clone(), open), 0, Iomode::ReadWrite).await;
        let (_, status) = give_back(&mut client, &handle, made).await;
        assert_eq!(status, Nfsstat4::Ok);
        let stateid = layout_of(&mut client, &(handle.clone(), open), 0, iomode).await;
        held.push((name, handle, stateid));
    }
    rig.restart().await;
    for (name, handle, stateid) in held {
        let (flags, status) = give_back(&mut client, &handle, stateid).await;
        assert_eq!(status, Nfsstat4::Ok, "{name}");
        let revoked = status_flags::RECALLABLE_STATE_REVOKED | status_flags::RESTART_RECLAIM_NEEDED;
        assert_eq!(flags & revoked, 0, "{name}");
        assert_eq!(give_back(&mut client, &handle, stateid).await.1, Nfsstat4::BadStateid, "{name}");
    }
}

/// A client that repeatedly returns a layout before it answers the recall can be called any number
/// of times.
/// Spec: RFC 8881 §2.10.6.1, §12.5.5.2.
#[tokio::test]
async fn a_layout_returned_before_its_recall_is_answered_costs_no_slot() {
    // More than the slots of a backchannel.
    const ROUNDS: u32 = 20;
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    let rig = Rig::with_exports(vec![Export::any_port(), files]).await;
    let _data_server = data_server(&rig).await;
    let callbacks = Callbacks::new();
    let connection = rig.connect().with_service(Arc::new(callbacks.clone()));
    let mut holder = rig.client_on(connection, b"holder").await;
    let mut other = rig.client(b"other").await;
    let file = open_through(&mut holder, "files", "file").await;
    let (_, others_open) = open_through(&mut other, "files", "file").await;
    for round in 1..=ROUNDS {
        let held = ask(&mut holder, &file).await.expect("it has none");
        resize(&mut other, &file.0, others_open, round).await;
        let mut waited = 0;
        while callbacks.came() < round {
            waited += 1;
            assert!(waited < 600, "round {round}: the holder is not called");
            rig.env.clock.sleep_ms(5).await;
        }
        assert_eq!(give_back(&mut holder, &file.0, held).await.1, Nfsstat4::Ok);
        callbacks.answer_one();
    }
}

/// A client holds a file's layout for writing, another one has set the file's size: the layout is
/// recalled. The first has no backchannel.
struct Recalled {
    rig: Rig,
    _data_server: Server,
    holder: Client,
    file: (Filehandle, Stateid),
    held: Stateid,
}

async fn recalled(recall_ms: u64) -> Recalled {
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    let settings = Settings { shards: 1, recall_ms, ..Settings::default() };
    let rig = Rig::made(vec![Export::any_port(), files], settings, None).await;
    let _data_server = data_server(&rig).await;
    let (mut holder, mut other) = (rig.client(b"holder").await, rig.client(b"other").await);
    let (handle, open) = open_through(&mut holder, "files", "file").await;
    let held = layout_of(&mut holder, &(handle.clone(), open), 0, Iomode::ReadWrite).await;
    let (_, others_open) = open_through(&mut other, "files", "file").await;
    resize(&mut other, &handle, others_open, 1).await;
    Recalled { rig, _data_server, holder, file: (handle, open), held }
}

/// Makes a file a little longer, which recalls layouts as a cut does, without work for data
/// servers, which this one cannot do.
async fn resize(client: &mut Client, filehandle: &Filehandle, stateid: Stateid, size_bytes: u32) {
    let size = Some(u64::from(size_bytes));
    let attributes = Fattr4::from_values(&AttrValues { size, ..AttrValues::default() });
    let cut = setattr::Args { stateid, attributes };
    let reply = client
        .compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: filehandle.clone() });
            c.op(Op::Setattr, &cut);
        })
        .await;
    assert_eq!(reply.status, Nfsstat4::Ok);
}

async fn ask(holder: &mut Client, (handle, open): &(Filehandle, Stateid)) -> Result<Stateid, Nfsstat4> {
    ask_for_layout(holder, (handle, open), 0, Iomode::ReadWrite).await
}

/// A recall whose server died before it reached the client is resumed by the next server, when the
/// client requests a layout: otherwise it would be refused for ever, and Linux would retry for
/// ever. This client never returns it: it is revoked.
/// Spec: RFC 8881 §12.5.5.2, §18.43.3.
#[tokio::test]
async fn a_recall_is_resumed_after_a_restart() {
    let Recalled { mut rig, mut holder, file, _data_server, .. } = recalled(100).await;
    assert_eq!(ask(&mut holder, &file).await, Err(Nfsstat4::Recallconflict));
    rig.restart().await;
    register(&rig).await;
    let mut refused = 0;
    // Then it holds none any more. Long before the data server's lease ends, which would refuse it,
    // too.
    while ask(&mut holder, &file).await == Err(Nfsstat4::Recallconflict) {
        refused += 1;
        assert!(refused < 60, "the recall is not resumed");
        rig.env.clock.sleep_ms(20).await;
    }
}

/// A client that returns a recalled layout, though it got no recall, keeps its next layout.
/// Spec: RFC 8881 §12.5.5.2.1.
#[tokio::test]
async fn the_next_layout_of_a_client_is_not_revoked() {
    const RECALL_MS: u64 = 150;
    let Recalled { rig, mut holder, file, held, _data_server } = recalled(RECALL_MS).await;
    let (_, status) = give_back(&mut holder, &file.0, held).await;
    assert_eq!(status, Nfsstat4::Ok);
    let next = ask(&mut holder, &file).await.expect("it has none");
    rig.env.clock.sleep_ms(3 * RECALL_MS).await;
    let (flags, status) = give_back(&mut holder, &file.0, next).await;
    assert_eq!((flags & status_flags::RECALLABLE_STATE_REVOKED, status), (0, Nfsstat4::Ok));
}
