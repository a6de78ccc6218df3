//! Exports are the cluster's: a handle keeps its export, whatever the content and order of a node's
//! file, and whichever node leads.
//!
//! Spec: docs/protocol/admin.md §8.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use client::admin::AdminControl;
use client::control::ControlError;
use env::Env;
use env::memory::{SeededEntropy, net::MemoryNet};
use env::os::{OsClock, Preference, open_disk};
use env_transport::{Limits, RpcClient};
use futures_util::future::join_all;
use mds_namespace::store::mem::MemStore;
use mds_namespace::{Durability, MetaStore};
use mds_server::export::entry::entry;
use mds_server::export::{Export, Squash};
use mds_server::report::ExportLine;
use mds_server::server::Settings;
use mds_server::{MdsConfig, MetadataServer};
use prometheus_client::registry::Registry;
use rig::{Client, Rig};
use wire_nfs::control::exports::{ExportsRuling, SetExports};
use wire_nfs::control::{ClusterKey, Refusal};
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked};
use wire_nfs::v4::ops::{getattr, getfh, lookup, putfh, putrootfh};
use wire_nfs::v4::{Bitmap, Fattr4, Filehandle, Nfsstat4, Op};

const KEY: [u8; 32] = [3; 32];

fn at(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::any_port() }
}

fn read_only(path: &str) -> Export {
    Export { read_only: true, ..at(path) }
}

fn ids(lines: &[ExportLine]) -> Vec<(u16, &str)> {
    lines.iter().map(|line| (line.id.expect("each has one"), line.path.as_str())).collect()
}

async fn handle(client: &mut Client, name: &'static str) -> Filehandle {
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            c.op(Op::Lookup, &lookup::Args { name: Bytes::from_static(name.as_bytes()) });
            c.op(Op::Getfh, &getfh::Args);
        })
        .await
        .ok(3);
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    let _: lookup::ResOk = reply.next(Op::Lookup);
    reply.next::<getfh::ResOk>(Op::Getfh).filehandle
}

/// Status of the use of a handle.
async fn looked(client: &mut Client, filehandle: &Filehandle) -> Nfsstat4 {
    let filehandle = filehandle.clone();
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle });
        c.op(Op::Getattr, &getattr::Args { requested: Bitmap::of(&[1]) });
    });
    reply.await.status
}

/// Status of a creation through a handle.
async fn made(client: &mut Client, filehandle: &Filehandle, name: &'static str) -> Nfsstat4 {
    let filehandle = filehandle.clone();
    let name = Bytes::from_static(name.as_bytes());
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle });
        let object = ObjectType::Directory;
        c.op(Op::Create, &create::Args { object, name, attributes: Fattr4::default() });
    });
    reply.await.status
}

