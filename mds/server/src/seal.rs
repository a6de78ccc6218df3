//! Sealed extents: images that wait for a group, the making of groups, the recreation of lost
//! images, the search for missing ones, and the replies to data servers about their images.
//!
//! Decisions are in the log; here is the leader's own knowledge, and its work under way. A new
//! leader begins with nothing: data servers report their images again.
//!
//! Spec: docs/protocol/seal.md.

pub(crate) mod answer;
pub(crate) mod group_bytes;
mod join;
mod memory;
pub(crate) mod mend;
mod pool;
pub(crate) mod presence;
pub(crate) mod readers;
pub(crate) mod remake;
pub(crate) mod sealer;

use std::collections::BTreeSet;

use layout::DataServerId;
use layout::ec::members::{Labels, Server as Site};
use layout::ec::{GroupId, ImageId, Profile};
use mds_namespace::shard_of;
use mds_raft::ProposeError;
use mds_state::{Command, Outcome};

use crate::limits::DECIDED_RETRY_MS;
use crate::report::NarrowCode;
use crate::server::Server;
pub(crate) use memory::{Sealing, Tally};

/// Whether a server has been dead for so long that its images are recreated elsewhere. A new leader
/// has no heartbeats yet: it waits for the same time itself.
pub(crate) fn is_gone(server: &Server, id: DataServerId, now_ms: u64) -> bool {
    let Some(since_ms) = *server.sealing.leading_since_ms.lock() else { return false };
    let led_ms = now_ms.saturating_sub(since_ms).saturating_sub(server.data_servers.lease_ms());
    let dead_ms = server.data_servers.dead_for_ms(id, now_ms);
    dead_ms.is_some_and(|dead_ms| server.config.repair_grace_ms <= dead_ms.min(led_ms))
}

/// The data servers as candidates for the choice of members.
fn sites(server: &Server, now_ms: u64) -> Vec<Site> {
    let site = |place: layout::copies::Place| Site {
        id: place.id,
        labels: Labels { zone: place.domain.zone, rack: place.domain.rack, host: place.domain.host },
        // A draining server gets no parity. One that is full for clients has a reserve for it:
        // otherwise it would stay full.
        free_bytes: if server.data_servers.is_draining(place.id) {
            0
        } else {
            server.data_servers.one(place.id).map_or(0, |known| known.usage.free_bytes())
        },
        up: place.up && !server.data_servers.is_broken(place.id),
        works: 0,
    };
    server.data_servers.places(now_ms).into_iter().map(site).collect()
}

/// The code of extents without one of their own; `None` if there are too few data servers for a
/// good enough one.
pub(crate) fn profile(server: &Server, now_ms: u64) -> Option<Profile> {
    if server.config.erasure_code.is_some() {
        return server.config.erasure_code;
    }
    let (present, known) = counts(server, now_ms)?;
    chosen(present, known, server.config.hot_copies)
}

/// Number of data servers that are not gone, and of all. Those in the log count: a new leader has
/// had few heartbeats yet.
fn counts(server: &Server, now_ms: u64) -> Option<(usize, usize)> {
    let known = server.view().ok()?.data_servers().ok()?;
    let present = known.iter().filter(|one| !is_gone(server, DataServerId(one.id), now_ms)).count();
    Some((present, known.len()))
}

/// The explicitly configured codes that need more data servers than there are. A code chosen by the
/// number of servers is never among them.
pub(crate) fn narrow(server: &Server, now_ms: u64) -> Vec<NarrowCode> {
    let Some((present, _)) = counts(server, now_ms).filter(|_| server.config.seal) else { return Vec::new() };
    let cluster = server.config.erasure_code;
    let waiting = server.sealing.pool.lock().waiting_by_code();
    let exports = server.exports();
    let of_exports = exports.iter().filter_map(|(_, export)| export.code);
    let of_images = waiting.keys().copied().flatten();
    let codes: BTreeSet<Profile> = cluster.into_iter().chain(of_exports).chain(of_images).collect();
    let one = |code: Profile| NarrowCode {
        code: code.to_string(),
        servers_full: code.images() as u64,
        servers_least: 1 + code.parity() as u64,
        servers: present as u64,
        images_waiting: waiting
            .iter()
            .filter(|(own, _)| own.or(cluster) == Some(code))
            .map(|(_, count)| count)
            .sum(),
    };
    codes.into_iter().filter(|code| present < code.images()).map(one).collect()
}

/// The widest code for the present data servers, unless it survives fewer losses than the hot
/// copies do: servers that are away for an hour must not weaken the data sealed in that hour for
/// good.
fn chosen(present: usize, known: usize, hot_copies: u32) -> Option<Profile> {
    let profile = Profile::default_for(present);
    let copies = usize::try_from(hot_copies).unwrap_or(usize::MAX).min(known);
    (copies <= profile.losses_tolerated() + 1).then_some(profile)
}

/// Proposes a command, and returns once it is applied, refused, or certain never to be applied; or
/// once another node leads, which decides then.
async fn decided(server: &Server, group: GroupId, command: Command) {
    let shard = shard_of(group.0);
    match server.shards.propose(None, command).await {
        Ok(Outcome::Refused(refusal)) => tracing::debug!(%refusal, "a command about groups was refused"),
        Ok(_) | Err(ProposeError::NotLeader { .. } | ProposeError::TooLong) => {}
        // It may yet be applied. Any later entry of the log settles whether it was.
        Err(_) => while behind(server, shard).await.is_err() {},
    }
}

/// Adds a harmless entry to the log of a shard.
async fn behind(server: &Server, shard: u16) -> Result<(), ()> {
    match server.shards.to(shard, None, Command::TakeGroup).await {
        Ok(_) | Err(ProposeError::NotLeader { .. } | ProposeError::Stopped(_)) => Ok(()),
        Err(_) => {
            server.env.clock.sleep_ms(DECIDED_RETRY_MS).await;
            Err(())
        }
    }
}

/// A new image id.
fn new_image(server: &Server) -> ImageId {
    loop {
        let mut image = [0; 16];
        server.env.entropy.fill(&mut image);
        if image != [0; 16] {
            return ImageId(image);
        }
    }
}

#[cfg(test)]
mod tests;
