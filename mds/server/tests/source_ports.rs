//! `secure`: an export accepts requests from source ports below 1024, each request by its own port.
//!
//! Origin: an unprivileged user's program that spoke NFS by itself, and claimed to be root.

mod rig;

use bytes::Bytes;
use mds_server::export::Export;
use rig::{Client, Rig};
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::{getfh, lookup, lookupp, putfh, putrootfh, readdir};
use wire_nfs::v4::{Bitmap, Fattr4, Filehandle, Nfsstat4, Op, Verifier};
use wire_xdr::Encode;

/// A port as stock kernels use it.
const RESERVED: u16 = 1023;
/// A port that any program can use.
const FREE: u16 = 40_000;

fn secure(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::everything() }
}

fn insecure(path: &str) -> Export {
    Export { secure: false, ..secure(path) }
}

/// A client with a session on a connection from this port.
async fn client(rig: &Rig, port: u16, owner: &'static [u8]) -> Client {
    rig.client_on(rig.connect_from_port(port), owner).await
}

/// Status of a walk from the root down these names, with one more operation.
async fn walk<A: Encode>(client: &mut Client, names: &[&'static str], last: Option<(Op, A)>) -> Nfsstat4 {
    let reply = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        for one in names {
            c.op(Op::Lookup, &lookup::Args { name: Bytes::from_static(one.as_bytes()) });
        }
        if let Some((op, args)) = &last {
            c.op(*op, args);
        }
    });
    reply.await.status
}

fn directory(name: &'static str) -> Option<(Op, create::Args)> {
    let name = Bytes::from_static(name.as_bytes());
    Some((Op::Create, create::Args { object: ObjectType::Directory, name, attributes: Fattr4::default() }))
}

async fn handle(client: &mut Client, name: &'static str) -> Filehandle {
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            c.op(Op::Lookup, &lookup::Args { name: Bytes::from_static(name.as_bytes()) });
            c.op(Op::Getfh, &getfh::Args);
        })
        .await;
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    let _: lookup::ResOk = reply.next(Op::Lookup);
    reply.next::<getfh::ResOk>(Op::Getfh).filehandle
}

async fn put(client: &mut Client, filehandle: &Filehandle) -> Nfsstat4 {
    let args = putfh::Args { filehandle: filehandle.clone() };
    client.compound(|c| c.op(Op::Putfh, &args)).await.status
}

#[tokio::test]
async fn an_export_requires_ports_below_1024_by_default() {
    let mut rig = Rig::with_exports(vec![secure("/")]).await;
    // The program becomes a client, and has a session: the port alone refuses no EXCHANGE_ID.
    let mut program = client(&rig, FREE, b"program").await;
    assert_eq!(walk(&mut program, &[], directory("no")).await, Nfsstat4::Perm);
    for (port, owner) in [(RESERVED, &b"kernel"[..]), (1, b"old")] {
        let mut kernel = client(&rig, port, owner).await;
        let name = if port == 1 { "one" } else { "two" };
        assert_eq!(walk(&mut kernel, &[], directory(name)).await, Nfsstat4::Ok, "{port}");
    }
    let mut just_above = client(&rig, RESERVED + 1, b"above").await;
    assert_eq!(walk(&mut just_above, &[], directory("no")).await, Nfsstat4::Perm);
    rig.exports = vec![insecure("/")];
    rig.restart().await;
    let mut program = client(&rig, FREE, b"again").await;
    assert_eq!(walk(&mut program, &[], directory("yes")).await, Nfsstat4::Ok);
}

/// The tree above is free, and shows all; each export decides for itself.
#[tokio::test]
async fn each_export_decides_and_the_way_to_it_is_free() {
    let rig = Rig::with_exports(vec![secure("/"), secure("/own"), insecure("/any")]).await;
    let mut program = client(&rig, FREE, b"program").await;
    assert_eq!(walk(&mut program, &["any"], directory("made")).await, Nfsstat4::Ok);
    assert_eq!(walk(&mut program, &["own"], directory("no")).await, Nfsstat4::Perm);
    assert_eq!(walk(&mut program, &[], directory("no")).await, Nfsstat4::Rofs, "the tree above");
    assert_eq!(walk(&mut program, &["any"], Some((Op::Lookupp, lookupp::Args))).await, Nfsstat4::Ok);
    let list = readdir::Args {
        cookie: 0,
        verifier: Verifier::default(),
        dircount: 8_192,
        maxcount: 8_192,
        requested: Bitmap::default(),
    };
    assert_eq!(walk(&mut program, &[], Some((Op::Readdir, list))).await, Nfsstat4::Ok);
    let mut kernel = client(&rig, RESERVED, b"kernel").await;
    assert_eq!(walk(&mut kernel, &["own"], directory("made")).await, Nfsstat4::Ok);
    assert_eq!(walk(&mut kernel, &[], directory("beside")).await, Nfsstat4::Ok, "of / itself");
}

/// A handle that the kernel got is useless to a program, also in the kernel's own session.
#[tokio::test]
async fn each_request_is_judged_by_its_own_port() {
    let rig = Rig::with_exports(vec![secure("/"), insecure("/any")]).await;
    let mut kernel = client(&rig, RESERVED, b"kernel").await;
    assert_eq!(walk(&mut kernel, &[], directory("secret")).await, Nfsstat4::Ok);
    let (own, any) = (handle(&mut kernel, "secret").await, handle(&mut kernel, "any").await);
    let mut program = client(&rig, FREE, b"program").await;
    assert_eq!(put(&mut program, &own).await, Nfsstat4::Perm);
    assert_eq!(put(&mut program, &any).await, Nfsstat4::Ok);
    // The kernel's session, over a connection of the program.
    kernel.go_over_to(rig.connect_from_port(FREE));
    assert_eq!(put(&mut kernel, &own).await, Nfsstat4::Perm);
    kernel.go_over_to(rig.connect_from_port(RESERVED));
    assert_eq!(put(&mut kernel, &own).await, Nfsstat4::Ok);
}
