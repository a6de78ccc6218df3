//! Scans all groups: counts them, has images of lost servers recreated, returns the living members
//! of half-dead groups to the pool, and joins short groups.
//!
//! Runs on the leader, whether sealing is on or not. Groups that can lose least come first.
//!
//! Spec: docs/protocol/seal.md §6, §7.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use layout::DataServerId;
use layout::ec::members;
use layout::ec::{Group, GroupId};
use mds_namespace::op;
use mds_namespace::op::seal::{groups_from, living};
use mds_namespace::sealed::{self, ExtentImage};

use super::group_bytes::{bytes, hold, is_half_dead};
use super::join::{self, Shorts};
use super::pool::Candidate;
use super::remake::begin_remake;
use super::{Tally, is_gone, sites};
use crate::limits::{GROUPS_SCAN_MAX, LOST_IMAGES_MAX, REMAKES_AT_ONCE_MAX, REMAKES_LOOK_MAX};
use crate::server::Server;

/// Interval of the checks of the servers.
const ROUND_MS: u64 = 500;
/// Interval of the scans of all groups while images are missing.
const AGAIN_MS: u64 = 2_000;
/// Interval of the scans of all groups while nothing is to be done.
const REST_MS: u64 = 10_000;
/// At least this many times the duration of a scan: with very many groups, scans must not take all
/// the time.
const REST_PARTS: u64 = 20;

/// Above the losses any group can survive: images that should move, but can be read.
const UNHURRIED: usize = 1 << 16;

/// An image to be recreated: the losses its group can still survive, the group, the slot.
type Lost = (usize, GroupId, usize);

/// Runs for as long as the server lives.
pub(crate) async fn drive_groups(server: Arc<Server>) {
    let (mut known, mut next_ms, mut queue) = (Vec::new(), 0, VecDeque::new());
    loop {
        tokio::select! {
            () = server.sealing.remade.notified() => {}
            () = server.env.clock.sleep_ms(ROUND_MS) => {}
        }
        if !server.sealing.leads(server.shards.is_leader(), server.now_ms()) {
            known.clear();
            queue.clear();
            continue;
        }
        start_some(&server, &mut queue);
        let now_ms = server.now_ms();
        let standing = standing(&server, now_ms);
        if standing == known && now_ms < next_ms {
            continue;
        }
        known = standing;
        let Some((tally, lost, shorts)) = scan_groups(&server).await else { continue };
        server.metrics.set_groups(&tally);
        *server.sealing.tally.lock() = tally;
        server.sealing.progress.lock().found(tally.lost_bytes, server.now_ms());
        let looked_ms = server.now_ms();
        // Endangered data goes first.
        let joins = lost.is_empty() && shorts.join(&server);
        let pause_ms = if lost.is_empty() && !joins { REST_MS } else { AGAIN_MS };
        next_ms = looked_ms + pause_ms.max(REST_PARTS * (looked_ms - now_ms));
        queue = lost.into();
        start_some(&server, &mut queue);
    }
}

/// For each server: whether it is up, whether it is gone, and whether it is draining.
fn standing(server: &Server, now_ms: u64) -> Vec<(DataServerId, [bool; 3])> {
    let servers = &server.data_servers;
    let one = |id| [servers.is_up(id, now_ms), is_gone(server, id, now_ms), servers.is_draining(id)];
    servers.all().iter().map(|(id, _)| (*id, one(*id))).collect()
}

/// Scans all groups; `None` if the store cannot be read.
async fn scan_groups(server: &Server) -> Option<(Tally, Vec<Lost>, Shorts)> {
    let (mut tally, mut lost, mut shorts) = (Tally::default(), Vec::new(), Shorts::new(server));
    let mut left: BTreeMap<DataServerId, u64> =
        server.data_servers.watched(server.now_ms()).into_iter().map(|id| (id, 0)).collect();
    let mut held = BTreeMap::new();
    let mut from = GroupId(0);
    loop {
        let groups = {
            let view = server.view().ok()?;
            let groups = groups_from(view.namespace(), from, GROUPS_SCAN_MAX).ok()?;
            for group in &groups {
                let alive = living(view.namespace(), group).ok()?;
                count(server, group, &alive, &mut tally);
                let gone = missing(server, group);
                tally.lost_bytes += gone.iter().map(|one| group.shape().file_bytes(one.2)).sum::<u64>();
                lost.extend(gone);
                hold(group, &mut held);
                for id in group.homes().iter().flatten() {
                    left.entry(*id).and_modify(|count| *count += 1);
                }
                if server.config.seal && is_half_dead(group, &alive) {
                    dissolve(server, join::candidates(view.namespace(), group, &alive).ok()?);
                } else if server.config.seal {
                    shorts.note(view.namespace(), group, &alive).ok()?;
                }
            }
            groups
        };
        lost.sort_unstable();
        lost.truncate(LOST_IMAGES_MAX);
        match groups.last() {
            Some(last) if groups.len() == GROUPS_SCAN_MAX => from = GroupId(last.shape().group().0 + 1),
            Some(_) | None => break,
        }
        tokio::task::yield_now().await;
    }
    *server.sealing.left.lock() = left;
    *server.sealing.held.lock() = held;
    Some((tally, lost, shorts))
}

