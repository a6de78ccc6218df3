//! The images that wait for a group, and the groups and images being made: the leader's memory.
//! Time is an argument.
//!
//! INVARIANT: an image that a group is being made with stays in `making` until the log has decided
//! on the group.
//! Spec: docs/protocol/seal.md §3.

mod load;
mod making;

use std::collections::{BTreeMap, BTreeSet};

use layout::DataServerId;
use layout::ec::members::{self, Server as Site, Waiting};
use layout::ec::{GroupId, ImageId, Profile};

use crate::limits::{
    GROUP_BUSY_RETRY_MS, GROUP_BUSY_RETRY_MS_MAX, GROUP_LULL_PARTS, GROUP_RETRY_MS, GROUP_RETRY_MS_MAX,
    GROUP_WAIT_TIMES_MAX, IMAGES_WAITING_MAX, SHOWN_AGAIN_MS_MAX,
};
use load::Loads;
pub(super) use making::{Candidate, Making};
use making::{Kind, Waiter};

/// The waiting images of one kind.
#[derive(Debug, Default)]
struct Queue {
    places: BTreeMap<ImageId, Waiter>,
    /// Time of the last new image.
    newest_ms: u64,
}

/// Outcome of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The log has it.
    Done,
    /// A member has become useless. The others need not wait.
    Moved,
    /// A data server was busy, or did not answer: the members are not at fault.
    Busy,
    /// It failed for another reason, which may be one of the members.
    Failed,
}

/// The images of this leader.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// By the shard and the code of their extents. Each has its own bound: images of a code with
    /// too few servers do not block others.
    waiting: BTreeMap<Kind, Queue>,
    /// Members and parity of groups that are being made.
    making: BTreeSet<ImageId>,
    /// Images that are being recreated, and where.
    remaking: BTreeMap<(GroupId, usize), (ImageId, DataServerId)>,
    groups: usize,
    rotation: u64,
    loads: Loads,
}

