//! The images that wait for a group, and what is being made of which: the leader's memory. Time is an argument.
//!
//! INVARIANT: an image that a group is being made with stays in `making` until the log has said what became of it.
//! Spec: docs/protocol/seal.md §3.

use std::collections::{BTreeMap, BTreeSet};

use layout::DataServerId;
use layout::ec::members::{self, Server as Site, Waiting};
use layout::ec::{GroupId, ImageId, Member, Profile};
use mds_namespace::op::seal::SealedAs;

use crate::limits::{
    GROUP_LULL_PARTS, GROUP_RETRY_MS, GROUP_RETRY_MS_MAX, GROUP_WAIT_TIMES_MAX, IMAGES_WAITING_MAX,
    SHOWN_AGAIN_MS_MAX,
};

/// An image that may become a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What the group says of it.
    pub(super) member: Member,
    /// The data server that has it.
    pub(super) home: DataServerId,
    /// How it was sealed.
    pub(super) sealed_as: SealedAs,
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
    /// Not before this time.
    next_ms: u64,
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

/// The images of this leader.
#[derive(Debug, Default)]
pub(super) struct Pool {
    waiting: BTreeMap<ImageId, Place>,
    /// Members and parity of groups that are being made.
    making: BTreeSet<ImageId>,
    /// Images that are being made again, and where.
    remaking: BTreeMap<(GroupId, usize), (ImageId, DataServerId)>,
    groups: usize,
    rotation: u64,
    /// When an image last began to wait.
    newest_ms: u64,
}

impl Pool {
    /// How many images wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
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
        if let Some(place) = self.waiting.get_mut(&image) {
            (place.candidate, place.shown_ms) = (candidate, now_ms);
        } else if self.waiting.len() < IMAGES_WAITING_MAX {
            let place = Place { candidate, since_ms: now_ms, shown_ms: now_ms, failures: 0, next_ms: now_ms };
            self.waiting.insert(image, place);
            self.newest_ms = now_ms;
        }
    }

    /// Takes the images of the next group, if there are any that should wait no longer.
    pub(super) fn take(
        &mut self,
        profile: Profile,
        sites: &[Site],
        now_ms: u64,
        group_wait_ms: u64,
    ) -> Option<Making> {
        self.waiting.retain(|_, place| now_ms < place.shown_ms.saturating_add(SHOWN_AGAIN_MS_MAX));
        let mut queue: Vec<&Place> = self.waiting.values().filter(|place| place.next_ms <= now_ms).collect();
        queue.sort_by_key(|place| (place.failures, place.since_ms, place.candidate.member.image));
        // While others come, better wait for them than pay a whole parity for few.
        let lull = self.newest_ms.saturating_add(group_wait_ms / GROUP_LULL_PARTS) <= now_ms;
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
        self.rotation = self.rotation.wrapping_add(1);
        self.groups += 1;
        for place in places.iter().flatten() {
            let image = place.candidate.member.image;
            self.waiting.remove(&image);
            self.making.insert(image);
        }
        Some(Making {
            profile,
            members: places.iter().map(|place| place.map(|place| place.candidate)).collect(),
            parity: choice.parity,
            places: places.into_iter().flatten().collect(),
        })
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
        self.rotation = self.rotation.wrapping_add(1);
        self.groups += 1;
        for one in &members {
            self.waiting.remove(&one.member.image);
            self.making.insert(one.member.image);
        }
        let empty = profile.data().saturating_sub(members.len());
        let members = members.into_iter().map(Some).chain(std::iter::repeat_n(None, empty)).collect();
        // If it comes to nothing, they are where they were.
        Some(Making { profile, members, parity, places: Vec::new() })
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
    pub(super) fn end(
        &mut self,
        making: &Making,
        parity: &[ImageId],
        stays: impl Fn(&Candidate) -> bool,
        now_ms: u64,
    ) {
        self.groups -= 1;
        for image in parity {
            self.making.remove(image);
        }
        for one in making.members.iter().flatten() {
            self.making.remove(&one.member.image);
        }
        for place in &making.places {
            let image = place.candidate.member.image;
            if stays(&place.candidate) && self.waiting.len() < IMAGES_WAITING_MAX {
                let pause_ms = (GROUP_RETRY_MS << place.failures.min(16)).min(GROUP_RETRY_MS_MAX);
                let failures = place.failures.saturating_add(1);
                self.waiting.insert(image, Place { failures, next_ms: now_ms + pause_ms, ..*place });
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
        Candidate { member, home: DataServerId(home), sealed_as }
    }

    fn sites(count: u32) -> Vec<Site> {
        let site =
            |id| Site { id: DataServerId(id), labels: Labels::default(), free_bytes: 1 << 40, up: true };
        (1..=count).map(site).collect()
    }

    fn images(making: &Making) -> Vec<Option<u8>> {
        making.members.iter().map(|one| one.map(|one| one.member.image.0[0])).collect()
    }

    const WAIT_MS: u64 = 30_000;

    fn take(pool: &mut Pool, now_ms: u64) -> Option<Making> {
        pool.take(Profile::TwoPlusOne, &sites(3), now_ms, WAIT_MS)
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
        pool.end(&short, &[], |_| false, 40_000);
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
        pool.end(&joined, &[], |_| true, 0);
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
        pool.end(&making, &[parity], |one| one.member.image != ImageId([2; 16]), 100);
        assert_eq!((pool.waiting(), pool.is_making(parity)), (1, false), "one of them is of no use any more");
        pool.wait(candidate(3, 2), 100);
        assert!(take(&mut pool, 100 + GROUP_RETRY_MS - 1).is_none());
        let again = take(&mut pool, 100 + GROUP_RETRY_MS).unwrap();
        assert_eq!(images(&again), [Some(3), Some(1)]);
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
