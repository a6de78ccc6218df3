//! Restricted exports reach the data servers: older handles are refused there, whatever the client
//! did with its layout.
//!
//! The client is hostile: it answers no recall, keeps handles of layouts that it returned, and goes
//! straight to the data server.
//!
//! Spec: docs/protocol/admin.md §8.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use bytes::Bytes;
use client::admin::AdminControl;
use client::control::ControlError;
use mds_server::export::entry::entry;
use mds_server::export::{Export, Squash};
use mds_server::server::Settings;
use rig::data::{give_back, key, layout_get, open_through};
use rig::whole::WholeDataServer;
use rig::{Client, Rig};
use wire_nfs::control::Refusal;
use wire_nfs::control::exports::{ExportsRuling, SetExports};
use wire_nfs::flexfiles::{FfLayout, decode_body};
use wire_nfs::v3::{Fh3, Nfsstat3};
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::{Filehandle, Nfsstat4, Stateid};

const RECALL_MS: u64 = 100;

fn at(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::any_port() }
}

fn read_only(path: &str) -> Export {
    Export { read_only: true, ..at(path) }
}

/// A metadata server and a whole data server.
struct Bed {
    rig: Rig,
    data_server: WholeDataServer,
}

impl Bed {
    async fn new(exports: Vec<Export>, recall_ms: u64, shards: u32) -> Self {
        let settings = Settings { shards, recall_ms, hot_copies: 1, ..Settings::default() };
        let rig = Rig::made(exports, settings, None).await;
        let data_server = WholeDataServer::start(&rig).await;
        Self { rig, data_server }
    }

