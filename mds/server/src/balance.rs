//! Rebalances: moves data until each data server holds its fair share, after one was added or some
//! grew fuller than others.
//!
//! `layout::balance` decides, `look` scans groups and extents for it, `sets` moves copies of
//! extents, `seal::remake` images. Runs on the leader. Its state is in memory: a new leader scans
//! again. Repair comes first: no move begins while anything is missing.
//!
//! Spec: docs/protocol/admin.md §6.

mod holders;
mod look;
mod memory;
mod sets;

use std::sync::Arc;

use layout::DataServerId;
use layout::balance::difference_permille;
use layout::limits::BALANCE_BEGIN_PERMILLE;
use wire_nfs::control::admin::{Rebalanced, Route};
use wire_nfs::control::limits::ROUTES_MAX;

use crate::limits::{
    BALANCE_BYTES_PER_S, BALANCE_EXTENTS_MAX, BALANCE_IMAGES_MAX, BALANCE_REST_MS, FOLLOW_REST_MS,
};
use crate::report::BalanceStatus;
use crate::seal::{is_gone, remake};
use crate::server::Server;
use holders::holders;
pub(crate) use memory::{Balancing, ImageMove};
use memory::{Plan, State};

/// The only reason to wait that ends soon enough to keep a plan.
const FILLS: &str = "copies are being filled";
/// Time between two rounds.
const ROUND_MS: u64 = 500;

/// Runs for as long as the server lives.
pub(crate) async fn drive_moves(server: Arc<Server>) {
    loop {
        tokio::select! {
            () = server.balancing.call.notified() => {}
            () = server.env.clock.sleep_ms(ROUND_MS) => {}
        }
        let leads = server.shards.leading_term() == Some(server.data_servers.term());
        if !leads {
            *server.balancing.state.lock() = State::default();
            continue;
        }
        let waits = trouble(&server);
        let wanted = {
            let mut state = server.balancing.state.lock();
            state.waits = waits;
            server.config.rebalance || state.asked
        };
        sets::advance(&server).await;
        if wanted && waits.is_none() {
            step(&server).await;
        } else if !wanted || waits != Some(FILLS) {
            // Moves under way end by themselves.
            server.balancing.state.lock().plan = Plan::default();
        }
        update_metrics(&server);
    }
}

/// Why no move may begin now.
fn trouble(server: &Server) -> Option<&'static str> {
    let now_ms = server.now_ms();
    let servers = &server.data_servers;
    let standing: Vec<(DataServerId, [bool; 2])> = servers
        .all()
        .iter()
        .map(|(id, known)| (*id, [servers.is_up(*id, now_ms) && !servers.is_broken(*id), known.draining]))
        .collect();
    let mut state = server.balancing.state.lock();
    if state.standing != standing {
        (state.standing_since_ms, state.standing) = (now_ms, standing.clone());
    }
    if standing.iter().any(|(id, [up, _])| !up && !is_gone(server, *id, now_ms)) {
        return Some("a data server is down");
    }
    if now_ms < state.standing_since_ms + server.config.rebalance_calm_ms {
        return Some("data servers have just come or gone");
    }
    let left = |id: &DataServerId| {
        let extents = server.copies.left.lock().get(id).copied();
        extents != Some(0) || server.sealing.left.lock().get(id).copied() != Some(0)
    };
    if standing.iter().any(|(id, [_, draining])| *draining && left(id)) {
        return Some("a data server is being emptied");
    }
    let copies = *server.copies.tally.lock();
    if 0 < copies.degraded || 0 < copies.unserved {
        return Some("copies are missing");
    }
    let groups = *server.sealing.tally.lock();
    let remade = server.sealing.under_way().1;
    if 0 < groups.away || 0 < server.sealing.missing() || (state.images as u64) < remade {
        return Some("images are missing");
    }
    // Backups that are filled because of a move are not missing.
    ((state.sets.len() as u64) < copies.filling).then_some(FILLS)
}

/// Scans if it is time to, and begins the moves that may begin.
async fn step(server: &Arc<Server>) {
    let now_ms = server.now_ms();
    let begun = {
        let state = server.balancing.state.lock();
        let idle = state.plan.is_empty() && state.images == 0 && state.sets.is_empty();
        (idle && state.look_ms <= now_ms).then(|| (state.under_way || state.asked, state.follow_ms <= now_ms))
    };
    if let Some((begun, follow)) = begun {
        let held = server.sealing.held.lock().clone();
        let differs =
            BALANCE_BEGIN_PERMILLE < difference_permille(&holders(&server.data_servers, &held, now_ms));
        let found = if begun || follow || differs {
            look::scan_all(server, begun).await
        } else {
            Some(Plan::default())
        };
        keep(server, found, begun || follow || differs);
    }
    let surplus = std::mem::take(&mut server.balancing.state.lock().plan.surplus);
    sets::change(server, surplus).await;
    while let Some(next) = next(server) {
        let server = Arc::clone(server);
        tokio::spawn(async move { move_image(server, next).await });
    }
}