impl Pool {
    /// Number of waiting images.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(|queue| queue.places.len()).sum()
    }

    /// Number of waiting images, by the code of their extents; `None` is the cluster's.
    pub(super) fn waiting_by_code(&self) -> BTreeMap<Option<Profile>, u64> {
        let mut by_code = BTreeMap::new();
        for ((_, code), queue) in self.waiting.iter().filter(|(_, queue)| !queue.places.is_empty()) {
            *by_code.entry(*code).or_default() += queue.places.len() as u64;
        }
        by_code
    }

    /// Number of images that are being recreated.
    pub(super) fn remaking(&self) -> usize {
        self.remaking.len()
    }

    /// Number of images that are being recreated on one data server.
    pub(super) fn remaking_on(&self, on: DataServerId) -> usize {
        self.remaking.values().filter(|one| one.1 == on).count()
    }

    /// Number of groups that are being made.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Forgets the waiting images. Work under way ends by itself.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Adds a waiting image, or records that it still exists. An image beyond the limit is reported
    /// again later.
    pub(super) fn wait(&mut self, candidate: Candidate, now_ms: u64) {
        let image = candidate.member.image;
        if self.making.contains(&image) {
            return;
        }
        let queue = self.waiting.entry(candidate.kind()).or_default();
        if let Some(place) = queue.places.get_mut(&image) {
            (place.candidate, place.shown_ms) = (candidate, now_ms);
        } else if queue.places.len() < IMAGES_WAITING_MAX {
            let (since_ms, shown_ms, next_ms) = (now_ms, now_ms, now_ms);
            let place = Waiter { candidate, since_ms, shown_ms, failures: 0, refusals: 0, next_ms };
            queue.places.insert(image, place);
            queue.newest_ms = now_ms;
        }
    }

    /// Takes the images of the next group, if any are due. Images without a code of their own get
    /// the cluster's, or wait if that is `None`.
    pub(super) fn take_group(
        &mut self,
        cluster: Option<Profile>,
        sites: &[Site],
        now_ms: u64,
        group_wait_ms: u64,
    ) -> Option<Making> {
        for queue in self.waiting.values_mut() {
            queue.places.retain(|_, place| now_ms < place.shown_ms.saturating_add(SHOWN_AGAIN_MS_MAX));
        }
        // The code of the first image in turn comes first; if it makes no group, the next one.
        let mut turns: BTreeMap<(u16, Profile), Turn> = BTreeMap::new();
        for ((shard, own), queue) in &self.waiting {
            let first = queue.places.values().filter(|place| place.next_ms <= now_ms).map(turn).min();
            if let Some((profile, first)) = own.or(cluster).zip(first) {
                turns.entry((*shard, profile)).and_modify(|turn| *turn = first.min(*turn)).or_insert(first);
            }
        }
        let mut turns: Vec<(Turn, (u16, Profile))> =
            turns.into_iter().map(|(kind, turn)| (turn, kind)).collect();
        turns.sort_unstable();
        let sites = self.loaded(sites);
        turns.into_iter().find_map(|(_, (shard, profile))| {
            let both = [(shard, Some(profile)), (shard, None)];
            let kinds = if cluster == Some(profile) { &both[..] } else { &both[..1] };
            self.take_under(profile, kinds, &sites, now_ms, group_wait_ms)
        })
    }

    /// Takes the images of the next group of one code, from these kinds.
    fn take_under(
        &mut self,
        profile: Profile,
        kinds: &[Kind],
        sites: &[Site],
        now_ms: u64,
        group_wait_ms: u64,
    ) -> Option<Making> {
        let queues: Vec<&Queue> = kinds.iter().filter_map(|kind| self.waiting.get(kind)).collect();
        let places = queues.iter().flat_map(|queue| queue.places.values());
        let mut queue: Vec<&Waiter> = places.filter(|place| place.next_ms <= now_ms).collect();
        queue.sort_by_key(|place| turn(place));
        // While others arrive, waiting for them costs less than a whole parity for few.
        let newest_ms = queues.iter().map(|queue| queue.newest_ms).max().unwrap_or(0);
        // Images that are soon due for a retry count like arriving ones.
        let soon_ms = now_ms.saturating_add(group_wait_ms);
        let is_due_soon = |place: &Waiter| now_ms < place.next_ms && place.next_ms <= soon_ms;
        let others = queues.iter().any(|queue| queue.places.values().any(is_due_soon));
        let lull = !others && newest_ms.saturating_add(group_wait_ms / GROUP_LULL_PARTS) <= now_ms;
        let times = if lull { 1 } else { GROUP_WAIT_TIMES_MAX };
        let overdue_ms = group_wait_ms.saturating_mul(times);
        let waiting: Vec<Waiting> = queue
            .iter()
            .map(|place| Waiting {
                image: place.candidate.member.image,
                home: place.candidate.home,
                bytes: place.candidate.member.bytes,
                overdue: place.since_ms.saturating_add(overdue_ms) <= now_ms,
            })
            .collect();
        let choice = members::choose(profile, &waiting, sites, self.rotation)?;
        let places: Vec<Option<Waiter>> = choice.members.iter().map(|at| at.map(|at| *queue[at])).collect();
        for place in places.iter().flatten() {
            self.mark_making(&place.candidate);
        }
        Some(self.begin_group(Making {
            profile,
            members: places.iter().map(|place| place.map(|place| place.candidate)).collect(),
            parity: choice.parity,
            places: places.into_iter().flatten().collect(),
        }))
    }

    /// Records that a group is being made on these servers.
    fn begin_group(&mut self, mut making: Making) -> Making {
        self.rotation = self.rotation.wrapping_add(1);
        self.groups += 1;
        self.loads.encoder_first(&mut making.parity);
        self.loads.add_group(&making);
        making
    }

    /// The servers as they will be after all work under way.
    pub(super) fn loaded(&self, sites: &[Site]) -> Vec<Site> {
        self.loads.applied(sites, |on| self.remaking_on(on))
    }

    /// Takes members of other groups for a new one. `None` if a group is being made with one of
    /// them.
    pub(super) fn join(
        &mut self,
        profile: Profile,
        members: Vec<Candidate>,
        parity: Vec<DataServerId>,
    ) -> Option<Making> {
        if members.iter().any(|one| self.making.contains(&one.member.image)) {
            return None;
        }
        for one in &members {
            self.mark_making(one);
        }
        let empty = profile.data().saturating_sub(members.len());
        let members = members.into_iter().map(Some).chain(std::iter::repeat_n(None, empty)).collect();
        // If it fails, they stay where they are.
        Some(self.begin_group(Making { profile, members, parity, places: Vec::new() }))
    }

    /// Marks an image as a member of a group that is being made.
    fn mark_making(&mut self, one: &Candidate) {
        let image = one.member.image;
        if let Some(queue) = self.waiting.get_mut(&one.kind()) {
            queue.places.remove(&image);
        }
        self.making.insert(image);
    }

    /// Advances by one with each group.
    pub(super) fn rotation(&self) -> u64 {
        self.rotation
    }

    /// Marks the id of a parity image that is about to be made.
    pub(super) fn begin_parity(&mut self, image: ImageId) {
        self.making.insert(image);
    }

    /// Ends the making of a group. If it failed, its members for which `stays` is true wait on.
    /// `random` spreads the next attempts of groups that met at one server.
    pub(super) fn end(
        &mut self,
        making: &Making,
        parity: &[ImageId],
        stays: impl Fn(&Candidate) -> bool,
        (ended, random): (Ended, u64),
        now_ms: u64,
    ) {
        self.groups -= 1;
        self.loads.remove_group(making);
        for image in parity {
            self.making.remove(image);
        }
        for one in making.members.iter().flatten() {
            self.making.remove(&one.member.image);
        }
        for place in &making.places {
            let image = place.candidate.member.image;
            let queue = self.waiting.entry(place.candidate.kind()).or_default();
            if stays(&place.candidate) && queue.places.len() < IMAGES_WAITING_MAX {
                let place = again(place, ended, random, now_ms);
                queue.places.insert(image, place);
            }
        }
    }

    /// Whether a group is being made with an image.
    pub(super) fn is_making(&self, image: ImageId) -> bool {
        self.making.contains(&image)
    }

    /// Marks an image as being recreated. False if it is already.
    pub(super) fn begin_remake(
        &mut self,
        (group, slot): (GroupId, usize),
        image: ImageId,
        on: DataServerId,
    ) -> bool {
        match self.remaking.entry((group, slot)) {
            std::collections::btree_map::Entry::Occupied(_) => false,
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert((image, on));
                true
            }
        }
    }

    /// Ends the recreation of an image.
    pub(super) fn end_remake(&mut self, group: GroupId, slot: usize) {
        self.remaking.remove(&(group, slot));
    }

    /// Whether an image is being recreated on a data server.
    pub(super) fn is_remaking(&self, image: ImageId, on: DataServerId) -> bool {
        self.remaking.values().any(|one| *one == (image, on))
    }
}