fn count(server: &Server, group: &Group, alive: &[(usize, ExtentImage)], tally: &mut Tally) {
    let now_ms = server.now_ms();
    let away = |id: DataServerId| !server.data_servers.is_up(id, now_ms);
    tally.groups += 1;
    tally.away += group.homes().iter().flatten().filter(|home| away(**home)).count() as u64;
    let (living_bytes, all_bytes) = bytes(group, alive);
    tally.living_bytes += living_bytes;
    tally.dead_bytes += all_bytes - living_bytes;
    match group.losses_left(away) {
        Some(left) => tally.losses_survived = tally.losses_survived.min(left as u64),
        None => tally.unreadable += 1,
    }
}

/// The images of a group that have to be and can be recreated. Those on draining servers are in no
/// danger, and come last.
fn missing(server: &Server, group: &Group) -> Vec<Lost> {
    let now_ms = server.now_ms();
    let gone = |id: DataServerId| is_gone(server, id, now_ms);
    let away = |id: DataServerId| !server.data_servers.is_up(id, now_ms);
    // An unreadable group cannot be recreated now.
    if group.losses_left(away).is_none() {
        return Vec::new();
    }
    let Some(left) = group.losses_left(gone) else { return Vec::new() };
    let one = |(slot, home): (usize, &Option<DataServerId>)| {
        let urgency = match *home {
            Some(id) if gone(id) => left,
            Some(id) if server.data_servers.is_draining(id) && !away(id) => left + UNHURRIED,
            Some(_) | None => return None,
        };
        Some((urgency, group.shape().group(), slot))
    };
    group.homes().iter().enumerate().filter_map(one).collect()
}

/// Puts the living members of a group into the pool for another one.
fn dissolve(server: &Server, alive: Vec<Candidate>) {
    let now_ms = server.now_ms();
    let mut pool = server.sealing.pool.lock();
    for candidate in alive {
        pool.wait(candidate, now_ms);
    }
}

/// Begins to recreate images, up to the limit. The queue may be slightly stale: the next scan sees
/// the changes since.
fn start_some(server: &Arc<Server>, queue: &mut VecDeque<Lost>) {
    let mut behind = VecDeque::new();
    while server.sealing.pool.lock().remaking() < REMAKES_AT_ONCE_MAX && behind.len() < REMAKES_LOOK_MAX {
        let Some(one) = queue.pop_front() else { break };
        if !start(server, one) {
            behind.push_back(one);
        }
    }
    behind.append(queue);
    *queue = behind;
}

/// Begins to recreate an image, if that is still needed. False if its data server is busy.
fn start(server: &Arc<Server>, (_, id, slot): Lost) -> bool {
    let Some(group) = server.view().ok().and_then(|view| sealed::group(view.namespace(), id).ok().flatten())
    else {
        return true;
    };
    // It may have been recreated meanwhile.
    if !missing(server, &group).iter().any(|lost| lost.2 == slot) {
        return true;
    }
    let Some(on) = target(server, &group, slot) else { return true };
    begin_remake(server, group, slot, on)
}

/// The server to recreate an image on: its extent's home if that may hold it, else the best fit.
fn target(server: &Server, group: &Group, slot: usize) -> Option<DataServerId> {
    let sites = server.sealing.pool.lock().loaded(&sites(server, server.now_ms()));
    let others: Vec<DataServerId> = group
        .homes()
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != slot)
        .filter_map(|(_, home)| *home)
        .collect();
    let bytes = group.shape().bytes(slot);
    let home = group.shape().members().get(slot).copied().flatten().and_then(|member| {
        let view = server.view().ok()?;
        op::extent::extent(view.namespace(), member.extent).ok()?.map(|record| record.home)
    });
    let fits = |id: &DataServerId| {
        let site = sites.iter().find(|site| site.id == *id);
        !others.contains(id) && site.is_some_and(|site| site.up && bytes <= site.free_bytes)
    };
    home.filter(fits).or_else(|| {
        members::replace(group.shape().profile(), &others, bytes, &sites, group.shape().group().0)
    })
}
