//! The images that wait for a group, and what is being made of which: the leader's memory. Time is an argument.
//!
//! INVARIANT: an image that a group is being made with stays in `making` until the log has said what became of it.
//! Spec: docs/protocol/seal.md §3.

mod load;

use std::collections::{BTreeMap, BTreeSet};

use layout::DataServerId;
use layout::ec::members::{self, Server as Site, Waiting};
use layout::ec::{GroupId, ImageId, Member, Profile};
use mds_namespace::op::seal::SealedAs;
use mds_namespace::shard_of;

use crate::limits::{
    GROUP_BUSY_RETRY_MS, GROUP_BUSY_RETRY_MS_MAX, GROUP_LULL_PARTS, GROUP_RETRY_MS, GROUP_RETRY_MS_MAX,
    GROUP_WAIT_TIMES_MAX, IMAGES_WAITING_MAX, SHOWN_AGAIN_MS_MAX,
};
use load::Loads;

/// An image that may become a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What the group says of it.
    pub(super) member: Member,
    /// The data server that has it.
    pub(super) home: DataServerId,
    /// How it was sealed.
    pub(super) sealed_as: SealedAs,
    /// The code of its extent; `None` is the cluster's.
    pub(super) code: Option<Profile>,
}

/// What images of one group have in common: the shard that keeps their extents, and the code of these.
type Kind = (u16, Option<Profile>);

impl Candidate {
    fn kind(&self) -> Kind {
        (self.shard(), self.code)
    }

