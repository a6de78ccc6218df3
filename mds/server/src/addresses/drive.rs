//! Drives the service addresses of a node: they are on the leader, once it can serve.
//!
//! A node that takes them wakes up the clients that were connected before: to another node, whose
//! leader reported them to this one, or to this node itself.
//!
//! Spec: docs/protocol/addresses.md.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use env::ServiceAddress;
use mds_raft::Caller;

use super::remembered::Remembered;
use super::service::Service;
use super::untaken::Untaken;
use super::{Act, Holder};
use crate::limits::{
    ADDRESS_BARRIER_MS_MAX, ADDRESS_LEASE_MS, ADDRESS_LOOK_MS, ADDRESS_PRESENT_MS, ADDRESS_VALID_S,
    CALLERS_KEPT_MS,
};
use crate::server::Server;

/// The term in which this node may hold the addresses.
#[derive(Default)]
struct Lead {
    /// The term in which a read barrier passed: this node has all that was acknowledged.
    ready: Option<u64>,
    since_ms: u64,
}

/// State of the passes.
#[derive(Default)]
struct Looks {
    holder: Holder,
    lead: Lead,
    /// Connections to service addresses that are held here, at this pass.
    own: BTreeSet<Caller>,
    remembered: Remembered,
    present_ms: u64,
}

/// Keeps the addresses where they belong, for as long as the server lives.
pub(crate) async fn drive_addresses(server: Arc<Server>) {
    let Some(service) = &server.service else { return };
    // Concurrently: passes do not wait while leadership is handed over.
    tokio::select! {
        biased;
        () = keep_in_place(&server, service) => {}
        () = pass_on(&server, service) => {}
    }
}

/// Makes one pass after the other, until the server leaves.
async fn keep_in_place(server: &Server, service: &Service) {
    let mut looks = Looks::default();
    loop {
        let leaving = service.leaving.load(Ordering::Acquire);
        let wanted: &[ServiceAddress] =
            if !leaving && may_serve(server, &mut looks.lead).await { &service.given.addresses } else { &[] };
        make_pass(server, service, &mut looks, wanted);
        if leaving && looks.holder.held().count() == 0 {
            service.left.send_replace(true);
            return;
        }
        tokio::select! {
            biased;
            () = server.machine_clock.sleep_ms(ADDRESS_LOOK_MS) => {}
            // This also returns when the engine has stopped, and then at once, each time.
            () = server.shards.leader_changed() => server.env.clock.sleep_ms(1).await,
            () = service.changed.notified() => {}
        }
    }
}

fn make_pass(server: &Server, service: &Service, looks: &mut Looks, wanted: &[ServiceAddress]) {
    // The kernel takes addresses away whether this process runs or not.
    let now_ms = server.machine_clock.monotonic_ms();
    // Before any connection is ended.
    note_callers(server, service, looks, now_ms);
    if looks.holder.held().count() != 0 && looks.present_ms + ADDRESS_PRESENT_MS <= now_ms {
        looks.present_ms = now_ms;
        notice_lost(service, &mut looks.holder);
    }
    for act in looks.holder.plan_acts(wanted, now_ms) {
        carry_out(server, service, looks, act);
    }
    let is_untaken = wanted.iter().any(|address| !looks.holder.has(*address));
    service.is_untaken.store(is_untaken, Ordering::Release);
    keep(server, service, looks);
}

/// Hands leadership over while addresses that belong here cannot be taken.
async fn pass_on(server: &Server, service: &Service) {
    let mut untaken = Untaken::default();
    loop {
        server.env.clock.sleep_ms(ADDRESS_LOOK_MS).await;
        let is_untaken = service.is_untaken.load(Ordering::Acquire) && server.shards.is_replicated();
        let Some(but) = untaken.next_due(is_untaken, server.now_ms()) else { continue };
        tracing::warn!("service addresses cannot be taken here: handing shard 0 over");
        let to = server.shards.hand_over_but(but).await;
        if to.is_none() {
            tracing::warn!("no other node to hand shard 0 over to");
        }
        let has_some = !service.held.lock().is_empty();
        untaken.asked(to, has_some, server.now_ms());
    }
}

