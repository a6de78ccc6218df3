//! Drives the service addresses of a node: they are where the leader is, once it can answer.
//!
//! Whoever takes them wakes up the clients that were connected before: to another node, whose leader told this one who they are, or to
//! this node itself.
//!
//! Spec: docs/protocol/addresses.md.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use env::ServiceAddress;
use mds_shard::Caller;

use super::remembered::Remembered;
use super::service::Service;
use super::untaken::Untaken;
use super::{Act, Holder};
use crate::limits::{
    ADDRESS_BARRIER_MS_MAX, ADDRESS_LEASE_MS, ADDRESS_LOOK_MS, ADDRESS_PRESENT_MS, ADDRESS_VALID_S,
    CALLERS_KEPT_MS,
};
use crate::server::Server;

/// In which term this node may have the addresses, and who was told.
#[derive(Default)]
struct Lead {
    /// The term in which a read barrier was passed: what is acknowledged is here.
    ready: Option<u64>,
    since_ms: u64,
}

/// What a look goes by.
#[derive(Default)]
struct Looks {
    holder: Holder,
    lead: Lead,
    /// Connections to service addresses that are here, at this look.
    own: BTreeSet<Caller>,
    remembered: Remembered,
    present_ms: u64,
}

/// Keeps the addresses where they belong, for as long as the server lives.
pub(crate) async fn drive(server: Arc<Server>) {
    let Some(service) = &server.service else { return };
    // Beside each other: looks do not wait while the lead is handed over.
    tokio::select! {
        biased;
        () = keep_in_place(&server, service) => {}
        () = pass_on(&server, service) => {}
    }
}

/// Looks again and again, until the server leaves.
async fn keep_in_place(server: &Server, service: &Service) {
    let mut looks = Looks::default();
    loop {
        let leaving = service.leaving.load(Ordering::Acquire);
        let wanted: &[ServiceAddress] =
            if !leaving && may_serve(server, &mut looks.lead).await { &service.given.addresses } else { &[] };
        look(server, service, &mut looks, wanted);
        if leaving && looks.holder.held().count() == 0 {
            service.left.send_replace(true);
            return;
        }
        tokio::select! {
            biased;
            () = server.machine_clock.sleep_ms(ADDRESS_LOOK_MS) => {}
            // It also says so when the engine has stopped, and then at once, each time.
            () = server.shards.leader_changed() => server.env.clock.sleep_ms(1).await,
            () = service.changed.notified() => {}
        }
    }
}

fn look(server: &Server, service: &Service, looks: &mut Looks, wanted: &[ServiceAddress]) {
    // The kernel takes addresses away whether this process runs or not.
    let now_ms = server.machine_clock.monotonic_ms();
    // Before any connection is ended.
    note_callers(server, service, looks, now_ms);
    if looks.holder.held().count() != 0 && looks.present_ms + ADDRESS_PRESENT_MS <= now_ms {
        looks.present_ms = now_ms;
        notice_lost(service, &mut looks.holder);
    }
    for act in looks.holder.look(wanted, now_ms) {
        carry_out(server, service, looks, act);
    }
    let is_untaken = wanted.iter().any(|address| !looks.holder.has(*address));
    service.is_untaken.store(is_untaken, Ordering::Release);
    keep(server, service, looks);
}

/// Has another node lead while addresses that belong here cannot be taken.
async fn pass_on(server: &Server, service: &Service) {
    let mut untaken = Untaken::default();
    loop {
        server.env.clock.sleep_ms(ADDRESS_LOOK_MS).await;
        let is_untaken = service.is_untaken.load(Ordering::Acquire) && server.shards.is_replicated();
        let Some(but) = untaken.look(is_untaken, server.now_ms()) else { continue };
        tracing::warn!("service addresses cannot be taken here: shard 0 is handed over");
        let to = server.shards.hand_over_but(but).await;
        if to.is_none() {
            tracing::warn!("there is no other node that could lead and was not asked");
        }
        let has_some = !service.held.lock().is_empty();
        untaken.asked(to, has_some, server.now_ms());
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

/// Makes the clients that were connected to another node, or to this one before it lost the address, notice that they are not any more.
fn wake_clients(server: &Server, service: &Service, looks: &Looks, address: ServiceAddress) {
    let gone: BTreeSet<Caller> =
        server.shards.callers().into_iter().chain(looks.remembered.callers()).collect();
    for caller in gone.difference(&looks.own).filter(|caller| caller.service.ip() == address.ip) {
        if let Err(error) = service.given.door.tickle(caller.service, caller.client) {
            tracing::warn!(client = %caller.client, %error, "a client cannot be told that its connection is gone");
        }
    }
}

/// Looks who is connected.
fn note_callers(server: &Server, service: &Service, looks: &mut Looks, now_ms: u64) {
    looks.own = own_callers(server, service).collect();
    let here: BTreeSet<IpAddr> = looks.holder.held().map(|address| address.ip).collect();
    // Another leader has the addresses, and has woken them up.
    let is_elsewhere = server.shards.another_leads();
    looks.remembered.note(&looks.own, |ip| is_elsewhere || here.contains(&ip), now_ms);
}

/// The connections to service addresses that are here.
fn own_callers(server: &Server, service: &Service) -> impl Iterator<Item = Caller> {
    let canonical = |at: std::net::SocketAddr| std::net::SocketAddr::new(at.ip().to_canonical(), at.port());
    let ends = server.front.ends().into_iter();
    let at_service = ends.filter(|(local, _)| service.has(local.ip()));
    at_service.map(move |(local, peer)| Caller { service: canonical(local), client: canonical(peer) })
}

/// Tells the guard that this process lives, the other members who is connected, and the rest of the server what is here.
fn keep(server: &Server, service: &Service, looks: &Looks) {
    let held: BTreeSet<ServiceAddress> = looks.holder.held().collect();
    service.given.door.keep(if held.is_empty() { 0 } else { ADDRESS_LEASE_MS });
    server
        .metrics
        .set_addresses(service.given.addresses.iter().map(|address| (*address, held.contains(address))));
    *service.held.lock() = held;
    let Some(term) = looks.lead.ready else { return server.shards.stop_telling_callers() };
    // Clients that have not come yet: the next leader, if this one dies soon, is to know them too.
    let mut gone: BTreeSet<Caller> = looks.remembered.callers().collect();
    if server.now_ms() < looks.lead.since_ms + CALLERS_KEPT_MS {
        gone.extend(server.shards.callers());
    }
    // If they are too many for the message, those that are connected come first.
    let told = looks.own.iter().chain(gone.difference(&looks.own)).copied().collect();
    server.shards.tell_callers(term, told);
}
