//! Service addresses of a metadata server: taken when it leads, announced, removed silently when it
//! stops.

#[allow(dead_code, reason = "what the other programs use of it")]
mod rig;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use env::memory::net::MemoryNet;
use env::memory::{MemoryAddresses, Said, SeededEntropy};
use env::os::OsClock;
use env::{Addresses, Env, ServiceAddress};
use env_transport::{Limits, RpcClient};
use mds_server::export::Export;
use mds_server::server::Settings;
use mds_server::{MdsConfig, MetadataServer, ServiceAddresses};
use prometheus_client::registry::Registry;
use rig::{Client, Rig};
use wire_nfs::control::ClusterKey;

fn own() -> ServiceAddress {
    "192.0.2.1/24".parse().expect("an address")
}

/// A node of three; its directory, service addresses and entropy are its own.
async fn node(env: &Env, number: u8, directory: &Path, door: &MemoryAddresses) -> MetadataServer {
    let at = |node: u8, port: u16| SocketAddr::from(([192, 0, 2, 10 + node], port));
    let service = ServiceAddresses { addresses: vec![own()], door: Arc::new(door.clone()) };
    let config = MdsConfig {
        dir: directory.join(number.to_string()),
        // At the service address, as if the node had it; the port is the node's own.
        listen: SocketAddr::new(own().ip, 2048 + u16::from(number)),
        control: at(number, 2050),
        exports: vec![Export::any_port()],
        settings: Settings { shards: 1, ..Settings::default() },
        cluster_keys: ClusterKey::new([3; 32]).into(),
        node: number.into(),
        members: (1..=3).map(|node| (node.into(), at(node, 2051).to_string())).collect(),
        join: Vec::new(),
        controls: Vec::new(),
        service: Some(service),
    };
    let env = Env { entropy: Arc::new(SeededEntropy::new(number.into())), ..env.clone() };
    for _ in 0..100 {
        // A stopped server may keep its store open for a moment.
        match MetadataServer::start(env.clone(), config.clone(), &mut Registry::default()).await {
            Ok(server) => return server,
            Err(_) => env.clock.sleep_ms(20).await,
        }
    }
    panic!("node {number} does not start");
}

fn new_env() -> Env {
    Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(SeededEntropy::new(7)),
        disk: env::os::open_disk("test", env::os::Preference::Blocking).expect("threads always start").0,
        net: Arc::new(MemoryNet::new()),
    }
}

/// Waits until one of these has taken the address; returns which.
async fn taken_by(env: &Env, doors: &[MemoryAddresses], wait_ms: u64) -> Option<usize> {
    for _ in 0..wait_ms / 10 {
        let taken = doors.iter().position(|door| door.said().contains(&Said::Announced(own())));
        if taken.is_some() {
            return taken;
        }
        env.clock.sleep_ms(10).await;
    }
    None
}

#[tokio::test]
async fn a_leader_that_cannot_take_the_address_has_another_node_lead() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let env = new_env();
    let doors: [MemoryAddresses; 3] = Default::default();
    let start = |number: u8| node(&env, number, directory.path(), &doors[usize::from(number) - 1]);
    let (one, two, three) = tokio::join!(start(1), start(2), start(3));
    let first = taken_by(&env, &doors, 60_000).await.expect("one of them leads");
    // Its interface is gone.
    doors[first].refuse(true);
    doors[first].remove(own()).expect("it is there");
    env.clock.sleep_ms(1_000).await;
    doors.iter().for_each(|door| drop(door.said()));
    let next = taken_by(&env, &doors, 20_000).await.expect("another one leads");
    assert_ne!(next, first);
    for server in [one, two, three] {
        server.stop().await;
    }
}

#[tokio::test]
async fn a_leader_with_an_expired_lease_and_no_successor_wakes_its_clients_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let env = new_env();
    let doors: [MemoryAddresses; 3] = Default::default();
    let start = |number: u8| node(&env, number, directory.path(), &doors[usize::from(number) - 1]);
    let (one, two, three) = tokio::join!(start(1), start(2), start(3));
    let leader = taken_by(&env, &doors, 60_000).await.expect("one of them leads");
    let mut others = vec![(1, one), (2, two), (3, three)];
    let leads = others.remove(leader).1;
    let rpc = RpcClient::new(env.net.clone(), env.clock.clone(), leads.nfs_address(), Limits::default());
    let mut client = Client::new(rpc, b"client", 0);
    client.exchange_id().await;
    env.clock.sleep_ms(200).await;
    // No other node answers it, and none can be elected.
    let mut away = Vec::new();
    for (number, server) in others {
        server.stop().await;
        drop(server);
        away.push(number);
    }
    let done = |what: Said| wait_at(&env, &doors[leader], move |said| *said == what);
    done(Said::Ended(own().ip)).await;
    drop(client);
    let (_second, _third) = tokio::join!(start(away[0]), start(away[1]));
    done(Said::Added(own())).await;
    let service = leads.nfs_address();
    wait_at(&env, &doors[leader], |said| matches!(said, Said::Tickled(at, _) if *at == service)).await;
}

