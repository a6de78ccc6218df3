//! Attributes of a file that a client writes straight to data servers.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use mds_server::export::Export;
use rig::data::{Holds, data_server_holding, give_back, layout_of, listen, open_through};
use rig::{Client, Rig};
use wire_nfs::control::extent::ExtentSize;
use wire_nfs::v4::attr::SetTime;
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::{getattr, putfh, setattr};
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Nfstime4, Op, Stateid};

async fn set(client: &mut Client, filehandle: &Filehandle, values: AttrValues) {
    let args = setattr::Args { stateid: Stateid::ANONYMOUS, attributes: Fattr4::from_values(&values) };
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle: filehandle.clone() });
        c.op(Op::Setattr, &args);
    });
    reply.await.ok(2);
}

async fn shown(client: &mut Client, filehandle: &Filehandle) -> AttrValues {
    let requested = Bitmap::of(&[4, 33, 45, 53]);
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: filehandle.clone() });
            c.op(Op::Getattr, &getattr::Args { requested });
        })
        .await;
    let _: putfh::ResOk = reply.next(Op::Putfh);
    let got: getattr::ResOk = reply.next(Op::Getattr);
    got.attributes.to_values().expect("they decode")
}

/// `tar`, `cp -p` and `install` write, set a time, an owner or a mode, and close: all written bytes
/// are there, and the set attributes stay. A later write moves the time again.
/// Origin: `lab shell`, cp-preserves.
#[tokio::test]
async fn a_time_or_mode_set_before_the_close_takes_no_bytes_away() {
    let time = Nfstime4 { seconds: 1_000_000_000, nseconds: 5 };
    let mtime = AttrValues { time_modify_set: Some(SetTime::Client(time)), ..AttrValues::default() };
    let mode = AttrValues { mode: Some(0o4640), ..AttrValues::default() };
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    let rig = Rig::with_exports(vec![Export::any_port(), files]).await;
    let holds = Holds::default();
    let _data_server = data_server_holding(&rig, holds.clone()).await;
    let mut client = rig.client(b"copies").await;
    for (name, sets) in [("time", [mtime.clone(), mode.clone()]), ("mode", [mode, mtime])] {
        *holds.lock() = ExtentSize::default();
        let (handle, open) = open_through(&mut client, "files", name).await;
        let held = layout_of(&mut client, &(handle.clone(), open), 0, Iomode::ReadWrite).await;
        let wrote =
            ExtentSize { end_bytes: 71_680, held_bytes: 71_680, change: 3, mtime_unix_ns: 1 << 60, epoch: 0 };
        *holds.lock() = wrote;
        for one in sets {
            set(&mut client, &handle, one).await;
            assert_eq!(shown(&mut client, &handle).await.size, Some(71_680), "{name}");
        }
        let before = shown(&mut client, &handle).await;
        assert_eq!((before.time_modify, before.space_used), (Some(time), Some(71_680)), "{name}");
        if name == "mode" {
            *holds.lock() = ExtentSize { end_bytes: 71_681, held_bytes: 71_681, change: 4, ..wrote };
        }
        assert_eq!(give_back(&mut client, &handle, held).await.1, Nfsstat4::Ok);
        let after = shown(&mut client, &handle).await;
        if name == "time" {
            assert_eq!((after.size, after.time_modify, after.mode), (Some(71_680), Some(time), Some(0o4640)));
        } else {
            assert_eq!(after.size, Some(71_681));
            assert_ne!(after.time_modify, Some(time), "it was written after that");
        }
    }
}

/// A data server loses its disk and returns at its old address, empty. Its empty store does not
/// replace the lost one's sizes: the client retries until the server of the bytes is known.
/// Origin: `sim --linux --seal`, seed 5038, where appends were written over those before.
#[tokio::test]
async fn an_empty_directory_at_the_same_address_is_not_queried() {
    let files = Export { path: "/files".to_owned(), ..Export::any_port() };
    let rig = Rig::with_exports(vec![Export::any_port(), files]).await;
    let holds = Holds::default();
    let data_server = data_server_holding(&rig, holds.clone()).await;
    let mut client = rig.client(b"appends").await;
    let file = open_through(&mut client, "files", "log").await;
    layout_of(&mut client, &file, 0, Iomode::ReadWrite).await;
    *holds.lock() =
        ExtentSize { end_bytes: 71_680, held_bytes: 71_680, change: 3, mtime_unix_ns: 1 << 60, epoch: 0 };
    assert_eq!(shown(&mut client, &file.0).await.size, Some(71_680));
    data_server.shutdown().await;
    drop(data_server);
    let _empty = listen(&rig, Holds::default(), [2; 16]).await;
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: file.0.clone() });
            c.op(Op::Getattr, &getattr::Args { requested: Bitmap::of(&[4]) });
        })
        .await;
    let _: putfh::ResOk = reply.next(Op::Putfh);
    assert_eq!(reply.status, Nfsstat4::Delay);
}