async fn set(
    env: &Env,
    control: Vec<SocketAddr>,
    replaces: Option<u64>,
    exports: &[Export],
) -> ExportsRuling {
    let asked = SetExports { replaces, exports: exports.iter().map(entry).collect() };
    let control = AdminControl::new(env, control, ClusterKey::new(KEY));
    loop {
        match control.set_exports(&asked).await {
            Ok(ruling) => return ruling,
            // There is no leader yet, or it has only begun.
            Err(ControlError::Refused(Refusal::Busy | Refusal::NotLeader { .. })) => {
                env.clock.sleep_ms(20).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn server(rig: &Rig) -> &MetadataServer {
    rig.server.as_ref().expect("it runs")
}

#[tokio::test]
async fn a_single_server_exports_the_list_of_its_file_under_the_same_numbers() {
    for shards in [1, 4] {
        let mut rig = Rig::with(vec![at("/a"), at("/b"), at("/c")], shards).await;
        assert_eq!(ids(&server(&rig).exports()), [(0, "/a"), (1, "/b"), (2, "/c")]);
        let mut client = rig.client(b"one").await;
        let [a, b, c] =
            [handle(&mut client, "a").await, handle(&mut client, "b").await, handle(&mut client, "c").await];

        rig.exports = vec![read_only("/c"), at("/b")];
        rig.restart().await;
        assert_eq!(ids(&server(&rig).exports()), [(2, "/c"), (1, "/b")]);
        let mut client = rig.client(b"two").await;
        assert_eq!(looked(&mut client, &a).await, Nfsstat4::Stale, "and not another export's");
        assert_eq!(made(&mut client, &b, "x").await, Nfsstat4::Ok);
        assert_eq!(made(&mut client, &c, "x").await, Nfsstat4::Rofs);

        rig.exports = vec![at("/d"), at("/a")];
        rig.restart().await;
        assert_eq!(ids(&server(&rig).exports()), [(3, "/d"), (0, "/a")]);
        assert_eq!(server(&rig).status().exports_version, 3);
        let mut client = rig.client(b"three").await;
        assert_eq!(made(&mut client, &a, "x").await, Nfsstat4::Ok);
        assert_eq!(looked(&mut client, &b).await, Nfsstat4::Stale);
        let d = handle(&mut client, "d").await;
        assert_eq!(looked(&mut client, &d).await, Nfsstat4::Ok, "it was created");
        rig.restart().await;
        assert_eq!(server(&rig).status().exports_version, 3, "nothing has changed");
    }
}

#[tokio::test]
async fn exports_are_set_without_a_restart() {
    for shards in [1, 4] {
        let rig = Rig::with(vec![at("/a"), at("/b")], shards).await;
        let control = vec![server(&rig).control_address()];
        let mut client = rig.client(b"one").await;
        let [a, b] = [handle(&mut client, "a").await, handle(&mut client, "b").await];
        assert_eq!(made(&mut client, &a, "x").await, Nfsstat4::Ok);

        let ruling = set(&rig.env, control.clone(), Some(1), &[read_only("/b"), at("/n/m")]).await;
        assert!(ruling.done && ruling.version == 2, "{ruling:?}");
        assert!(
            ruling.words.contains("/n/m is exported now; /a is exported no longer; /b differs in read_only")
        );
        assert!(ruling.words.contains("alone"), "{}", ruling.words);
        assert_eq!(looked(&mut client, &a).await, Nfsstat4::Stale);
        assert_eq!(made(&mut client, &b, "x").await, Nfsstat4::Rofs);
        handle(&mut client, "n").await;

        let ruling = set(&rig.env, control.clone(), Some(1), &[at("/")]).await;
        assert!(!ruling.done && ruling.version == 2 && ruling.words.contains("version 2"), "{ruling:?}");
        let again = set(&rig.env, control.clone(), Some(1), &[read_only("/b"), at("/n/m")]).await;
        assert!(again.done && again.version == 2, "a repeated request succeeds: {again:?}");

        let other =
            Export { squash: Squash::All, clients: vec!["198.51.100.0/24".parse().unwrap()], ..at("/a") };
        assert!(set(&rig.env, control.clone(), None, &[at("/b"), other]).await.done);
        assert_eq!(looked(&mut client, &a).await, Nfsstat4::Access, "it is another's");
        assert_eq!(made(&mut client, &b, "x").await, Nfsstat4::Ok);
        assert_eq!(ids(&server(&rig).exports()), [(1, "/b"), (0, "/a")]);

        for (exports, words) in
            [(vec![], "0 exports"), (vec![at("/a"), at("/a")], "twice"), (vec![at("a")], "absolute")]
        {
            let ruling = set(&rig.env, control.clone(), None, &exports).await;
            assert!(!ruling.done && ruling.version == 3 && ruling.words.contains(words), "{ruling:?}");
        }
    }
}

fn memory_env() -> Env {
    Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(SeededEntropy::new(7)),
        disk: open_disk("test", Preference::Blocking).expect("threads always start").0,
        net: Arc::new(MemoryNet::new()),
    }
}

fn address(node: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, node], port))
}

fn config(dir: &tempfile::TempDir, node: u8, members: u8, exports: Vec<Export>) -> MdsConfig {
    MdsConfig {
        dir: dir.path().join("mds"),
        listen: address(node, 2049),
        control: address(node, 2050),
        exports,
        settings: Settings { shards: 1, ..Settings::default() },
        cluster_keys: ClusterKey::new(KEY).into(),
        node: u64::from(node),
        members: (1..=members).map(|one| (u64::from(one), address(one, 2051).to_string())).collect(),
        join: Vec::new(),
        controls: Vec::new(),
        service: None,
    }
}

/// A client with a session at a server that leads, or soon will.
async fn client_of(env: &Env, server: &MetadataServer, owner: &'static [u8]) -> Client {
    let rpc = RpcClient::new(env.net.clone(), env.clock.clone(), server.nfs_address(), Limits::default());
    let mut client = Client::new(rpc, owner, 0);
    let args = exchange_id::Args {
        verifier: client.verifier,
        owner_id: Bytes::from_static(owner),
        flags: 0,
        state_protect: StateProtectAsked::None,
        impl_id: Vec::new(),
    };
    while client.bare(|c| c.op(Op::ExchangeId, &args)).await.status != Nfsstat4::Ok {
        env.clock.sleep_ms(20).await;
    }
    client.exchange_id().await;
    client.create_session().await;
    client
}

