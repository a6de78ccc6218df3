//! Data-server handles end with the state they were made for: a metadata server and a whole data
//! server, and a clock that the test advances.
//!
//! The client is hostile: it keeps the handle of each layout and goes straight to the data server.
//!
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §7.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::admin::AdminControl;
use ds_server::limits::HANDLE_FRESH_STEPS;
use env::os::OsClock;
use env::{BoxFuture, Clock};
use layout::handle::ISSUE_UNIT_MS;
use mds_server::export::Export;
use mds_server::server::Settings;
use rig::data::{give_back, key, layout_get, open_for, open_through};
use rig::whole::WholeDataServer;
use rig::{Client, Rig};
use wire_nfs::control::admin::RotationStage;
use wire_nfs::flexfiles::{FfLayout, decode_body};
use wire_nfs::v3::{Fh3, Nfsstat3};
use wire_nfs::v4::attr::{AttrValues, Fattr4};
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::ops::{close, putfh, setattr};
use wire_nfs::v4::{Filehandle, Nfsstat4, Op, Stateid};

/// After so many steps no handle is fresh.
const STEPS: u32 = HANDLE_FRESH_STEPS + 1;

/// A clock that can be advanced, which does not wake sleeping tasks.
struct Moved {
    clock: OsClock,
    ahead_ms: AtomicU64,
}

impl Clock for Moved {
    fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns() + self.ahead_ms.load(Ordering::SeqCst) * 1_000_000
    }

    fn wall_ns(&self) -> u64 {
        self.clock.wall_ns() + self.ahead_ms.load(Ordering::SeqCst) * 1_000_000
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        self.clock.sleep_ms(ms)
    }
}

struct Bed {
    rig: Rig,
    clock: Arc<Moved>,
    data_server: WholeDataServer,
}

/// A client's state of a file.
struct Held {
    file: (Filehandle, Stateid),
    layout: Stateid,
    handle: Fh3,
}

impl Bed {
    async fn new() -> Self {
        let clock = Arc::new(Moved { clock: OsClock::new(), ahead_ms: AtomicU64::new(0) });
        let exports = vec![Export { path: "/files".to_owned(), ..Export::any_port() }];
        let settings = Settings { shards: 1, hot_copies: 1, ..Settings::default() };
        let rig = Rig::made_on(clock.clone(), exports, settings, None).await;
        let data_server = WholeDataServer::start(&rig).await;
        Self { rig, clock, data_server }
    }

    /// Advances the clock until older handles are not fresh; these clients renew their leases.
    async fn grow_old(&self, clients: &mut [&mut Client]) {
        for _ in 0..STEPS {
            self.clock.ahead_ms.fetch_add(ISSUE_UNIT_MS, Ordering::SeqCst);
            for client in &mut *clients {
                assert_eq!(client.compound(|_| {}).await.status, Nfsstat4::Ok);
            }
        }
    }

    async fn held(&self, client: &mut Client, file: (Filehandle, Stateid), iomode: Iomode) -> Held {
        for _ in 0..600 {
            match layout_get(client, (&file.0, &file.1), |args| args.iomode = iomode).await {
                Ok(got) => {
                    let body: FfLayout = decode_body(&got.layouts[0].body).expect("it decodes");
                    let shown = &body.mirrors[0].data_servers[0].filehandles[0];
                    let handle = Fh3::new(Bytes::copy_from_slice(shown.as_bytes())).expect("64 bytes");
                    return Held { file, layout: got.stateid, handle };
                }
                // Waits for a data server that has no lease yet.
                Err(_) => self.rig.env.clock.sleep_ms(20).await,
            }
        }
        panic!("no layout is granted");
    }

    /// Final result. The data server loses its lease when the clock is advanced, and gets another
    /// one soon.
    async fn settled(&self, mut ask: impl AsyncFnMut() -> Result<(), Nfsstat3>) -> Result<(), Nfsstat3> {
        for _ in 0..20 {
            match ask().await {
                Err(Nfsstat3::Jukebox) => {}
                done => return done,
            }
        }
        Err(Nfsstat3::Jukebox)
    }