/// Waits until an act at one of several nodes.
async fn wait_at(env: &Env, door: &MemoryAddresses, is_it: impl Fn(&Said) -> bool) {
    for _ in 0..1_000 {
        if door.said().iter().any(&is_it) {
            return;
        }
        env.clock.sleep_ms(10).await;
    }
    panic!("no such act");
}

/// Waits until an act.
async fn wait(rig: &Rig, addresses: &MemoryAddresses, what: Said) -> Vec<Said> {
    let mut said = Vec::new();
    for _ in 0..1_000 {
        said.extend(addresses.said());
        if said.contains(&what) {
            return said;
        }
        rig.env.clock.sleep_ms(10).await;
    }
    panic!("no {what:?}: {said:?}");
}

#[tokio::test]
async fn the_leader_has_the_addresses_until_it_stops() {
    let addresses = MemoryAddresses::default();
    let service = ServiceAddresses { addresses: vec![own()], door: Arc::new(addresses.clone()) };
    let mut rig = Rig::with_service(service).await;
    let said = wait(&rig, &addresses, Said::Announced(own())).await;
    assert_eq!(said[..2], [Said::Added(own()), Said::Announced(own())]);
    let server = rig.server.as_ref().expect("it runs");
    // The status follows the act by a moment.
    for _ in 0..100 {
        if addresses.lease_ms() != 0 {
            break;
        }
        rig.env.clock.sleep_ms(10).await;
    }
    assert_ne!(addresses.lease_ms(), 0, "the guard's lease is renewed");
    assert_eq!(server.status().service_addresses, [(own().to_string(), Some(1))]);
    // A client that is connected to the address is served, and keeps its session through a restart.
    let mut client = rig.client(b"client").await;
    let _ = addresses.said();
    rig.restart().await;
    let said = addresses.said();
    let at = |what| said.iter().position(|one| *one == what);
    let (gone, ended) = (at(Said::Removed(own())), at(Said::Ended(own().ip)));
    assert!(gone.is_some() && gone < ended, "first the address goes, then its connections: {said:?}");
    client.compound(|_| {}).await.ok(0);
}

#[tokio::test]
async fn an_address_that_cannot_be_taken_or_is_lost_is_tried_again() {
    let addresses = MemoryAddresses::default();
    addresses.refuse(true);
    let service = ServiceAddresses { addresses: vec![own()], door: Arc::new(addresses.clone()) };
    let rig = Rig::with_service(service).await;
    rig.env.clock.sleep_ms(200).await;
    assert_eq!(addresses.said(), [], "an address that is not here is not announced");
    addresses.refuse(false);
    wait(&rig, &addresses, Said::Announced(own())).await;
    // Another program removes it.
    addresses.remove(own()).expect("it is there");
    let _ = addresses.said();
    wait(&rig, &addresses, Said::Added(own())).await;
}

#[tokio::test]
async fn clients_are_woken_up_by_a_node_that_lost_an_address_and_takes_it_again() {
    let addresses = MemoryAddresses::default();
    let service = ServiceAddresses { addresses: vec![own()], door: Arc::new(addresses.clone()) };
    let rig = Rig::with_service(service).await;
    wait(&rig, &addresses, Said::Announced(own())).await;
    let client = rig.client(b"client").await;
    // A pass has seen it.
    rig.env.clock.sleep_ms(200).await;
    assert!(!addresses.said().iter().any(|said| matches!(said, Said::Tickled(..))), "it is connected");
    // As a guard does: the address goes, then the connections.
    addresses.remove(own()).expect("it is there");
    drop(client);
    wait(&rig, &addresses, Said::Added(own())).await;
    let service = rig.server.as_ref().expect("it runs").nfs_address();
    for _ in 0..300 {
        if addresses.said().iter().any(|said| matches!(said, Said::Tickled(at, _) if *at == service)) {
            return;
        }
        rig.env.clock.sleep_ms(10).await;
    }
    panic!("the client that was connected is not woken up");
}

#[tokio::test]
async fn an_address_that_cannot_be_renewed_is_still_here_and_given_up_at_the_end() {
    let addresses = MemoryAddresses::default();
    let service = ServiceAddresses { addresses: vec![own()], door: Arc::new(addresses.clone()) };
    let rig = Rig::with_service(service).await;
    wait(&rig, &addresses, Said::Announced(own())).await;
    addresses.refuse(true);
    // Renewals fail, more than once.
    rig.env.clock.sleep_ms(1_600).await;
    let server = rig.server.as_ref().expect("it runs");
    assert_ne!(addresses.lease_ms(), 0, "the guard removes it if this process hangs");
    assert_eq!(server.status().service_addresses, [(own().to_string(), Some(1))]);
    addresses.refuse(false);
    wait(&rig, &addresses, Said::Added(own())).await;
    addresses.refuse(true);
    rig.env.clock.sleep_ms(1_600).await;
    let _ = addresses.said();
    server.stop().await;
    assert!(addresses.said().contains(&Said::Removed(own())));
}
