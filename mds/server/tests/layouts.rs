//! Layouts of a server that is gone, at the one that takes its place.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use bytes::Bytes;
use mds_server::export::Export;
use rig::data::{data_server, layout_of, open_through};
use rig::{Client, Rig};
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::{Iomode, LENGTH_TO_END};
use wire_nfs::v4::ops::layoutreturn::{self, ReturnFile, ReturnScope};
use wire_nfs::v4::ops::{putfh, sequence::status_flags};
use wire_nfs::v4::{Filehandle, Nfsstat4, Op, Stateid};

/// Gives back what was got to read; what SEQUENCE says, and the status.
async fn give_back(client: &mut Client, filehandle: &Filehandle, stateid: Stateid) -> (u32, Nfsstat4) {
    let file = ReturnFile { offset: 0, length: LENGTH_TO_END, stateid, body: Bytes::from_static(&[0; 8]) };
    let args = layoutreturn::Args {
        reclaim: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::Any,
        scope: ReturnScope::File(file),
    };
    client.sequence += 1;
    let (flags, reply) = client
        .flagged(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: filehandle.clone() });
            c.op(Op::Layoutreturn, &args);
        })
        .await;
    (flags, reply.status)
}

/// Who has a layout goes on with it behind a restart, whether for reading or for writing: it can be given back, is known until
/// then and not afterwards, and nothing says that any was revoked.
/// Spec: docs/adr/0002-state-in-raft.md.
#[tokio::test]
async fn layouts_outlive_a_restart() {
    let files = Export { path: "/files".to_owned(), ..Export::everything() };
    let mut rig = Rig::with_exports(vec![Export::everything(), files]).await;
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
