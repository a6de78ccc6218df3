//! Moving the copies of an extent away from servers that are to be empty: what the copies should be
//! next.
//!
//! INVARIANT: there are never fewer copies that hold everything than before and than are wished,
//! but by one where a set is full.
//! Spec: docs/protocol/admin.md §3.

use super::choice::{Place, choose_backups};
use super::copy_set::{COPIES_MAX, Copies};
use crate::data_server::DataServerId;

/// What the copies of an extent should be next, so that one day none is on a server that is
/// `leaving`; `None` if none is, or if nothing can be done now. `copies` are wished in all; no
/// server that is leaving is `fit`.
///
/// The primary changes only to a replica that is up and holds everything.
#[must_use]
pub fn leave(
    now: &Copies,
    places: &[Place],
    leaving: &[DataServerId],
    copies: usize,
    rotation: u64,
) -> Option<Copies> {
    let stays = |id: &DataServerId| !leaving.contains(id);
    let up = |id: DataServerId| places.iter().any(|place| place.id == id && place.up);
    let servers = now.servers();
    if servers.iter().all(stays) || !up(now.home) {
        return None;
    }
    let wanted = copies.min(COPIES_MAX).min(places.iter().filter(|place| stays(&place.id)).count());
    let filling = |id: DataServerId| now.backups.contains(&(id, true));
    let whole: Vec<DataServerId> =
        servers.iter().copied().filter(|id| stays(id) && up(*id) && !filling(*id)).collect();
    let first = *whole.first().unwrap_or(&now.home);
    let heir = if stays(&now.home) { now.home } else { first };
    assert!(heir == now.home || now.backups.contains(&(heir, false)), "the heir holds everything");
    let mut next = now.clone();
    if 0 < wanted && wanted <= whole.len() {
        next.home = heir;
        next.backups.retain(|(server, _)| stays(server) && *server != heir);
        return Some(next);
    }
    let staying = servers.iter().filter(|id| stays(id)).count();
    let missing = wanted.saturating_sub(staying);
    let room = COPIES_MAX.saturating_sub(servers.len());
    if room == 0 {
        if now.backups.iter().any(|(_, filling)| *filling) {
            // It leaves room, or is whole, soon.
            return None;
        }
        match next.backups.iter().position(|(server, _)| !stays(server)) {
            Some(at) => drop(next.backups.remove(at)),
            None => {
                next.home = heir;
                next.backups.retain(|(server, _)| *server != heir);
            }
        }
    }
    let chosen = choose_backups(places, &servers, missing.min(room.max(1)), rotation);
    let added = !chosen.is_empty();
    next.backups.extend(chosen.into_iter().map(|id| (id, true)));
    (added && next.servers().len() <= COPIES_MAX).then_some(next)
}

#[cfg(test)]
mod tests;
