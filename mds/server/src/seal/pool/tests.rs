//! Which images become a group, when, and which server makes it.

use layout::ec::{ImageSum, Member, members::Labels};
use layout::{Epoch, ExtentId};
use mds_namespace::op::seal::SealedAs;

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
    pool.take_group(Some(Profile::TwoPlusOne), &sites(3), now_ms, WAIT_MS)
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
fn joined_images_are_not_taken_and_do_not_wait_after_a_failure() {
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
fn failed_groups_are_retried_later_and_behind_the_others() {
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
    assert_eq!(images(&take(&mut pool, 100_000).unwrap()), [Some(4), Some(5)], "those that failed are last");
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
    // One server is emptier than all others, as after a repair.
    sites[5].free_bytes += 1 << 40;
    let made: Vec<Making> =
        std::iter::from_fn(|| pool.take_group(Some(Profile::TwoPlusOne), &sites, 0, WAIT_MS))
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
    assert_eq!(loaded, sites, "finished work is not counted any more");
}

#[test]
fn the_least_busy_of_the_parity_servers_computes_it() {
    let mut pool = six();
    let take = |pool: &mut Pool| pool.take_group(Some(Profile::FourPlusTwo), &sites(6), 0, WAIT_MS).unwrap();
    let one = take(&mut pool);
    let other = Making { parity: one.parity.clone(), ..one.clone() };
    let other = pool.begin_group(other);
    assert_eq!([other.parity[1], other.parity[0]], [one.parity[0], one.parity[1]]);
}

#[test]
fn groups_that_met_at_a_busy_server_part_and_their_members_stay_together() {
    let mut pool = six();
    let take =
        |pool: &mut Pool, now_ms| pool.take_group(Some(Profile::FourPlusTwo), &sites(6), now_ms, WAIT_MS);
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
        |pool: &mut Pool, now_ms| pool.take_group(Some(Profile::FourPlusTwo), &sites(6), now_ms, WAIT_MS);
    let bad = ImageId([1; 16]);
    let (mut now_ms, mut left) = (0, 24);
    for round in 0_u64.. {
        while let Some(making) = take(&mut pool, now_ms) {
            let spoilt = making.members.iter().flatten().any(|one| one.member.image == bad);
            left -= if spoilt { 0 } else { making.members.iter().flatten().count() };
            let ended = if spoilt { Ended::Failed } else { Ended::Done };
            pool.end(&making, &[], |_| spoilt, (ended, round.wrapping_mul(0x9e37_79b9_7f4a_7c15)), now_ms);
        }
        if left == 1 {
            break;
        }
        now_ms += 1_000;
        for image in 1..=24 {
            // Reported again, as data servers do.
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
    let next = || pool.take_group(cluster, &sites(servers), now_ms, WAIT_MS);
    std::iter::from_fn(next).map(|making| (making.profile, images(&making))).collect()
}

#[test]
fn images_of_different_codes_are_in_different_groups() {
    let (two, copies) = (Profile::TwoPlusOne, Profile::TwoCopies);
    let mut pool = Pool::default();
    // No code alone has a full group but the cluster's: image 4 has that by name.
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
fn a_code_that_cannot_make_a_group_blocks_no_other() {
    let (two, wide) = (Profile::TwoPlusOne, Profile::EightPlusFour);
    let mut pool = Pool::default();
    for image in 1..=3 {
        pool.wait(under(wide, image, u32::from(image)), 0);
    }
    // A full queue drops an image that is reported later; other codes accept one.
    pool.wait(candidate(4, 1), 10);
    pool.wait(under(two, 5, 2), 20);
    assert_eq!(groups(&mut pool, None, 3, 20 + WAIT_MS), [(two, vec![Some(5), None])]);
    assert_eq!(pool.waiting_by_code()[&None], 1, "there is no code for it");
    pool.wait(candidate(6, 3), 30 + WAIT_MS);
    assert_eq!(groups(&mut pool, Some(two), 3, 40 + WAIT_MS), [(two, vec![Some(4), Some(6)])]);
    assert_eq!((pool.waiting(), pool.waiting_by_code()[&Some(wide)]), (3, 3));
    // Only arriving images of its own code prolong the wait.
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
fn images_that_are_not_reported_any_more_are_forgotten() {
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
fn an_image_is_recreated_once_at_a_time() {
    let mut pool = Pool::default();
    let (group, image, on) = (GroupId(1), ImageId([1; 16]), DataServerId(4));
    assert!(pool.begin_remake((group, 0), image, on));
    assert!(!pool.begin_remake((group, 0), image, DataServerId(5)));
    assert_eq!((pool.remaking_on(on), pool.remaking_on(DataServerId(5))), (1, 0));
    assert!(pool.is_remaking(image, on) && !pool.is_remaking(image, DataServerId(5)));
    pool.end_remake(group, 0);
    assert!(!pool.is_remaking(image, on) && pool.remaking() == 0);
}