    async fn write(&self, held: &Held) -> Result<(), Nfsstat3> {
        self.settled(async || self.data_server.write(&held.handle).await).await
    }

    async fn read(&self, held: &Held) -> Result<(), Nfsstat3> {
        self.settled(async || self.data_server.read(&held.handle).await).await
    }
}

async fn close(client: &mut Client, (filehandle, stateid): &(Filehandle, Stateid)) {
    let filehandle = filehandle.clone();
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle });
        c.op(Op::Close, &close::Args { seqid: 0, open_stateid: *stateid });
    });
    assert_eq!(reply.await.status, Nfsstat4::Ok);
}

async fn set_mode(client: &mut Client, filehandle: &Filehandle, mode: u32) {
    let values = AttrValues { mode: Some(mode), ..AttrValues::default() };
    let args = setattr::Args { stateid: Stateid::ANONYMOUS, attributes: Fattr4::from_values(&values) };
    let filehandle = filehandle.clone();
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle });
        c.op(Op::Setattr, &args);
    });
    assert_eq!(reply.await.status, Nfsstat4::Ok);
}

/// LAYOUTRETURN and CLOSE end handles, and a client that keeps to the protocol continues with its
/// handles, also after a restart of the metadata server.
#[tokio::test]
async fn handles_end_with_their_layouts() {
    let mut bed = Bed::new().await;
    let mut client = bed.rig.client(b"client").await;
    let open = open_through(&mut client, "files", "kept").await;
    let kept = bed.held(&mut client, open, Iomode::ReadWrite).await;
    let open = open_through(&mut client, "files", "returned").await;
    let returned = bed.held(&mut client, open, Iomode::ReadWrite).await;
    let open = open_through(&mut client, "files", "closed").await;
    let writing = bed.held(&mut client, open.clone(), Iomode::ReadWrite).await;
    assert_eq!(bed.write(&writing).await, Ok(()));
    let closed = bed.held(&mut client, open, Iomode::Read).await;
    for held in [&kept, &returned] {
        assert_eq!(bed.write(held).await, Ok(()));
    }
    assert_eq!(bed.read(&closed).await, Ok(()));
    assert_eq!(give_back(&mut client, &returned.file.0, returned.layout).await.1, Nfsstat4::Ok);
    close(&mut client, &closed.file).await;
    assert_eq!(bed.write(&returned).await, Ok(()), "it is fresh");

    bed.grow_old(&mut [&mut client]).await;
    assert_eq!(bed.write(&returned).await, Err(Nfsstat3::Stale));
    assert_eq!(bed.read(&returned).await, Err(Nfsstat3::Stale));
    assert_eq!(bed.read(&closed).await, Err(Nfsstat3::Stale), "its layout is held, its open is not");
    assert_eq!(bed.write(&kept).await, Ok(()));
    for _ in 0..15 {
        bed.grow_old(&mut [&mut client]).await;
        assert_eq!(bed.write(&kept).await, Ok(()), "its layout is held");
    }
    bed.rig.restart().await;
    bed.grow_old(&mut [&mut client]).await;
    assert_eq!(bed.write(&kept).await, Ok(()), "held layouts are in the log");
}

/// A silent client keeps its handles until its lease is over, and a minute.
#[tokio::test]
async fn handles_end_with_the_lease_of_their_client() {
    let bed = Bed::new().await;
    let (mut silent, mut other) = (bed.rig.client(b"silent").await, bed.rig.client(b"other").await);
    let open = open_through(&mut silent, "files", "silent").await;
    let lost = bed.held(&mut silent, open, Iomode::ReadWrite).await;
    let open = open_through(&mut other, "files", "other").await;
    let kept = bed.held(&mut other, open, Iomode::ReadWrite).await;
    assert_eq!(bed.write(&lost).await, Ok(()));
    assert_eq!(silent.destroy_session().await, Nfsstat4::Ok);
    let mut refused = 0;
    while refused == 0 {
        bed.grow_old(&mut [&mut other]).await;
        // The metadata server checks leases periodically.
        for _ in 0..100 {
            match bed.write(&lost).await {
                Ok(()) => bed.rig.env.clock.sleep_ms(20).await,
                Err(status) => {
                    assert_eq!(status, Nfsstat3::Stale);
                    refused += 1;
                    break;
                }
            }
        }
        assert_eq!(bed.write(&kept).await, Ok(()));
        assert!(bed.clock.ahead_ms.load(Ordering::SeqCst) < 300_000, "it is valid for ever");
    }
}

