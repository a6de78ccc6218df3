//! The cluster key is replaced node by node, in different orders, while a client writes: a metadata
//! server and two whole data servers with keys of their own, which keep two copies of the data.
//!
//! Spec: docs/protocol/control.md §1, "While the cluster key is replaced".

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::control::greeting;
use env_transport::{CallError, Limits, RpcClient};
use mds_server::export::Export;
use mds_server::server::Settings;
use rig::data::{key, layout_get, open_through};
use rig::whole::WholeDataServer;
use rig::{Client, Rig};
use wire_nfs::control::keyring::{Accepted, Ring};
use wire_nfs::control::report::{AskReport, Subject};
use wire_nfs::control::{ClusterKey, Keyring, NodeKind, PROGRAM, Procedure, VERSION};
use wire_nfs::flexfiles::{FfLayout, decode_body};
use wire_nfs::v3::{Fh3, Nfsstat3};
use wire_rpc::Credential;
use wire_xdr::{Encode, Writer};

const NAMES: [&str; 2] = ["a", "b"];
/// Writes that a client must complete between two nodes.
const WRITES: u64 = 5;

struct Bed {
    rig: Rig,
    servers: [Arc<WholeDataServer>; 2],
    /// Of the metadata server, and of the data servers.
    keys: [Keyring; 3],
}

fn of_server(ring: &Ring, name: &str) -> Ring {
    ring.derived(|key| key.for_data_server(name).map(ClusterKey::data_server)).expect("the whole key")
}

impl Bed {
    async fn new() -> Self {
        let exports = vec![Export { path: "/files".to_owned(), ..Export::any_port() }];
        let settings = Settings { shards: 1, hot_copies: 2, ..Settings::default() };
        let rig = Rig::made(exports, settings, None).await;
        let whole = Ring::one(key());
        let own = NAMES.map(|name| Keyring::from(of_server(&whole, name)));
        let first = WholeDataServer::start_as(&rig, 0, NAMES[0], &own[0]).await;
        let second = WholeDataServer::start_as(&rig, 1, NAMES[1], &own[1]).await;
        let [a, b] = own;
        let keys = [rig.keys.clone(), a, b];
        let bed = Self { rig, servers: [Arc::new(first), Arc::new(second)], keys };
        for _ in 0..600 {
            if bed.up() == 2 {
                return bed;
            }
            bed.rig.env.clock.sleep_ms(20).await;
        }
        panic!("the data servers get no lease");
    }

    /// Data servers with a lease.
    fn up(&self) -> usize {
        let lines = self.rig.server.as_ref().expect("it runs").data_servers();
        lines.iter().filter(|line| line.up).count()
    }

    /// Gives a node the file's current ring.
    fn hand(&self, node: usize, ring: &Ring) {
        let ring = if node == 0 { ring.clone() } else { of_server(ring, NAMES[node - 1]) };
        assert_eq!(self.keys[node].replace(ring), Ok(true));
    }

    /// A layout of a new file; a write makes its home known.
    async fn placed(&self, client: &mut Client, name: &'static str) -> (Arc<WholeDataServer>, Fh3) {
        let open = open_through(client, "files", name).await;
        for _ in 0..600 {
            if let Ok(got) = layout_get(client, (&open.0, &open.1), |_| {}).await {
                let body: FfLayout = decode_body(&got.layouts[0].body).expect("it decodes");
                let shown = &body.mirrors[0].data_servers[0].filehandles[0];
                let handle = Fh3::new(Bytes::copy_from_slice(shown.as_bytes())).expect("64 bytes");
                for server in &self.servers {
                    if server.write(&handle).await == Ok(()) {
                        return (Arc::clone(server), handle);
                    }
                }
            }
            self.rig.env.clock.sleep_ms(20).await;
        }
        panic!("no layout is granted, or it cannot be written through");
    }

    /// An administrator with a key, whose single connection stays open.
    fn administrator(&self, held: ClusterKey) -> RpcClient {
        let to = self.rig.server.as_ref().expect("it runs").control_address();
        let link = (NodeKind::Administrator, NodeKind::Metadata);
        let hello = greeting(held, PROGRAM, link, self.rig.env.entropy.clone());
        RpcClient::new(self.rig.env.net.clone(), self.rig.env.clock.clone(), to, Limits::default())
            .with_hello(hello)
    }
}

async fn ask(administrator: &RpcClient) -> Result<(), CallError> {
    let mut w = Writer::new();
    AskReport { subject: Subject::Status, from: 0 }.encode(&mut w);
    let number = Procedure::Report.number();
    administrator.call(PROGRAM, VERSION, number, &Credential::None, w, 10_000).await.map(drop)
}

/// Writes until it is dropped; retries after a DELAY, every other error ends the test.
async fn write_on(server: Arc<WholeDataServer>, handle: Fh3, done: Arc<AtomicU64>, delayed: Arc<AtomicU64>) {
    loop {
        match server.write(&handle).await {
            Ok(()) => done.fetch_add(1, Ordering::Relaxed),
            Err(Nfsstat3::Jukebox) => delayed.fetch_add(1, Ordering::Relaxed),
            Err(status) => panic!("a write is refused: {status:?}"),
        };
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_writes_while_the_key_is_replaced() {
    let bed = Bed::new().await;
    let mut client = bed.rig.client(b"client").await;
    let (server, handle) = bed.placed(&mut client, "file").await;
    let (done, delayed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let mut writing = tokio::spawn(write_on(server, handle, Arc::clone(&done), Arc::clone(&delayed)));
    let mut old = key();
    let names = ["first", "second", "third"];
    for ((order, byte), name) in [[0, 1, 2], [2, 1, 0], [1, 0, 2]].into_iter().zip(10..).zip(names) {
        let new = ClusterKey::new([byte; 32]);
        let intruder = bed.administrator(old.clone());
        ask(&intruder).await.expect("the key is good");
        let next = Ring::two(old.clone(), Accepted::Next(new.clone())).expect("two keys");
        let before = Ring::two(new.clone(), Accepted::Before(old.clone())).expect("two keys");
        for ring in [next, before, Ring::one(new.clone())] {
            ask(&intruder).await.expect("its key is accepted until it is dropped");
            for node in order {
                bed.hand(node, &ring);
                assert_eq!(bed.up(), 2, "each has its lease");
                let enough = done.load(Ordering::Relaxed) + WRITES;
                while done.load(Ordering::Relaxed) < enough {
                    tokio::select! {
                        ended = &mut writing => panic!("{ended:?}"),
                        () = bed.rig.env.clock.sleep_ms(5) => {}
                    }
                }
            }
        }
        // The connection is closed, and it gets no new one.
        let thrown_out = ask(&intruder).await.expect_err("its key was dropped");
        assert!(matches!(thrown_out, CallError::Disconnected), "{thrown_out:?}");
        for held in [&intruder, &bed.administrator(old)] {
            let refused = ask(held).await.expect_err("its key was dropped");
            assert!(matches!(refused, CallError::Hello { .. }), "{refused:?}");
        }
        ask(&bed.administrator(new.clone())).await.expect("the new key is good");
        // The servers open connections of all kinds under it.
        bed.placed(&mut client, name).await;
        old = new;
    }
    writing.abort();
    let (done, delayed) = (done.load(Ordering::Relaxed), delayed.load(Ordering::Relaxed));
    assert!(delayed * 20 <= done, "{delayed} writes were delayed, {done} done");
}