/// Schedules the next attempt of an image whose group failed. Members of a group that met a busy
/// server stay together: each alone would make a short group. If one of them may be at fault they
/// separate, so that the others get into a group without it.
fn again(place: &Waiter, ended: Ended, random: u64, now_ms: u64) -> Waiter {
    let mut place = *place;
    if ended == Ended::Moved {
        place.next_ms = now_ms;
        return place;
    }
    let (pause_ms, random) = if ended == Ended::Busy {
        let pause_ms = (GROUP_BUSY_RETRY_MS << place.refusals.min(16)).min(GROUP_BUSY_RETRY_MS_MAX);
        place.refusals = place.refusals.saturating_add(1);
        (pause_ms, random)
    } else {
        let pause_ms = (GROUP_RETRY_MS << place.failures.min(16)).min(GROUP_RETRY_MS_MAX);
        (place.failures, place.refusals) = (place.failures.saturating_add(1), 0);
        let own = place.candidate.member.image.0.first_chunk().map_or(0, |half| u64::from_be_bytes(*half));
        (pause_ms, random ^ own)
    };
    // Up to half as long again.
    place.next_ms = now_ms + pause_ms + random % (pause_ms / 2).max(1);
    place
}

/// Order of the images: the least is the first in turn.
type Turn = (u32, u64, ImageId);

/// Images of failed groups come last; among the others, those that wait longest come first.
fn turn(place: &Waiter) -> Turn {
    (place.failures, place.since_ms, place.candidate.member.image)
}

#[cfg(test)]
mod tests;