/// A grant to write does not read where the user may not, and does where the user may.
#[tokio::test]
async fn a_handle_to_write_reads_only_if_the_client_may_read() {
    let bed = Bed::new().await;
    let mut owner = bed.rig.client(b"owner").await;
    let made = open_through(&mut owner, "files", "file").await;
    let owners = bed.held(&mut owner, made.clone(), Iomode::ReadWrite).await;
    assert_eq!(bed.write(&owners).await, Ok(()));
    assert_eq!(bed.read(&owners).await, Ok(()), "it is open for both");
    set_mode(&mut owner, &made.0, 0o622).await;
    let user = Client::new(bed.rig.connect(), b"writer", 1000);
    let mut writer = bed.rig.introduced(user).await;
    let open = open_for(&mut writer, "files", "file", share::ACCESS_WRITE).await;
    let writers = bed.held(&mut writer, open.clone(), Iomode::ReadWrite).await;
    assert_eq!(bed.write(&writers).await, Ok(()));
    assert_eq!(bed.read(&writers).await, Err(Nfsstat3::Stale));
    set_mode(&mut owner, &made.0, 0o666).await;
    let writers = bed.held(&mut writer, open, Iomode::ReadWrite).await;
    assert_eq!(bed.read(&writers).await, Ok(()));
}

/// With the key replaced, older handles are invalid, and a client continues with new ones.
#[tokio::test]
async fn handles_end_with_their_key() {
    let mut bed = Bed::new().await;
    let mut client = bed.rig.client(b"client").await;
    let open = open_through(&mut client, "files", "file").await;
    let before = bed.held(&mut client, open.clone(), Iomode::ReadWrite).await;
    assert_eq!(bed.write(&before).await, Ok(()));
    let control = bed.rig.server.as_ref().expect("it runs").control_address();
    let admin = AdminControl::new(&bed.rig.env, vec![control], key());
    assert_eq!(admin.rotate_handle_key(None).await.expect("it answers").version, 1);
    let mut rotation = admin.rotate_handle_key(Some(1)).await.expect("it answers");
    while rotation.stage != RotationStage::None {
        // The client gets a recall, and does not answer.
        assert_eq!(client.compound(|_| {}).await.status, Nfsstat4::Ok);
        bed.rig.env.clock.sleep_ms(20).await;
        rotation = admin.rotate_handle_key(None).await.expect("it answers");
    }
    assert_eq!((rotation.version, rotation.key), (3, 1));
    for _ in 0..600 {
        match bed.write(&before).await {
            // Until the data server has the new keys.
            Ok(()) => bed.rig.env.clock.sleep_ms(20).await,
            refused => {
                assert_eq!(refused, Err(Nfsstat3::Stale));
                break;
            }
        }
    }
    assert_eq!(bed.read(&before).await, Err(Nfsstat3::Stale));
    let after = bed.held(&mut client, open, Iomode::ReadWrite).await;
    assert_eq!(bed.write(&after).await, Ok(()));
    assert_eq!(bed.read(&after).await, Ok(()));
    bed.rig.restart().await;
    assert_eq!(bed.write(&after).await, Ok(()));
    let again = bed.held(&mut client, after.file.clone(), Iomode::ReadWrite).await;
    assert_eq!(bed.write(&again).await, Ok(()));
    assert_eq!(bed.write(&before).await, Err(Nfsstat3::Stale), "also after a restart");
}