    /// The shard that keeps its extent, and will keep its group.
    pub(super) fn shard(&self) -> u16 {
        shard_of(self.member.extent.ino)
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    candidate: Candidate,
    /// When it began to wait.
    since_ms: u64,
    /// When it was last said to be there.
    shown_ms: u64,
    /// Groups with it that came to nothing.
    failures: u32,
    /// Of these, those that came to nothing since, because a data server had too much to do.
    refusals: u32,
    /// Not before this time.
    next_ms: u64,
}

/// The images that wait for others of one code.
#[derive(Debug, Default)]
struct Queue {
    places: BTreeMap<ImageId, Place>,
    /// When an image last began to wait.
    newest_ms: u64,
}

/// Members of a group that is to be made, and the data servers of its parity.
#[derive(Clone, Debug)]
pub(super) struct Making {
    pub(super) profile: Profile,
    /// An empty member is `None`.
    pub(super) members: Vec<Option<Candidate>>,
    pub(super) parity: Vec<DataServerId>,
    places: Vec<Place>,
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
            let place = Place { candidate, since_ms, shown_ms, failures: 0, refusals: 0, next_ms };
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
        let mut queue: Vec<&Place> = places.filter(|place| place.next_ms <= now_ms).collect();
        queue.sort_by_key(|place| turn(place));
        // While others come, better wait for them than pay a whole parity for few.
        let newest_ms = queues.iter().map(|queue| queue.newest_ms).max().unwrap_or(0);
        // So do those that will be tried again soon.
        let soon_ms = now_ms.saturating_add(group_wait_ms);
        let is_due_soon = |place: &Place| now_ms < place.next_ms && place.next_ms <= soon_ms;
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
        let places: Vec<Option<Place>> = choice.members.iter().map(|at| at.map(|at| *queue[at])).collect();
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
fn again(place: &Place, ended: Ended, random: u64, now_ms: u64) -> Place {
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
fn turn(place: &Place) -> Turn {
    (place.failures, place.since_ms, place.candidate.member.image)
}

#[cfg(test)]
mod tests {
    use layout::ec::{ImageSum, members::Labels};
    use layout::{Epoch, ExtentId};

    use super::*;

    fn candidate(image: u8, home: u32) -> Candidate {
        let extent = ExtentId { ino: u64::from(image), index: 0 };
        let member = Member { image: ImageId([image; 16]), extent, bytes: 1000, sum: ImageSum([image; 32]) };
        let (epoch, content_bytes, root) = (Epoch(1), 900, [1; 32]);
        let sealed_as = SealedAs { epoch, sequence: 5, content_bytes, root, from: None };
        Candidate { member, home: DataServerId(home), sealed_as, code: None }
    }

    fn sites(count: u32) -> Vec<Site> {
        let site = |id| Site {
            id: DataServerId(id),
            labels: Labels::default(),
            free_bytes: 1 << 40,
            up: true,
            works: 0,
        };
        (1..=count).map(site).collect()
    }

    fn images(making: &Making) -> Vec<Option<u8>> {
        making.members.iter().map(|one| one.map(|one| one.member.image.0[0])).collect()
    }

    const WAIT_MS: u64 = 30_000;

    fn take(pool: &mut Pool, now_ms: u64) -> Option<Making> {
        pool.take(Some(Profile::TwoPlusOne), &sites(3), now_ms, WAIT_MS)
    }

    #[test]
    fn images_wait_for_each_other_but_not_for_ever() {
        let mut pool = Pool::default();
        pool.wait(candidate(1, 1), 1000);
        assert!(take(&mut pool, 1000 + WAIT_MS - 1).is_none());
        let short = take(&mut pool, 1000 + WAIT_MS).unwrap();
        assert_eq!((images(&short), pool.waiting(), pool.groups()), (vec![Some(1), None], 0, 1));
        assert!(pool.is_making(ImageId([1; 16])));
        pool.wait(candidate(1, 1), 40_000);
        assert_eq!(pool.waiting(), 0, "a group is being made with it");
        pool.end(&short, &[], |_| false, (Ended::Done, 0), 40_000);
        assert_eq!((pool.waiting(), pool.groups()), (0, 0));
        pool.wait(candidate(2, 1), 50_000);
        pool.wait(candidate(3, 1), 50_001);
        assert!(take(&mut pool, 50_002).is_none(), "both are on one server");
        pool.wait(candidate(4, 2), 50_002);
        let full = take(&mut pool, 50_002).unwrap();
        assert_eq!((images(&full), full.parity.clone()), (vec![Some(2), Some(4)], vec![DataServerId(3)]));
        assert_eq!(pool.waiting(), 1);
    }

    #[test]
    fn while_others_come_a_short_group_waits() {
        let mut pool = Pool::default();
        pool.wait(candidate(1, 1), 0);
        pool.wait(candidate(2, 1), WAIT_MS - 1);
        assert!(take(&mut pool, WAIT_MS).is_none());
        let lull_ms = WAIT_MS / GROUP_LULL_PARTS;
        let short = take(&mut pool, WAIT_MS - 1 + lull_ms).unwrap();
        assert_eq!(images(&short), [Some(1), None]);
        for step in 2..=4 * GROUP_WAIT_TIMES_MAX {
            pool.wait(candidate(3 + u8::try_from(step).unwrap(), 1), step * lull_ms);
        }
        let short = take(&mut pool, WAIT_MS - 1 + GROUP_WAIT_TIMES_MAX * WAIT_MS).unwrap();
        assert_eq!(images(&short)[1], None, "but not for ever");
    }

    #[test]
    fn what_is_joined_is_not_taken_and_does_not_wait_if_that_fails() {
        let mut pool = Pool::default();
        pool.wait(candidate(1, 1), 0);
        let all = vec![candidate(1, 1), candidate(2, 2)];
        let parity = vec![DataServerId(3)];
        let joined = pool.join(Profile::TwoPlusOne, all.clone(), parity.clone()).unwrap();
        assert_eq!((images(&joined), pool.waiting(), pool.groups()), (vec![Some(1), Some(2)], 0, 1));
        assert!(pool.join(Profile::TwoPlusOne, all.clone(), parity.clone()).is_none());
        pool.end(&joined, &[], |_| true, (Ended::Failed, 0), 0);
        assert_eq!((pool.waiting(), pool.groups(), pool.is_making(ImageId([1; 16]))), (0, 0, false));
        assert!(pool.join(Profile::TwoPlusOne, all, parity).is_some());
    }

    #[test]
    fn what_came_to_nothing_is_tried_again_later_and_behind_the_others() {
        let mut pool = Pool::default();
        pool.wait(candidate(1, 1), 0);
        pool.wait(candidate(2, 2), 0);
        let making = take(&mut pool, 0).unwrap();
        let parity = ImageId([9; 16]);
        pool.begin_parity(parity);
        assert!(pool.is_making(parity));
        pool.end(&making, &[parity], |one| one.member.image != ImageId([2; 16]), (Ended::Busy, 0), 100);
        assert_eq!((pool.waiting(), pool.is_making(parity)), (1, false), "one of them is of no use any more");
        pool.wait(candidate(3, 2), 100);
        assert!(take(&mut pool, 100 + GROUP_BUSY_RETRY_MS - 1).is_none());
        let again = take(&mut pool, 100 + GROUP_BUSY_RETRY_MS).unwrap();
        assert_eq!(images(&again), [Some(1), Some(3)], "nothing was wrong with it");
        pool.end(&again, &[], |_| true, (Ended::Failed, 0), 10_000);
        pool.wait(candidate(4, 1), 10_000);
        pool.wait(candidate(5, 2), 10_000);
        assert_eq!(
            images(&take(&mut pool, 100_000).unwrap()),
            [Some(4), Some(5)],
            "those that failed are last"
        );
    }

    fn six() -> Pool {
        let mut pool = Pool::default();
        for image in 1..=24 {
            pool.wait(candidate(image, u32::from(image - 1) % 6 + 1), 0);
        }
        pool
    }

    #[test]
    fn groups_that_begin_together_are_made_by_different_servers() {
        let mut pool = six();
        let mut sites = sites(6);
        // One is emptier than all others, as after a repair.
        sites[5].free_bytes += 1 << 40;
        let made: Vec<Making> =
            std::iter::from_fn(|| pool.take(Some(Profile::TwoPlusOne), &sites, 0, WAIT_MS))
                .take(crate::limits::GROUPS_AT_ONCE_MAX)
                .collect();
        let mut each = BTreeMap::new();
        for making in &made {
            *each.entry(making.parity[0]).or_insert(0) += 1;
        }
        assert_eq!(made.len(), crate::limits::GROUPS_AT_ONCE_MAX);
        assert!(each.values().all(|count| *count <= 2), "{each:?}");
        for making in &made {
            pool.end(making, &[], |_| false, (Ended::Done, 0), 0);
        }
        let loaded = pool.loaded(&sites);
        assert_eq!(loaded, sites, "what was made is not under way any more");
    }

    #[test]
    fn the_least_busy_of_the_parity_servers_computes_it() {
        let mut pool = six();
        let take = |pool: &mut Pool| pool.take(Some(Profile::FourPlusTwo), &sites(6), 0, WAIT_MS).unwrap();
        let one = take(&mut pool);
        let other = Making { parity: one.parity.clone(), ..one.clone() };
        let other = pool.begin_group(other);
        assert_eq!([other.parity[1], other.parity[0]], [one.parity[0], one.parity[1]]);
    }

    #[test]
    fn groups_that_met_at_a_busy_server_part_and_their_members_stay_together() {
        let mut pool = six();
        let take =
            |pool: &mut Pool, now_ms| pool.take(Some(Profile::FourPlusTwo), &sites(6), now_ms, WAIT_MS);
        let made: Vec<Making> = (0..4).map(|_| take(&mut pool, 0).unwrap()).collect();
        for (making, random) in made.iter().zip([11, 1_017, 303, 777]) {
            pool.end(making, &[], |_| true, (Ended::Busy, random), 0);
        }
        let due = |pool: &Pool, making: &Making| -> BTreeSet<u64> {
            let places = pool.waiting.values().flat_map(|queue| queue.places.iter());
            let of = |image: &ImageId| making.members.iter().flatten().any(|one| one.member.image == *image);
            places.filter(|(image, _)| of(image)).map(|(_, place)| place.next_ms).collect()
        };
        let times: Vec<BTreeSet<u64>> = made.iter().map(|making| due(&pool, making)).collect();
        assert!(times.iter().all(|times| times.len() == 1), "{times:?}");
        assert_eq!(times.iter().flatten().collect::<BTreeSet<_>>().len(), made.len(), "{times:?}");
        // However often they are refused, the next attempt is soon.
        for _ in 0..40 {
            let Some(making) = take(&mut pool, 1 << 40) else { break };
            pool.end(&making, &[], |_| true, (Ended::Busy, u64::MAX), 1 << 40);
        }
        let places = pool.waiting.values().flat_map(|queue| queue.places.values());
        assert!(places.map(|place| place.next_ms).all(|next| next < (1 << 40) + 2 * GROUP_BUSY_RETRY_MS_MAX));
    }

    #[test]
    fn one_that_spoils_groups_does_not_take_the_same_others_with_it_for_ever() {
        let mut pool = six();
        let take =
            |pool: &mut Pool, now_ms| pool.take(Some(Profile::FourPlusTwo), &sites(6), now_ms, WAIT_MS);
        let bad = ImageId([1; 16]);
        let (mut now_ms, mut left) = (0, 24);
        for round in 0_u64.. {
            while let Some(making) = take(&mut pool, now_ms) {
                let spoilt = making.members.iter().flatten().any(|one| one.member.image == bad);
                left -= if spoilt { 0 } else { making.members.iter().flatten().count() };
                let ended = if spoilt { Ended::Failed } else { Ended::Done };
                pool.end(
                    &making,
                    &[],
                    |_| spoilt,
                    (ended, round.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                    now_ms,
                );
            }
            if left == 1 {
                break;
            }
            now_ms += 1_000;
            for image in 1..=24 {
                // Shown again, as data servers do.
                let one = candidate(image, u32::from(image - 1) % 6 + 1);
                if pool.waiting.values().any(|queue| queue.places.contains_key(&one.member.image)) {
                    pool.wait(one, now_ms);
                }
            }
            assert!(round < 600, "{left} are left after ten minutes");
        }
    }

    fn under(code: Profile, image: u8, home: u32) -> Candidate {
        Candidate { code: Some(code), ..candidate(image, home) }
    }

    /// All groups that are made at once: code, and members.
    fn groups(
        pool: &mut Pool,
        cluster: Option<Profile>,
        servers: u32,
        now_ms: u64,
    ) -> Vec<(Profile, Vec<Option<u8>>)> {
        let next = || pool.take(cluster, &sites(servers), now_ms, WAIT_MS);
        std::iter::from_fn(next).map(|making| (making.profile, images(&making))).collect()
    }

    #[test]
    fn images_of_different_codes_are_in_different_groups() {
        let (two, copies) = (Profile::TwoPlusOne, Profile::TwoCopies);
        let mut pool = Pool::default();
        // Each code alone has no full group but for what the cluster's is: image 4 has that by name.
        pool.wait(under(copies, 1, 1), 0);
        pool.wait(under(Profile::FourPlusTwo, 2, 2), 0);
        pool.wait(candidate(3, 2), 0);
        pool.wait(under(two, 4, 3), 0);
        let made = groups(&mut pool, Some(two), 6, 0);
        assert_eq!(made, [(copies, vec![Some(1)]), (two, vec![Some(3), Some(4)])]);
        assert_eq!(pool.waiting(), 1);
        let late = groups(&mut pool, Some(two), 6, WAIT_MS);
        assert_eq!(late, [(Profile::FourPlusTwo, vec![Some(2), None, None, None])]);
    }

    #[test]
    fn a_code_that_nothing_can_be_made_of_is_in_no_others_way() {
        let (two, wide) = (Profile::TwoPlusOne, Profile::EightPlusFour);
        let mut pool = Pool::default();
        for image in 1..=3 {
            pool.wait(under(wide, image, u32::from(image)), 0);
        }
        // Of what is full, and shown later, nothing waits: of others there may.
        pool.wait(candidate(4, 1), 10);
        pool.wait(under(two, 5, 2), 20);
        assert_eq!(groups(&mut pool, None, 3, 20 + WAIT_MS), [(two, vec![Some(5), None])]);
        assert_eq!(pool.waiting_by_code()[&None], 1, "there is no code for it");
        pool.wait(candidate(6, 3), 30 + WAIT_MS);
        assert_eq!(groups(&mut pool, Some(two), 3, 40 + WAIT_MS), [(two, vec![Some(4), Some(6)])]);
        assert_eq!((pool.waiting(), pool.waiting_by_code()[&Some(wide)]), (3, 3));
        // Others of its code that come keep it waiting, and none else.
        pool.wait(under(two, 7, 1), 100_000);
        pool.wait(under(wide, 8, 1), 100_000 + WAIT_MS - 1);
        assert_eq!(groups(&mut pool, Some(two), 3, 100_000 + WAIT_MS), [(two, vec![Some(7), None])]);
    }

    #[test]
    fn full_queues_are_full_for_their_code_only() {
        let mut pool = Pool::default();
        for number in 0..IMAGES_WAITING_MAX + 2 {
            let mut one = under(Profile::EightPlusFour, 1, 1);
            one.member.image.0[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
            pool.wait(one, 0);
        }
        pool.wait(candidate(200, 1), 0);
        let expected = BTreeMap::from([(None, 1), (Some(Profile::EightPlusFour), IMAGES_WAITING_MAX as u64)]);
        assert_eq!(pool.waiting_by_code(), expected);
    }

    #[test]
    fn what_is_not_shown_any_more_is_forgotten() {
        let mut pool = Pool::default();
        pool.wait(candidate(1, 1), 0);
        pool.wait(candidate(2, 2), 0);
        pool.wait(candidate(1, 1), 10);
        assert!(take(&mut pool, SHOWN_AGAIN_MS_MAX).is_some_and(|made| images(&made) == [Some(1), None]));
        pool.wait(candidate(3, 1), 10);
        pool.forget();
        assert_eq!(pool.waiting(), 0);
    }

    #[test]
    fn an_image_is_made_again_once_at_a_time() {
        let mut pool = Pool::default();
        let (group, image, on) = (GroupId(1), ImageId([1; 16]), DataServerId(4));
        assert!(pool.begin_remake((group, 0), image, on));
        assert!(!pool.begin_remake((group, 0), image, DataServerId(5)));
        assert_eq!((pool.remaking_on(on), pool.remaking_on(DataServerId(5))), (1, 0));
        assert!(pool.is_remaking(image, on) && !pool.is_remaking(image, DataServerId(5)));
        pool.end_remake(group, 0);
        assert!(!pool.is_remaking(image, on) && pool.remaking() == 0);
    }
}
