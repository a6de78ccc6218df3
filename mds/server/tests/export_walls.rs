//! There is no way out of an export, and none into one but its own.
//!
//! Origin: a hostile client that read files outside of the exports by OPEN, LOOKUPP, and a RENAME
//! of an export's root.

mod rig;

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use mds_server::export::{Export, Network};
use rig::{Client, Rig};
use wire_nfs::v4::ops::bind_conn_to_session::{self, DirectionAsked};
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::destroy_clientid;
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked};
use wire_nfs::v4::ops::open::{self, Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{getattr, getfh, lookup, lookupp, putfh, putrootfh, remove, rename, savefh, secinfo};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Op};
use wire_xdr::Encode;

fn at(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::any_port() }
}

fn only_for(path: &str, network: &str) -> Export {
    let clients: Vec<Network> = vec![network.parse().expect("a network")];
    Export { clients, ..at(path) }
}

fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Status of a walk from the root down these names, with one more operation.
async fn walk(client: &mut Client, names: &[&'static str], last: Option<(Op, &dyn Arguments)>) -> Nfsstat4 {
    let reply = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        names.iter().for_each(|one| c.op(Op::Lookup, &lookup::Args { name: name(one) }));
        c.op(Op::Savefh, &savefh::Args);
        if let Some((op, args)) = last {
            c.op(op, &Raw(args.bytes()));
        }
    });
    reply.await.status
}

trait Arguments {
    fn bytes(&self) -> Bytes;
}

impl<T: Encode> Arguments for T {
    fn bytes(&self) -> Bytes {
        let mut w = wire_xdr::Writer::new();
        self.encode(&mut w);
        w.into_bytes()
    }
}

struct Raw(Bytes);

impl Encode for Raw {
    fn encode(&self, w: &mut wire_xdr::Writer) {
        w.raw(&self.0);
    }
}

fn directory(of: &'static str) -> create::Args {
    create::Args { object: ObjectType::Directory, name: name(of), attributes: Fattr4::default() }
}

fn opening(client: &Client, file: &'static str, how: OpenHow) -> open::Args {
    open::Args {
        seqid: 0,
        share_access: if matches!(how, OpenHow::NoCreate) { share::ACCESS_READ } else { share::ACCESS_BOTH },
        share_deny: share::DENY_NONE,
        owner: StateOwner { clientid: client.clientid, owner: name("owner") },
        how,
        claim: Claim::Null(name(file)),
    }
}

async fn restart_with(rig: &mut Rig, exports: Vec<Export>) {
    rig.exports = exports;
    rig.restart().await;
}

async fn handle(client: &mut Client, names: &[&'static str]) -> Filehandle {
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            names.iter().for_each(|one| c.op(Op::Lookup, &lookup::Args { name: name(one) }));
            c.op(Op::Getfh, &getfh::Args);
        })
        .await;
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    for _ in names {
        let _: lookup::ResOk = reply.next(Op::Lookup);
    }
    reply.next::<getfh::ResOk>(Op::Getfh).filehandle
}

/// A file outside of the exports is neither opened nor queried by its name in the tree above them.
#[tokio::test]
async fn the_pseudo_tree_has_no_files() {
    let mut rig = Rig::with_exports(vec![at("/")]).await;
    let mut client = rig.client(b"before").await;
    let mode = AttrValues { mode: Some(0o600), ..AttrValues::default() };
    let made = OpenHow::Create(CreateHow::Unchecked(Fattr4::from_values(&mode)));
    let make = opening(&client, "secret", made);
    assert_eq!(walk(&mut client, &[], Some((Op::Open, &make))).await, Nfsstat4::Ok);
    restart_with(&mut rig, vec![at("/open")]).await;
    let mut client = rig.client(b"after").await;
    for (file, expected) in [("secret", Nfsstat4::Noent), ("open", Nfsstat4::Isdir), ("no", Nfsstat4::Noent)]
    {
        let args = opening(&client, file, OpenHow::NoCreate);
        assert_eq!(walk(&mut client, &[], Some((Op::Open, &args))).await, expected, "{file}");
    }
    let asked = secinfo::Args { name: name("secret") };
    assert_eq!(walk(&mut client, &[], Some((Op::Secinfo, &asked))).await, Nfsstat4::Noent);
}

/// The root of an export, and the directories above it, stay in place, also for clients that may
/// write around them.
#[tokio::test]
async fn roots_are_neither_renamed_nor_removed() {
    let rig = Rig::with_exports(vec![at("/"), at("/secure"), at("/deep/er")]).await;
    let mut client = rig.client(b"wide").await;
    assert_eq!(walk(&mut client, &[], Some((Op::Create, &directory("other")))).await, Nfsstat4::Ok);
    for (from, to, expected) in [
        ("secure", "x", Nfsstat4::Access),
        ("deep", "x", Nfsstat4::Access),
        ("other", "secure", Nfsstat4::Access),
        ("other", "x", Nfsstat4::Ok),
    ] {
        let args = rename::Args { old_name: name(from), new_name: name(to) };
        assert_eq!(walk(&mut client, &[], Some((Op::Rename, &args))).await, expected, "{from} to {to}");
    }
    for (of, expected) in [("secure", Nfsstat4::Access), ("deep", Nfsstat4::Access), ("x", Nfsstat4::Ok)] {
        let args = remove::Args { name: name(of) };
        assert_eq!(walk(&mut client, &[], Some((Op::Remove, &args))).await, expected, "{of}");
    }
    assert_eq!(
        walk(&mut client, &["deep"], Some((Op::Remove, &remove::Args { name: name("er") }))).await,
        Nfsstat4::Access
    );
}

