//! Drives the service addresses of a node: they are where the leader is, once it can answer.
//!
//! Whoever takes them over wakes up the clients that were connected to the node before. The leader tells the others who they are.
//!
//! Spec: docs/protocol/addresses.md.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use env::ServiceAddress;
use mds_shard::Caller;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{Act, Holder, ServiceAddresses};
use crate::limits::{
    ADDRESS_BARRIER_MS_MAX, ADDRESS_LEASE_MS, ADDRESS_LOOK_MS, ADDRESS_PRESENT_MS, ADDRESS_VALID_S,
    CALLERS_KEPT_MS,
};
use crate::server::Server;

/// The service addresses of a node, as the rest of the server sees them.
pub(crate) struct Service {
    given: ServiceAddresses,
    ips: BTreeSet<IpAddr>,
    held: Mutex<BTreeSet<ServiceAddress>>,
    /// Connections came or went.
    pub(crate) changed: Notify,
    leaving: AtomicBool,
    left: watch::Sender<bool>,
}

impl Service {
    /// Has none of them yet.
    pub(crate) fn new(given: ServiceAddresses) -> Self {
        let ips = given.addresses.iter().map(|address| address.ip).collect();
        Self {
            given,
            ips,
            held: Mutex::default(),
            changed: Notify::new(),
            leaving: AtomicBool::new(false),
            left: watch::Sender::new(false),
        }
    }

    /// Whether a connection goes to a service address.
    pub(crate) fn has(&self, local: IpAddr) -> bool {
        self.ips.contains(&local.to_canonical())
    }

    /// Each address, and whether it is here.
    pub(crate) fn places(&self) -> Vec<(ServiceAddress, bool)> {
        let held = self.held.lock();
        self.given.addresses.iter().map(|address| (*address, held.contains(address))).collect()
    }

    /// Gives all addresses up for good; returns when they are gone.
    pub(crate) async fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.changed.notify_one();
        // The sender is in `self`, so the only end is the value.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }
}

/// In which term this node may have the addresses, and who was told.
#[derive(Default)]
struct Lead {
    /// The term in which a read barrier was passed: what is acknowledged is here.
    ready: Option<u64>,
    since_ms: u64,
}

/// Keeps the addresses where they belong, for as long as the server lives.
pub(crate) async fn drive(server: Arc<Server>) {
    let Some(service) = &server.service else { return };
    let (mut holder, mut lead) = (Holder::default(), Lead::default());
    let mut present_ms = 0;
    loop {
        let leaving = service.leaving.load(Ordering::Acquire);
        let wanted: &[ServiceAddress] =
            if !leaving && may_serve(&server, &mut lead).await { &service.given.addresses } else { &[] };
        let now_ms = server.now_ms();
        if holder.held().count() != 0 && present_ms + ADDRESS_PRESENT_MS <= now_ms {
            present_ms = now_ms;
            notice_lost(service, &mut holder);
        }
        for act in holder.look(wanted, now_ms) {
            carry_out(&server, service, &mut holder, act);
        }
        keep(&server, service, &holder, &lead);
        if leaving && holder.held().count() == 0 {
            service.left.send_replace(true);
            return;
        }
        tokio::select! {
            biased;
            () = server.env.clock.sleep_ms(ADDRESS_LOOK_MS) => {}
            // It also says so when the engine has stopped, and then at once, each time.
            () = server.shards.leader_changed() => server.env.clock.sleep_ms(1).await,
            () = service.changed.notified() => {}
        }
    }
}

/// Whether this node leads, and knows everything that was acknowledged before it did.
async fn may_serve(server: &Server, lead: &mut Lead) -> bool {
    let Some(term) = server.shards.leading_term() else {
        if lead.ready.take().is_some() {
            tracing::warn!("does not lead any more");
        }
        return false;
    };
    if lead.ready == Some(term) {
        return true;
    }
    let began_ms = server.now_ms();
    let passed = tokio::select! {
        biased;
        passed = server.shards.read_barrier() => passed.is_ok(),
        () = server.env.clock.sleep_ms(ADDRESS_BARRIER_MS_MAX) => false,
    };
    // A term may have ended while it waited.
    if passed && server.shards.leading_term() == Some(term) {
        *lead = Lead { ready: Some(term), since_ms: server.now_ms() };
        tracing::info!(
            term,
            barrier_ms = lead.since_ms - began_ms,
            "leads, and knows all that was acknowledged"
        );
    }
    lead.ready == Some(term)
}

