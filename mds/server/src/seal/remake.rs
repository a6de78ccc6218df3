//! Has an image made again: on another data server, or where it was.
//!
//! Spec: docs/protocol/seal.md §6, §7.

use std::sync::Arc;

use layout::DataServerId;
use layout::ec::{Group, GroupId};
use mds_namespace::sealed;
use mds_state::Command;
use mds_state::command::seal::RehomeImage;

use super::{decided, sites};
use crate::balance::ImageMove;
use crate::limits::{BALANCE_IMAGES_MAX, REMAKES_AT_ONCE_MAX, REMAKES_EACH_MAX};
use crate::server::Server;

/// Begins to recreate an image on a data server, unless that is under way. False if the server, or
/// all of them, are busy.
pub(super) fn begin_remake(server: &Arc<Server>, group: Group, slot: usize, on: DataServerId) -> bool {
    let Some((image, _)) = group.shape().image(slot) else { return true };
    let mut pool = server.sealing.pool.lock();
    if REMAKES_AT_ONCE_MAX <= pool.remaking() || REMAKES_EACH_MAX <= pool.remaking_on(on) {
        return false;
    }
    if pool.begin_remake((group.shape().group(), slot), image, on) {
        let server = Arc::clone(server);
        tokio::spawn(async move { remake(&server, group, slot, on).await });
    }
    true
}

/// Moves a healthy image: recreates it on another server. Returns whether it is there then; does
/// nothing if the state has changed since the decision, or other recreations are under way.
pub(crate) async fn relocate(server: &Server, one: &ImageMove) -> bool {
    let ImageMove { group: id, slot, from, to, .. } = *one;
    let Some(group) = server.view().ok().and_then(|view| sealed::group(view.namespace(), id).ok().flatten())
    else {
        return false;
    };
    let sites = sites(server, server.now_ms());
    let site = sites.iter().find(|site| site.id == to);
    let fits = site.is_some_and(|site| site.up && group.shape().file_bytes(slot) <= site.free_bytes);
    let alone = !group.homes().contains(&Some(to));
    let Some((image, _)) = group.shape().image(slot) else { return false };
    if group.homes()[slot] != Some(from) || !fits || !alone {
        return false;
    }
    {
        let mut pool = server.sealing.pool.lock();
        if BALANCE_IMAGES_MAX <= pool.remaking()
            || pool.is_making(image)
            || !pool.begin_remake((id, slot), image, to)
        {
            return false;
        }
    }
    remake(server, group, slot, to).await
}

/// Begins to recreate an image in its place: its data server is up and no longer has it. False if
/// that must wait.
pub(super) fn start_in_place(server: &Arc<Server>, id: GroupId, slot: usize, on: DataServerId) -> bool {
    let Some(group) = server.view().ok().and_then(|view| sealed::group(view.namespace(), id).ok().flatten())
    else {
        return true;
    };
    // It may have moved meanwhile.
    if group.homes().get(slot) != Some(&Some(on)) || !server.data_servers.is_up(on, server.now_ms()) {
        return true;
    }
    begin_remake(server, group, slot, on)
}

/// Recreates an image. True once it exists, and the log has its place.
async fn remake(server: &Server, group: Group, slot: usize, on: DataServerId) -> bool {
    let id = group.shape().group();
    let made = match server.data_servers.one(on) {
        Some(known) => known.control.rebuild(&group, slot).await,
        None => Err(client::control::ControlError::Unknown),
    };
    if made.is_ok() {
        server.sealing.progress.lock().done(group.shape().file_bytes(slot));
    }
    let done = match (made, group.homes()[slot]) {
        (Ok(()), Some(from)) if from == on => {
            tracing::info!(group = %id, slot, server = on.0, "image recreated in its place");
            server.metrics.remade();
            true
        }
        (Ok(()), Some(from)) => {
            tracing::info!(group = %id, slot, server = on.0, "image recreated");
            let moved =
                RehomeImage { group: id.0, slot: u32::try_from(slot).expect("few slots"), from, to: on };
            decided(server, id, Command::RehomeImage(moved)).await;
            server.metrics.remade();
            let now = server.view().ok().and_then(|view| sealed::group(view.namespace(), id).ok().flatten());
            now.is_some_and(|now| now.homes()[slot] == Some(on))
        }
        (Ok(()), None) => false,
        (Err(error), _) => {
            tracing::warn!(group = %id, slot, server = on.0, %error, "image could not be recreated");
            false
        }
    };
    server.sealing.pool.lock().end_remake(id, slot);
    server.sealing.remade.notify_one();
    done
}