/// Adopts a plan.
fn keep(server: &Server, found: Option<Plan>, looked: bool) {
    let now_ms = server.now_ms();
    let mut state = server.balancing.state.lock();
    let Some(plan) = found else {
        state.look_ms = now_ms + BALANCE_REST_MS;
        return;
    };
    let left_bytes = plan.routes.values().map(|route| route.bytes).sum();
    if plan.is_empty() {
        if state.under_way {
            let bytes = state.progress.done_bytes();
            tracing::info!(bytes, "no data server is much fuller than another any more, as far as can be");
        }
        (state.under_way, state.asked, state.look_ms) = (false, false, now_ms + BALANCE_REST_MS);
    } else {
        if !state.under_way {
            state.under_way = true;
            tracing::info!(
                bytes = left_bytes,
                homes = plan.sets.len(),
                "data move from fuller data servers to emptier ones"
            );
        }
        // Moved bytes show up in later heartbeats.
        state.look_ms = now_ms + server.data_servers.lease_ms();
    }
    if looked {
        state.follow_ms = now_ms + FOLLOW_REST_MS;
    }
    state.progress.found(left_bytes, now_ms);
    state.plan = plan;
}

/// The next image to move; moves of extents begin on the way.
fn next(server: &Server) -> Option<ImageMove> {
    let now_ms = server.now_ms();
    let mut state = server.balancing.state.lock();
    // Half a second ahead: no round runs in between.
    let until_ms = now_ms + ROUND_MS;
    while state.move_ms <= until_ms && state.sets.len() < BALANCE_EXTENTS_MAX {
        let Some(one) = state.plan.sets.pop_front() else { break };
        state.sets.begin_move(one, now_ms);
        pay(&mut state, one.bytes, now_ms);
    }
    if until_ms < state.move_ms || BALANCE_IMAGES_MAX <= state.images {
        return None;
    }
    let one = state.plan.images.pop_front()?;
    state.images += 1;
    pay(&mut state, one.bytes, now_ms);
    Some(one)
}

/// Delays the next moves by the bandwidth that this one takes.
fn pay(state: &mut State, bytes: u64, now_ms: u64) {
    state.move_ms = state.move_ms.max(now_ms) + bytes * 1000 / BALANCE_BYTES_PER_S;
}

async fn move_image(server: Arc<Server>, one: ImageMove) {
    let moved = remake::relocate(&server, &one).await;
    let follow = if moved { look::follow(&server, one.group, one.slot) } else { None };
    {
        let mut state = server.balancing.state.lock();
        state.images = state.images.saturating_sub(1);
        state.end_move(one.bytes, moved, server.now_ms());
        if moved {
            server.metrics.balanced(one.bytes);
        }
        if let Some(follow) = follow {
            state.plan.sets.push_front(follow);
        }
    }
    server.balancing.call.notify_one();
}

fn update_metrics(server: &Server) {
    let status = status(server);
    server.metrics.set_balance(status.left_bytes);
}

/// Progress, for administrators.
pub(crate) fn status(server: &Server) -> BalanceStatus {
    let state = server.balancing.state.lock();
    let on = server.shards.is_leader() && (server.config.rebalance || state.asked);
    let (images, sets) = (state.plan.images.len() + state.images, state.plan.sets.len() + state.sets.len());
    let left_bytes = state.progress.left_bytes();
    // Before the first move: assume full speed.
    let eta_s = || state.progress.eta_s(server.now_ms()).unwrap_or(left_bytes / BALANCE_BYTES_PER_S);
    BalanceStatus {
        on,
        waits: state.waits.filter(|_| on).unwrap_or_default().to_owned(),
        moves: state.under_way,
        images: images as u64,
        extents: sets as u64,
        left_bytes: if state.under_way { left_bytes } else { 0 },
        done_bytes: state.progress.done_bytes(),
        left_s: if state.under_way { eta_s() } else { 0 },
    }
}

/// Handles an administrator's REBALANCE: begins it, or shows the plan.
pub(crate) async fn asked(server: &Server, dry_run: bool) -> Rebalanced {
    let waits = server.balancing.state.lock().waits;
    if let Some(waits) = waits {
        return Rebalanced { done: false, words: format!("not now: {waits}"), routes: Vec::new() };
    }
    if !dry_run {
        {
            let mut state = server.balancing.state.lock();
            (state.asked, state.look_ms) = (true, 0);
        }
        server.balancing.call.notify_one();
        let words =
            "data move until nothing helps any more; `shoal admin status` says how far it is".to_owned();
        return Rebalanced { done: true, words, routes: Vec::new() };
    }
    let Some(plan) = look::scan_all(server, true).await else {
        let words = "what there is cannot be read now".to_owned();
        return Rebalanced { done: false, words, routes: Vec::new() };
    };
    let routes: Vec<Route> =
        plan.routes.into_values().filter(|route| 0 < route.bytes).take(ROUTES_MAX).collect();
    let words = if routes.is_empty() { "nothing would be moved" } else { "this would be moved" };
    Rebalanced { done: true, words: words.to_owned(), routes }
}