/// A cluster of an older version has no list: the export of a handle was its position in each
/// node's own.
#[tokio::test]
async fn handles_of_an_older_cluster_stay_valid() {
    let (env, dir, store) = (memory_env(), tempfile::tempdir().unwrap(), Arc::new(MemStore::new()));
    let start = async |exports: Vec<Export>| {
        let stores: Vec<Arc<dyn MetaStore>> = vec![store.clone()];
        let config = config(&dir, 1, 0, exports);
        MetadataServer::start_on(env.clone(), stores, config, &mut Registry::default())
            .await
            .expect("it starts")
    };
    let own = || vec![at("/a"), read_only("/b")];
    let server = start(own()).await;
    let mut client = client_of(&env, &server, b"one").await;
    let [a, b] = [handle(&mut client, "a").await, handle(&mut client, "b").await];
    server.stop().await;
    let mut txn = store.begin().unwrap();
    assert!(txn.get(mds_state::key::EXPORTS).unwrap().is_some());
    txn.delete(mds_state::key::EXPORTS).unwrap();
    txn.commit(Durability::Memory).unwrap();

    let server = start(own()).await;
    assert_eq!(ids(&server.exports()), [(0, "/a"), (1, "/b")]);
    let mut client = client_of(&env, &server, b"two").await;
    assert_eq!(made(&mut client, &a, "x").await, Nfsstat4::Ok);
    assert_eq!(made(&mut client, &b, "x").await, Nfsstat4::Rofs);
    server.stop().await;
}

/// The leader, once it knows that it leads.
async fn leader<'a>(env: &Env, servers: &'a [Option<MetadataServer>]) -> (usize, &'a MetadataServer) {
    loop {
        for (at, server) in servers.iter().enumerate() {
            let Some(server) = server else { continue };
            let status = server.status();
            if status.leader == Some(status.node) {
                return (at, server);
            }
        }
        env.clock.sleep_ms(10).await;
    }
}

async fn until_all_export(env: &Env, servers: &[Option<MetadataServer>], expected: &[(u16, &str)]) {
    for server in servers.iter().flatten() {
        while ids(&server.exports()) != expected || server.status().exports_version == 0 {
            env.clock.sleep_ms(10).await;
        }
    }
}

#[tokio::test]
async fn servers_with_different_files_serve_the_same_list() {
    let (env, dirs) = (memory_env(), [(); 3].map(|()| tempfile::tempdir().unwrap()));
    // Another order, other options, other paths.
    let files = [
        vec![at("/a"), read_only("/b")],
        vec![at("/b"), read_only("/a")],
        vec![at("/c"), at("/b"), at("/a")],
    ];
    let start = async |at: usize, exports: Vec<Export>| {
        let node = u8::try_from(at).unwrap() + 1;
        let config = config(&dirs[at], node, 3, exports);
        MetadataServer::start(env.clone(), config, &mut Registry::default()).await.expect("it starts")
    };
    let started = join_all((0..3).map(|at| start(at, files[at].clone()))).await;
    let mut servers: Vec<Option<MetadataServer>> = started.into_iter().map(Some).collect();

    let (first, server) = leader(&env, &servers).await;
    let mut client = client_of(&env, server, b"one").await;
    let [a, b] = [handle(&mut client, "a").await, handle(&mut client, "b").await];
    let lines = server.exports();
    let expected = ids(&lines);
    let said = files
        .iter()
        .position(|file| file.iter().map(|one| one.path.as_str()).eq(expected.iter().map(|one| one.1)));
    let said = said.expect("one of the files is the cluster's");
    until_all_export(&env, &servers, &expected).await;
    let writable = |path: &str| match files[said].iter().find(|one| one.path == path) {
        Some(Export { read_only: true, .. }) => Nfsstat4::Rofs,
        _ => Nfsstat4::Ok,
    };
    assert_eq!(made(&mut client, &a, "x").await, writable("/a"));
    assert_eq!(made(&mut client, &b, "x").await, writable("/b"));

    // Another node leads.
    servers[first].take().expect("it runs").stop().await;
    let (_, server) = leader(&env, &servers).await;
    let mut client = client_of(&env, server, b"two").await;
    until_all_export(&env, &servers, &expected).await;
    assert_eq!(made(&mut client, &a, "y").await, writable("/a"));
    assert_eq!(made(&mut client, &b, "y").await, writable("/b"));

    // It is set at one node, and with it at the others; a node's own file changes nothing when it
    // returns.
    let controls = servers.iter().flatten().map(MetadataServer::control_address).collect();
    let ruling = set(&env, controls, None, &[at("/n"), read_only("/a")]).await;
    assert!(ruling.done && !ruling.words.contains("alone"), "{ruling:?}");
    servers[first] = Some(start(first, vec![at("/b")]).await);
    let a_id = expected.iter().find(|(_, path)| *path == "/a").expect("all files have it").0;
    let n_id = u16::try_from(expected.len()).unwrap();
    until_all_export(&env, &servers, &[(n_id, "/n"), (a_id, "/a")]).await;
    let (_, server) = leader(&env, &servers).await;
    let mut client = client_of(&env, server, b"three").await;
    assert_eq!(looked(&mut client, &b).await, Nfsstat4::Stale);
    assert_eq!(made(&mut client, &a, "z").await, Nfsstat4::Rofs);
    join_all(servers.iter().flatten().map(MetadataServer::stop)).await;
}