/// Addresses may have been taken away by this process's guard, or by somebody else.
fn notice_lost(service: &Service, holder: &mut Holder) {
    let Ok(present) = service.given.door.present() else { return };
    let lost: Vec<ServiceAddress> = holder.held().filter(|address| !present.contains(address)).collect();
    for address in lost {
        tracing::warn!(%address, "a service address has gone by itself");
        holder.lost(address);
    }
}

fn carry_out(server: &Server, service: &Service, holder: &mut Holder, act: Act) {
    let door = &service.given.door;
    match act {
        Act::Take(address) => match door.add(address, ADDRESS_VALID_S) {
            Ok(()) => tracing::info!(%address, "service address is here"),
            Err(error) => {
                tracing::error!(%address, %error, "a service address cannot be taken");
                holder.lost(address);
            }
        },
        Act::Renew(address) => {
            if let Err(error) = door.add(address, ADDRESS_VALID_S) {
                tracing::error!(%address, %error, "a service address cannot be renewed");
                holder.lost(address);
            }
        }
        Act::Announce(address) => {
            if let Err(error) = door.announce(address) {
                tracing::warn!(%address, %error, "a service address cannot be announced");
            }
            wake_clients(server, service, address);
        }
        Act::GiveUp(address) => {
            if let Err(error) = door.remove(address) {
                tracing::error!(%address, %error, "a service address cannot be given up");
                holder.stays(address, server.now_ms());
                return;
            }
            let ended = door.end_connections(address.ip);
            tracing::info!(%address, ended, "service address given up");
        }
    }
}

/// Makes the clients that were connected to another node notice that they are not any more.
fn wake_clients(server: &Server, service: &Service, address: ServiceAddress) {
    let own: BTreeSet<Caller> = own_callers(server, service).collect();
    let gone = server.shards.callers().into_iter();
    for caller in gone.filter(|caller| caller.service.ip() == address.ip && !own.contains(caller)) {
        if let Err(error) = service.given.door.tickle(caller.service, caller.client) {
            tracing::warn!(client = %caller.client, %error, "a client cannot be told that its connection is gone");
        }
    }
}

/// The connections to service addresses that are here.
fn own_callers(server: &Server, service: &Service) -> impl Iterator<Item = Caller> {
    let canonical = |at: std::net::SocketAddr| std::net::SocketAddr::new(at.ip().to_canonical(), at.port());
    let ends = server.front.ends().into_iter();
    let at_service = ends.filter(|(local, _)| service.has(local.ip()));
    at_service.map(move |(local, peer)| Caller { service: canonical(local), client: canonical(peer) })
}

/// Tells the guard that this process lives, the other members who is connected, and the rest of the server what is here.
fn keep(server: &Server, service: &Service, holder: &Holder, lead: &Lead) {
    let held: BTreeSet<ServiceAddress> = holder.held().collect();
    service.given.door.keep(if held.is_empty() { 0 } else { ADDRESS_LEASE_MS });
    server
        .metrics
        .set_addresses(service.given.addresses.iter().map(|address| (*address, held.contains(address))));
    *service.held.lock() = held;
    let Some(term) = lead.ready else { return server.shards.stop_telling_callers() };
    let mut callers: BTreeSet<Caller> = own_callers(server, service).collect();
    // Clients that have not come yet: the next leader, if this one dies soon, is to know them too.
    if server.now_ms() < lead.since_ms + CALLERS_KEPT_MS {
        callers.extend(server.shards.callers());
    }
    server.shards.tell_callers(term, callers.into_iter().collect());
}