    async fn set(&self, exports: &[Export]) -> ExportsRuling {
        let asked = SetExports { replaces: None, exports: exports.iter().map(entry).collect() };
        let control = vec![self.rig.server.as_ref().expect("it runs").control_address()];
        let control = AdminControl::new(&self.rig.env, control, key());
        loop {
            match control.set_exports(&asked).await {
                Ok(ruling) => return ruling,
                Err(ControlError::Refused(Refusal::Busy | Refusal::NotLeader { .. })) => {
                    self.rig.env.clock.sleep_ms(20).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A file with a layout of it.
    async fn held(
        &self,
        client: &mut Client,
        export: &'static str,
        name: &'static str,
        iomode: Iomode,
    ) -> Held {
        let file = open_through(client, export, name).await;
        let (layout, handle) = self.layout(client, &file, iomode).await.expect("a layout");
        Held { file, layout, handle }
    }

    /// LAYOUTGET; waits for a data server that has no lease yet.
    async fn layout(
        &self,
        client: &mut Client,
        file: &(Filehandle, Stateid),
        iomode: Iomode,
    ) -> Result<(Stateid, Fh3), Nfsstat4> {
        for _ in 0..600 {
            match layout_once(client, file, iomode).await {
                Err(
                    Nfsstat4::Badlayout
                    | Nfsstat4::Delay
                    | Nfsstat4::Layouttrylater
                    | Nfsstat4::Layoutunavailable
                    | Nfsstat4::Recallconflict,
                ) => {
                    self.rig.env.clock.sleep_ms(20).await;
                }
                got => return got,
            }
        }
        panic!("no layout is granted");
    }

    async fn write(&self, held: &Held) -> Result<(), Nfsstat3> {
        self.data_server.write(&held.handle).await
    }

    async fn read(&self, held: &Held) -> Result<(), Nfsstat3> {
        self.data_server.read(&held.handle).await
    }
}

/// By its epoch, or for its address if the data server has the new list by now.
fn is_refused(done: Result<(), Nfsstat3>) -> bool {
    matches!(done, Err(Nfsstat3::Stale | Nfsstat3::Acces))
}

/// A client's state of a file.
struct Held {
    file: (Filehandle, Stateid),
    layout: Stateid,
    handle: Fh3,
}

async fn layout_once(
    client: &mut Client,
    (handle, stateid): &(Filehandle, Stateid),
    iomode: Iomode,
) -> Result<(Stateid, Fh3), Nfsstat4> {
    let got = layout_get(client, (handle, stateid), |args| args.iomode = iomode).await?;
    let body: FfLayout = decode_body(&got.layouts[0].body).expect("it decodes");
    let shown = &body.mirrors[0].data_servers[0].filehandles[0];
    let handle = Fh3::new(Bytes::copy_from_slice(shown.as_bytes())).expect("64 bytes");
    Ok((got.stateid, handle))
}

/// `read_only` online: older handles for writing are refused, also if the layout was returned; the
/// clients of another export notice nothing.
#[tokio::test]
async fn handles_end_when_an_export_becomes_read_only() {
    for shards in [1, 4] {
        let bed = Bed::new(vec![at("/files"), at("/other")], RECALL_MS, shards).await;
        let (mut hostile, mut other) = (bed.rig.client(b"hostile").await, bed.rig.client(b"other").await);
        let kept = bed.held(&mut hostile, "files", "kept", Iomode::ReadWrite).await;
        let returned = bed.held(&mut hostile, "files", "returned", Iomode::ReadWrite).await;
        let others = bed.held(&mut other, "other", "file", Iomode::ReadWrite).await;
        for held in [&kept, &returned, &others] {
            assert_eq!(bed.write(held).await, Ok(()));
        }
        assert_eq!(give_back(&mut hostile, &returned.file.0, returned.layout).await.1, Nfsstat4::Ok);
        assert_eq!(bed.write(&returned).await, Ok(()), "a handle outlives its layout");

        let ruling = bed.set(&[read_only("/files"), at("/other")]).await;
        assert_eq!(bed.write(&kept).await, Err(Nfsstat3::Stale), "{ruling:?}");
        assert_eq!(bed.write(&returned).await, Err(Nfsstat3::Stale));
        assert!(ruling.done, "{ruling:?}");
        assert!(ruling.words.contains("1 layouts recalled, 2 extents fenced"), "{}", ruling.words);
        assert!(!ruling.words.contains("; data server"), "{}", ruling.words);
        assert_eq!(bed.read(&returned).await, Err(Nfsstat3::Stale));
        assert_eq!(bed.write(&others).await, Ok(()), "another export's client continues");
        let refused = layout_once(&mut hostile, &returned.file, Iomode::ReadWrite).await;
        assert_eq!(refused.err(), Some(Nfsstat4::Layoutunavailable));
        let (layout, handle) = bed.layout(&mut hostile, &returned.file, Iomode::Read).await.expect("to read");
        let again = Held { file: returned.file, layout, handle };
        assert_eq!(bed.read(&again).await, Ok(()), "with a new handle");
        assert_eq!(bed.write(&again).await, Err(Nfsstat3::Acces));
    }
}

/// Handles for reading end too, when the export is removed, when a network is removed from its
/// list, and when users are squashed that were not.
#[tokio::test]
async fn handles_to_read_end_with_the_right_to_read() {
    let elsewhere = || vec!["198.51.100.0/24".parse().unwrap()];
    let lists: [Vec<Export>; 3] = [
        vec![at("/other")],
        vec![Export { clients: elsewhere(), ..at("/files") }, at("/other")],
        vec![Export { squash: Squash::All, ..at("/files") }, at("/other")],
    ];
    for list in lists {
        let bed = Bed::new(vec![at("/files"), at("/other")], RECALL_MS, 1).await;
        let mut hostile = bed.rig.client(b"hostile").await;
        let written = bed.held(&mut hostile, "files", "file", Iomode::ReadWrite).await;
        assert_eq!(bed.write(&written).await, Ok(()));
        assert_eq!(give_back(&mut hostile, &written.file.0, written.layout).await.1, Nfsstat4::Ok);
        let held = bed.held(&mut hostile, "files", "file", Iomode::Read).await;
        assert_eq!(bed.read(&held).await, Ok(()));
        let ruling = bed.set(&list).await;
        assert!(is_refused(bed.read(&held).await), "{ruling:?}");
        assert!(ruling.done && ruling.words.contains("1 extents fenced"), "{ruling:?}");
    }
}

/// A network is removed from an export's list: its clients are refused, and those of the remaining
/// networks continue, with the same file too.
#[tokio::test]
async fn clients_of_a_remaining_network_continue() {
    let (gone, stays) = ("198.51.100.0/24".parse().unwrap(), "203.0.113.0/24".parse().unwrap());
    let of = |clients| vec![Export { clients, ..at("/files") }];
    let mut bed = Bed::new(of(vec![gone, stays]), RECALL_MS, 1).await;
    let (hostiles_address, others_address) = ([198, 51, 100, 7], [203, 0, 113, 7]);
    let connection = |address: [u8; 4]| bed.rig.connect_from(address.into());
    let mut hostile = bed.rig.client_on(connection(hostiles_address), b"hostile").await;
    let mut other = bed.rig.client_on(connection(others_address), b"other").await;
    let hostiles = bed.held(&mut hostile, "files", "file", Iomode::ReadWrite).await;
    let others = bed.held(&mut other, "files", "file", Iomode::ReadWrite).await;
    for (held, from) in [(&hostiles, hostiles_address), (&others, others_address)] {
        bed.data_server.come_from(&bed.rig, [192, 0, 2, 66]);
        assert_eq!(bed.write(held).await, Err(Nfsstat3::Acces), "another host with the handle");
        bed.data_server.come_from(&bed.rig, from);
        assert_eq!(bed.write(held).await, Ok(()));
    }
    let ruling = bed.set(&of(vec![stays])).await;
    bed.data_server.come_from(&bed.rig, hostiles_address);
    assert!(is_refused(bed.write(&hostiles).await), "{ruling:?}");
    bed.data_server.come_from(&bed.rig, others_address);
    assert_eq!(bed.write(&hostiles).await, Err(Nfsstat3::Stale), "an admitted host is refused too");
    assert!(ruling.words.contains("2 layouts recalled, 1 extents fenced"), "{ruling:?}");
    let refused = layout_once(&mut hostile, &hostiles.file, Iomode::ReadWrite).await;
    assert_eq!(refused.err(), Some(Nfsstat4::Access));
    let (layout, handle) = bed.layout(&mut other, &others.file, Iomode::ReadWrite).await.expect("it may");
    assert_eq!(bed.write(&Held { file: others.file, layout, handle }).await, Ok(()));
}

/// A change that adds rights, or none, ends no handle.
#[tokio::test]
async fn handles_outlive_exports_that_allow_more() {
    let narrow = Export { clients: vec!["127.0.0.0/8".parse().unwrap()], ..at("/files") };
    let bed = Bed::new(vec![narrow], RECALL_MS, 1).await;
    let mut client = bed.rig.client(b"client").await;
    let held = bed.held(&mut client, "files", "file", Iomode::ReadWrite).await;
    let ruling = bed.set(&[at("/new"), at("/files")]).await;
    assert!(ruling.done && !ruling.words.contains("fenced"), "{ruling:?}");
    assert_eq!(bed.write(&held).await, Ok(()));
    // And a client that is admitted after its handle was fenced continues with another.
    let ruling =
        bed.set(&[at("/new"), Export { clients: vec!["0.0.0.0/0".parse().unwrap()], ..at("/files") }]).await;
    assert!(ruling.words.contains("1 layouts recalled, 1 extents fenced"), "{ruling:?}");
    assert_eq!(bed.write(&held).await, Err(Nfsstat3::Stale));
    let (layout, handle) = bed.layout(&mut client, &held.file, Iomode::ReadWrite).await.expect("again");
    assert_eq!(bed.write(&Held { file: held.file, layout, handle }).await, Ok(()));
}

/// A single server takes its list from its own file when it starts.
#[tokio::test]
async fn handles_end_when_the_file_was_changed_before_a_restart() {
    let mut bed = Bed::new(vec![at("/files"), at("/other")], RECALL_MS, 1).await;
    let mut hostile = bed.rig.client(b"hostile").await;
    let held = bed.held(&mut hostile, "files", "file", Iomode::ReadWrite).await;
    let others = bed.held(&mut hostile, "other", "file", Iomode::ReadWrite).await;
    bed.rig.exports = vec![at("/other"), read_only("/files")];
    bed.rig.restart().await;
    until_stale(&bed, &held).await;
    assert_eq!(bed.write(&others).await, Ok(()));
}

/// The server dies when the list is in the log and nothing is fenced: the pending fences are in the
/// log as well. Its file has the same list, so the start adds nothing.
#[tokio::test]
async fn a_server_that_takes_over_completes_the_fences() {
    let mut bed = Bed::new(vec![at("/files")], 60_000, 1).await;
    let mut hostile = bed.rig.client(b"hostile").await;
    let held = bed.held(&mut hostile, "files", "file", Iomode::ReadWrite).await;
    assert_eq!(bed.write(&held).await, Ok(()));
    let version = |bed: &Bed| bed.rig.server.as_ref().expect("it runs").status().exports_version;
    let before = version(&bed);
    let is_set = async {
        while version(&bed) == before {
            bed.rig.env.clock.sleep_ms(1).await;
        }
    };
    let list = [read_only("/files")];
    tokio::select! {
        ruling = bed.set(&list) => panic!("the recall was not waited for: {ruling:?}"),
        () = is_set => {}
    }
    assert_eq!(bed.write(&held).await, Ok(()), "it is not fenced yet");
    bed.rig.exports = list.to_vec();
    bed.rig.restart().await;
    assert_eq!(version(&bed), before + 1, "the start has set no list");
    until_stale(&bed, &held).await;
}

async fn until_stale(bed: &Bed, held: &Held) {
    for _ in 0..1_500 {
        match bed.write(held).await {
            Err(Nfsstat3::Stale) => return,
            Ok(()) | Err(Nfsstat3::Jukebox) => bed.rig.env.clock.sleep_ms(20).await,
            Err(status) => panic!("{status:?}"),
        }
    }
    panic!("the handle is still served");
}
