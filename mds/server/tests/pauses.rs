//! A metadata server whose process is paused for a while.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::os::OsClock;
use env::{BoxFuture, Clock};
use mds_server::export::Export;
use rig::data::{data_server_holding, layout_of, open_through};
use rig::{Client, Rig};
use wire_nfs::control::extent::ExtentSize;
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::{putfh, read};
use wire_nfs::v4::{Filehandle, Nfsstat4, Op, Stateid};

/// A clock whose process is paused when a test wants it.
struct Stoppable {
    clock: OsClock,
    stopped_ns: AtomicU64,
}

impl Clock for Stoppable {
    fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns() + self.stopped_ns.load(Ordering::SeqCst)
    }

    fn awake_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    fn wall_ns(&self) -> u64 {
        self.clock.wall_ns()
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        self.clock.sleep_ms(ms)
    }
}

async fn read_status(client: &mut Client, filehandle: &Filehandle) -> Nfsstat4 {
    let args = read::Args { stateid: Stateid::ANONYMOUS, offset: 0, count: 4096 };
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: filehandle.clone() });
        c.op(Op::Read, &args);
    });
    reply.await.status
}

/// Its data servers and clients could not renew their leases meanwhile. None of them counts as lost
/// for that: a READ is answered DELAY.
#[tokio::test]
async fn a_metadata_server_that_was_stopped_answers_no_error() {
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    let mut rig = Rig::with_exports(vec![Export::any_port(), files]).await;
    let clock = Arc::new(Stoppable { clock: OsClock::new(), stopped_ns: AtomicU64::new(0) });
    rig.env.clock = clock.clone();
    rig.restart().await;
    let written = ExtentSize { end_bytes: 71_680, held_bytes: 71_680, change: 3, mtime_unix_ns: 1, epoch: 0 };
    let holds = rig::data::Holds::default();
    let _data_server = data_server_holding(&rig, holds.clone()).await;
    let mut client = rig.client(b"reader").await;
    let opened = open_through(&mut client, "files", "file").await;
    layout_of(&mut client, &opened, 0, Iomode::ReadWrite).await;
    *holds.lock() = written;
    for stop_s in [25, 75] {
        clock.stopped_ns.fetch_add(stop_s * 1_000_000_000, Ordering::SeqCst);
        // The data server of this rig has no bytes: it counts as unreachable.
        assert_eq!(read_status(&mut client, &opened.0).await, Nfsstat4::Delay, "{stop_s} s");
    }
}
