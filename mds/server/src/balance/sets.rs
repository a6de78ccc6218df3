//! Copies of extents on their way from one data server to another.
//!
//! `layout::copies::shift` decides the next step. `copies` fills new backups, and homes hand over
//! as they do when a server is drained.
//!
//! Spec: docs/protocol/admin.md §4, §6.

use std::sync::Arc;

use layout::copies::{Shift, Step};
use mds_namespace::op::extent::{CopyChange, extent};
use mds_namespace::sealed;
use mds_state::Command;
use mds_state::command::data::ChangeCopies;
use mds_state::limits::COPY_CHANGES_MAX;

use super::memory::SetMove;
use crate::drain;
use crate::limits::BALANCE_MOVE_MS_MAX;
use crate::server::Server;

/// Takes the next step of each move.
pub(super) async fn advance(server: &Arc<Server>) {
    let moving: Vec<(SetMove, u64)> = server.balancing.state.lock().sets.moving.values().copied().collect();
    let (mut changes, mut hands) = (Vec::new(), Vec::new());
    for (one, since_ms) in moving {
        let (step, change) = next(server, &one);
        match (step, change) {
            (Step::Change(copies), Some(CopyChange { extent, epoch, .. })) => {
                changes.push((CopyChange { extent, epoch, copies }, one));
            }
            (Step::Done, _) => end(server, &one, true),
            (Step::Never, _) => end(server, &one, false),
            (Step::Wait | Step::Change(_), _) => {
                // The next scan finds what the move leaves behind.
                if since_ms + BALANCE_MOVE_MS_MAX < server.now_ms() {
                    tracing::info!(extent = %one.extent, "an extent does not move");
                    end(server, &one, false);
                }
            }
        }
    }
    let mut same_home = Vec::new();
    for (change, one) in changes {
        match crate::copies::lookup(server, one.extent) {
            Ok(Some(record)) if record.home == change.copies.home => same_home.push(change),
            Ok(_) => hands.push(change),
            // The record cannot be read now: the next scan finds it as it was.
            Err(_) => {}
        }
    }
    change(server, same_home).await;
    drain::hand_over(server, hands);
}

/// The next step of a move, and the extent's copies as they are.
fn next(server: &Server, one: &SetMove) -> (Step, Option<CopyChange>) {
    let Ok(view) = server.view() else { return (Step::Wait, None) };
    let (Ok(record), Ok(images)) =
        (extent(view.namespace(), one.extent), sealed::images(view.namespace(), one.extent))
    else {
        return (Step::Wait, None);
    };
    let Some(record) = record else { return (Step::Done, None) };
    if record.pending_work.is_some() {
        return (Step::Wait, None);
    }
    let rests = images.at_rest().is_some();
    if one.bytes == 0 && !rests {
        // A client came back to the extent: it stays where it is.
        return (Step::Never, None);
    }
    let copies = usize::try_from(server.config.hot_copies).unwrap_or(1);
    let places = server.data_servers.places(server.now_ms());
    // Fewer servers hold fewer copies.
    let copies = copies.min(places.len());
    let shift = Shift { from: one.from, to: one.to, copies, rests };
    let turn = record.extent.ino.wrapping_add(u64::from(record.extent.index));
    let step = shift.next(&record.copies(), &places, turn);
    let now = CopyChange { extent: record.extent, epoch: record.epoch, copies: record.copies() };
    (step, Some(now))
}

fn end(server: &Server, one: &SetMove, moved: bool) {
    let mut state = server.balancing.state.lock();
    state.sets.moving.remove(&one.extent);
    state.end_move(one.bytes, moved, server.now_ms());
    if moved {
        server.metrics.balanced(one.bytes);
    }
}

/// Replaces the backups of extents that keep their homes.
pub(super) async fn change(server: &Server, changes: Vec<CopyChange>) {
    if changes.is_empty() {
        return;
    }
    for some in changes.chunks(COPY_CHANGES_MAX) {
        // Another node may know that a server which was up in an earlier term is dead.
        if server.shards.leading_term() != Some(server.data_servers.term()) {
            return;
        }
        let asked = ChangeCopies { changes: some.to_vec() };
        if server.propose(Command::ChangeCopies(asked)).await.is_err() {
            break;
        }
    }
    server.copies.changed.notify_waiters();
    server.copies.look.notify_one();
    server.work.wake();
}
