//! Queries healthy data servers for the images that the log assigns to them, a few groups at a
//! time, and has missing ones recreated there.
//!
//! Runs on the leader, whether sealing is on or not. `mend` handles servers that are not up.
//!
//! INVARIANT: an image is recreated here only after its data server itself reported it missing.
//! Spec: docs/protocol/seal.md §10.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use layout::DataServerId;
use layout::ec::{Group, GroupId, ImageId};
use mds_namespace::op::seal::groups_from;
use wire_nfs::control::limits::IMAGES_MAX;

use super::remake;
use crate::limits::{GROUPS_SCAN_MAX, HAVE_PAUSE_MS, HAVE_REST_MS, MISSING_MAX};
use crate::server::Server;

/// An image of a group, its server, and the expected length of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    group: GroupId,
    slot: usize,
    image: ImageId,
    file_bytes: u64,
}

/// An image that is missing: group, slot, and the data server that should have it.
type Missing = (GroupId, usize, DataServerId);

/// A scan of all groups.
#[derive(Default)]
struct Walk {
    /// The number of the next group.
    from: u64,
    /// Earliest time of the next step, unless notified.
    next_ms: u64,
    missing: VecDeque<Missing>,
}

/// Runs for as long as the server lives.
pub(crate) async fn drive_presence(server: Arc<Server>) {
    let mut walk = Walk::default();
    loop {
        tokio::select! {
            () = server.sealing.count.notified() => walk.restart(),
            () = server.env.clock.sleep_ms(HAVE_PAUSE_MS) => {}
        }
        if server.shards.is_leader() {
            walk.step(&server).await;
        } else {
            walk = Walk::default();
        }
        server.sealing.missing.store(walk.missing.len() as u64, Ordering::Relaxed);
    }
}

impl Walk {
    /// Restarts the scan: a data server has registered, possibly with another disk.
    fn restart(&mut self) {
        (self.from, self.next_ms) = (0, 0);
    }

    async fn step(&mut self, server: &Arc<Server>) {
        while let Some((group, slot, on)) = self.missing.front().copied() {
            if !remake::start_in_place(server, group, slot, on) {
                break;
            }
            self.missing.pop_front();
        }
        // One batch may exceed the limit.
        if MISSING_MAX <= self.missing.len() || server.now_ms() < self.next_ms {
            return;
        }
        let Some(groups) = groups(server, GroupId(self.from)) else { return };
        match groups.last() {
            Some(last) if groups.len() == GROUPS_SCAN_MAX => self.from = last.shape().group().0 + 1,
            Some(_) | None => (self.from, self.next_ms) = (0, server.now_ms() + HAVE_REST_MS),
        }
        for (on, held) in by_server(&groups) {
            self.query_server(server, on, &held).await;
        }
    }

    async fn query_server(&mut self, server: &Server, on: DataServerId, held: &[Held]) {
        let Some(known) = server.data_servers.one(on) else { return };
        for some in held.chunks(IMAGES_MAX) {
            if !server.data_servers.is_up(on, server.now_ms()) {
                return;
            }
            let asked: Vec<(ImageId, u64)> = some.iter().map(|one| (one.image, one.file_bytes)).collect();
            let have = match known.control.have(on, &asked).await {
                Ok(have) => have,
                Err(error) => {
                    tracing::debug!(server = on.0, %error, "data server does not report its images");
                    return;
                }
            };
            for (Held { group, slot, image, .. }, _) in some.iter().zip(have).filter(|(_, have)| !have) {
                tracing::warn!(server = on.0, %group, slot, %image, "data server has lost an image");
                server.metrics.image_missing();
                if !self.missing.contains(&(*group, *slot, on)) {
                    self.missing.push_back((*group, *slot, on));
                }
            }
        }
    }
}

fn groups(server: &Server, from: GroupId) -> Option<Vec<Group>> {
    groups_from(server.view().ok()?.namespace(), from, GROUPS_SCAN_MAX).ok()
}

/// The images of these groups by the data server that should have them.
fn by_server(groups: &[Group]) -> BTreeMap<DataServerId, Vec<Held>> {
    let mut all: BTreeMap<DataServerId, Vec<Held>> = BTreeMap::new();
    for group in groups {
        let shape = group.shape();
        for (slot, home) in group.homes().iter().enumerate() {
            let (Some(home), Some((image, _))) = (home, shape.image(slot)) else { continue };
            let held = Held { group: shape.group(), slot, image, file_bytes: shape.file_bytes(slot) };
            all.entry(*home).or_default().push(held);
        }
    }
    all
}