/// A client that is listed for one export mounts only that, and sees no other way.
#[tokio::test]
async fn a_client_of_one_export_finds_it() {
    let rig = Rig::with_exports(vec![
        only_for("/", "10.0.0.0/8"),
        only_for("/other", "10.0.0.0/8"),
        only_for("/far/secure", "203.0.113.0/24"),
    ])
    .await;
    let connection = rig.connect_from(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)));
    let mut client = rig.client_on(connection, b"listed").await;
    assert_eq!(
        walk(&mut client, &["far", "secure"], Some((Op::Create, &directory("own")))).await,
        Nfsstat4::Ok
    );
    assert_eq!(walk(&mut client, &["far", "secure", "own"], None).await, Nfsstat4::Ok);
    assert_eq!(walk(&mut client, &["far"], Some((Op::Create, &directory("no")))).await, Nfsstat4::Rofs);
    assert_eq!(walk(&mut client, &["other"], None).await, Nfsstat4::Access);
    assert_eq!(
        walk(&mut client, &["far", "secure"], Some((Op::Lookupp, &lookupp::Args))).await,
        Nfsstat4::Ok
    );
    let connection = rig.connect_from(IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1)));
    let mut client = rig.client_on(connection, b"inner").await;
    assert_eq!(walk(&mut client, &["far", "secure"], None).await, Nfsstat4::Access);
    assert_eq!(walk(&mut client, &["other"], Some((Op::Create, &directory("own")))).await, Nfsstat4::Ok);
}

/// A host without any export does not even become a client, nor can it use the id of one.
#[tokio::test]
async fn a_host_without_exports_is_no_client() {
    let rig = Rig::with_exports(vec![only_for("/", "10.0.0.0/8")]).await;
    let connect = |address: [u8; 4]| rig.connect_from(IpAddr::V4(Ipv4Addr::from(address)));
    let mut stranger = Client::new(connect([198, 51, 100, 7]), b"stranger", 0);
    let args = exchange_id::Args {
        verifier: stranger.verifier,
        owner_id: name("stranger"),
        flags: 0,
        state_protect: StateProtectAsked::None,
        impl_id: vec![],
    };
    assert_eq!(stranger.bare(|c| c.op(Op::ExchangeId, &args)).await.status, Nfsstat4::Access);
    let mut known = Client::new(connect([10, 1, 1, 1]), b"known", 0);
    known.exchange_id().await;
    let session = known.create_session().await.session;
    stranger.clientid = known.clientid;
    for sequence in [known.create_sequence - 1, known.create_sequence] {
        let args = stranger.session_asked(sequence);
        let answer = stranger.bare(|c| c.op(Op::CreateSession, &args)).await.status;
        assert_eq!(answer, Nfsstat4::Access);
    }
    let bind =
        bind_conn_to_session::Args { session, direction: DirectionAsked::ForeOrBoth, rdma_mode: false };
    assert_eq!(stranger.bare(|c| c.op(Op::BindConnToSession, &bind)).await.status, Nfsstat4::Access);
    assert_eq!(known.bare(|c| c.op(Op::BindConnToSession, &bind)).await.status, Nfsstat4::Ok);
}

/// A host without any export ends no client, not even an idle one whose id it knows.
#[tokio::test]
async fn a_host_without_exports_ends_no_client() {
    let rig = Rig::with_exports(vec![only_for("/", "10.0.0.0/8")]).await;
    let connect = |address: [u8; 4]| rig.connect_from(IpAddr::V4(Ipv4Addr::from(address)));
    let mut idle = Client::new(connect([10, 1, 1, 1]), b"idle", 0);
    idle.exchange_id().await;
    let stranger = Client::new(connect([198, 51, 100, 7]), b"stranger", 0);
    let args = destroy_clientid::Args { clientid: idle.clientid };
    assert_eq!(stranger.bare(|c| c.op(Op::DestroyClientid, &args)).await.status, Nfsstat4::Access);
    assert_eq!(idle.bare(|c| c.op(Op::DestroyClientid, &args)).await.status, Nfsstat4::Ok);
}

/// A directory that was moved out of an export while that did not exist does not lead to its
/// surroundings.
#[tokio::test]
async fn no_step_leads_up_to_a_directory_outside_the_export() {
    let mut rig = Rig::with_exports(vec![at("/"), at("/in")]).await;
    let mut client = rig.client(b"first").await;
    assert_eq!(walk(&mut client, &["in"], Some((Op::Create, &directory("moved")))).await, Nfsstat4::Ok);
    let moved = handle(&mut client, &["in", "moved"]).await;
    let up = async |client: &mut Client| {
        let reply = client.compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: moved.clone() });
            c.op(Op::Lookupp, &lookupp::Args);
            c.op(Op::Getattr, &getattr::Args { requested: Bitmap::of(&[1]) });
        });
        reply.await.status
    };
    assert_eq!(up(&mut client).await, Nfsstat4::Ok);
    restart_with(&mut rig, vec![at("/")]).await;
    let mut client = rig.client(b"second").await;
    let args = rename::Args { old_name: name("moved"), new_name: name("out") };
    let reply = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Lookup, &lookup::Args { name: name("in") });
        c.op(Op::Savefh, &savefh::Args);
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Rename, &args);
    });
    reply.await.ok(5);
    restart_with(&mut rig, vec![at("/"), at("/in")]).await;
    let mut client = rig.client(b"third").await;
    assert_eq!(up(&mut client).await, Nfsstat4::Noent);
}
