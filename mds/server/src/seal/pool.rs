//! The images that wait for a group, and what is being made of which: the leader's memory. Time is an argument.
//!
//! INVARIANT: an image that a group is being made with stays in `making` until the log has said what became of it.
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

/// The images that wait for others of one code.
#[derive(Debug, Default)]
struct Queue {
    places: BTreeMap<ImageId, Waiter>,
    /// When an image last began to wait.
    newest_ms: u64,
}

/// What became of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The log has it.
    Done,
    /// A member is of no use any more. The others need not wait.
    Moved,
    /// A data server had too much to do, or did not answer: nothing is wrong with the members.
    Busy,
    /// It came to nothing for another reason, which may be one of the members.
    Failed,
}

/// The images of this leader.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// By the shard and the code of their extents. Each has its own bound: images of a code that there are too few servers for are in nobody's way.
    waiting: BTreeMap<Kind, Queue>,
    /// Members and parity of groups that are being made.
    making: BTreeSet<ImageId>,
    /// Images that are being made again, and where.
    remaking: BTreeMap<(GroupId, usize), (ImageId, DataServerId)>,
    groups: usize,
    rotation: u64,
    loads: Loads,
}

impl Pool {
    /// How many images wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(|queue| queue.places.len()).sum()
    }

    /// How many images wait, by the code of their extents; `None` is the cluster's.
    pub(super) fn waiting_by_code(&self) -> BTreeMap<Option<Profile>, u64> {
        let mut by_code = BTreeMap::new();
        for ((_, code), queue) in self.waiting.iter().filter(|(_, queue)| !queue.places.is_empty()) {
            *by_code.entry(*code).or_default() += queue.places.len() as u64;
        }
        by_code
    }

    /// How many images are being made again.
    pub(super) fn remaking(&self) -> usize {
        self.remaking.len()
    }

    /// How many of them on one data server.
    pub(super) fn remaking_on(&self, on: DataServerId) -> usize {
        self.remaking.values().filter(|one| one.1 == on).count()
    }

    /// How many groups are being made.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Forgets what waits. What is under way ends by itself.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Lets an image wait, or takes note that it is still there. What finds no room will be shown again.
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

    /// Takes the images of the next group, if there are any that should wait no longer. Those whose extents have no code of their own
    /// go under the cluster's, or wait if that is `None`.
    pub(super) fn take(
        &mut self,
        cluster: Option<Profile>,
        sites: &[Site],
        now_ms: u64,
        group_wait_ms: u64,
    ) -> Option<Making> {
        for queue in self.waiting.values_mut() {
            queue.places.retain(|_, place| now_ms < place.shown_ms.saturating_add(SHOWN_AGAIN_MS_MAX));
        }
        // The code whose turn it is by its first image comes first, and if nothing comes of that, the next one.
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

    /// Takes the images of the next group under one code, of these kinds.
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
        // While others come, better wait for them than pay a whole parity for few.
        let newest_ms = queues.iter().map(|queue| queue.newest_ms).max().unwrap_or(0);
        // So do those that will be tried again soon.
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
            self.begin(&place.candidate);
        }
        Some(self.begin_group(Making {
            profile,
            members: places.iter().map(|place| place.map(|place| place.candidate)).collect(),
            parity: choice.parity,
            places: places.into_iter().flatten().collect(),
        }))
    }

    /// A group is being made on these servers.
    fn begin_group(&mut self, mut making: Making) -> Making {
        self.rotation = self.rotation.wrapping_add(1);
        self.groups += 1;
        self.loads.encoder_first(&mut making.parity);
        self.loads.begin(&making);
        making
    }

    /// The servers as they will be when all that is under way is done.
    pub(super) fn loaded(&self, sites: &[Site]) -> Vec<Site> {
        self.loads.applied(sites, |on| self.remaking_on(on))
    }

    /// Takes members of other groups for a new one. `None` if a group is being made with one of them.
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
            self.begin(one);
        }
        let empty = profile.data().saturating_sub(members.len());
        let members = members.into_iter().map(Some).chain(std::iter::repeat_n(None, empty)).collect();
        // If it comes to nothing, they are where they were.
        Some(self.begin_group(Making { profile, members, parity, places: Vec::new() }))
    }

    /// A group is being made with an image.
    fn begin(&mut self, one: &Candidate) {
        let image = one.member.image;
        if let Some(queue) = self.waiting.get_mut(&one.kind()) {
            queue.places.remove(&image);
        }
        self.making.insert(image);
    }

    /// Moves by one with each group.
    pub(super) fn rotation(&self) -> u64 {
        self.rotation
    }

    /// Parity is about to be made under this name.
    pub(super) fn begin_parity(&mut self, image: ImageId) {
        self.making.insert(image);
    }

    /// A group was made, or came to nothing: then those of its members that `stays` names wait on.
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
        self.loads.end(making);
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

    /// An image of a group is about to be made again. False if it is already.
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

    /// It was made, or came to nothing.
    pub(super) fn end_remake(&mut self, group: GroupId, slot: usize) {
        self.remaking.remove(&(group, slot));
    }

    /// Whether an image is being made again on a data server.
    pub(super) fn is_remaking(&self, image: ImageId, on: DataServerId) -> bool {
        self.remaking.values().any(|one| *one == (image, on))
    }
}

/// When an image whose group came to nothing is tried again. Members of a group that met a busy
/// server stay together: each alone would make a short group. If one of them may be at fault they
/// part, so that the others get into a group without it.
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

/// Which image's turn it is: that of the least.
type Turn = (u32, u64, ImageId);

/// Those that came to nothing go behind the others, then those that wait longest are first.
fn turn(place: &Waiter) -> Turn {
    (place.failures, place.since_ms, place.candidate.member.image)
}

#[cfg(test)]
mod tests;