/// Whether this node leads, and has all that was acknowledged before it did.
async fn may_serve(server: &Server, lead: &mut Lead) -> bool {
    let Some(term) = server.shards.leading_term() else {
        if lead.ready.take().is_some() {
            tracing::warn!("no longer the leader");
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
    // The term may have ended during the wait.
    if passed && server.shards.leading_term() == Some(term) {
        *lead = Lead { ready: Some(term), since_ms: server.now_ms() };
        tracing::info!(term, barrier_ms = lead.since_ms - began_ms, "leader, with all acknowledged state");
    }
    lead.ready == Some(term)
}

/// Notices addresses that this process's guard removed, or another program.
fn notice_lost(service: &Service, holder: &mut Holder) {
    let Ok(present) = service.given.door.present() else { return };
    let lost: Vec<ServiceAddress> = holder.held().filter(|address| !present.contains(address)).collect();
    for address in lost {
        tracing::warn!(%address, "service address is gone");
        holder.lost(address);
    }
}

fn carry_out(server: &Server, service: &Service, looks: &mut Looks, act: Act) {
    let door = &service.given.door;
    match act {
        Act::Take(address) => match door.add(address, ADDRESS_VALID_S) {
            Ok(()) => tracing::info!(%address, "service address is here"),
            Err(error) => {
                tracing::error!(%address, %error, "a service address cannot be taken");
                looks.holder.lost(address);
            }
        },
        Act::Renew(address) => match door.add(address, ADDRESS_VALID_S) {
            Ok(()) => looks.holder.renewed(address, server.machine_clock.monotonic_ms()),
            Err(error) => {
                tracing::error!(%address, %error, "a service address cannot be renewed");
                looks.holder.not_renewed(address, server.machine_clock.monotonic_ms());
            }
        },
        // It could not be taken.
        Act::Announce(address) if !looks.holder.has(address) => {}
        Act::Announce(address) => {
            if let Err(error) = door.announce(address) {
                tracing::warn!(%address, %error, "a service address cannot be announced");
            }
            wake_clients(server, service, looks, address);
        }
        Act::GiveUp(address) => {
            if let Err(error) = door.remove(address) {
                tracing::error!(%address, %error, "a service address cannot be given up");
                looks.holder.stays(address, server.machine_clock.monotonic_ms());
                return;
            }
            let ended = door.end_connections(address.ip);
            tracing::info!(%address, ended, "service address given up");
        }
    }
}

/// Wakes up clients whose connections are gone: to another node, or to this one before it lost the
/// address.
fn wake_clients(server: &Server, service: &Service, looks: &Looks, address: ServiceAddress) {
    let gone: BTreeSet<Caller> =
        server.shards.callers().into_iter().chain(looks.remembered.callers()).collect();
    for caller in gone.difference(&looks.own).filter(|caller| caller.service.ip() == address.ip) {
        if let Err(error) = service.given.door.tickle(caller.service, caller.client) {
            tracing::warn!(client = %caller.client, %error, "cannot notify client of its lost connection");
        }
    }
}

/// Records the connected clients.
fn note_callers(server: &Server, service: &Service, looks: &mut Looks, now_ms: u64) {
    looks.own = own_callers(server, service).collect();
    let here: BTreeSet<IpAddr> = looks.holder.held().map(|address| address.ip).collect();
    // Another leader has the addresses, and has woken these clients up.
    let is_elsewhere = server.shards.another_leads();
    looks.remembered.note(&looks.own, |ip| is_elsewhere || here.contains(&ip), now_ms);
}

/// The connections to service addresses held here.
fn own_callers(server: &Server, service: &Service) -> impl Iterator<Item = Caller> {
    let canonical = |at: std::net::SocketAddr| std::net::SocketAddr::new(at.ip().to_canonical(), at.port());
    let ends = server.front.ends().into_iter();
    let at_service = ends.filter(|(local, _)| service.has(local.ip()));
    at_service.map(move |(local, peer)| Caller { service: canonical(local), client: canonical(peer) })
}

/// Renews the guard's lease, sends the connected clients to the other members, and updates metrics
/// and `Service`.
fn keep(server: &Server, service: &Service, looks: &Looks) {
    let held: BTreeSet<ServiceAddress> = looks.holder.held().collect();
    service.given.door.keep(if held.is_empty() { 0 } else { ADDRESS_LEASE_MS });
    server
        .metrics
        .set_addresses(service.given.addresses.iter().map(|address| (*address, held.contains(address))));
    *service.held.lock() = held;
    let Some(term) = looks.lead.ready else { return server.shards.stop_telling_callers() };
    // Clients that have not reconnected yet: if this leader dies soon, the next one has to know
    // them too.
    let mut gone: BTreeSet<Caller> = looks.remembered.callers().collect();
    if server.now_ms() < looks.lead.since_ms + CALLERS_KEPT_MS {
        gone.extend(server.shards.callers());
    }
    // If they are too many for the message, connected clients come first.
    let told = looks.own.iter().chain(gone.difference(&looks.own)).copied().collect();
    server.shards.tell_callers(term, told);
}
