//! Rebuilding: every loss a profile tolerates, every range, and images that are not what they
//! should be.

use proptest::prelude::*;

use super::*;
use crate::ec::fixture::{Whole, combinations, whole};
use crate::ec::profile::Profile;
use crate::limits::{BLOCK_BYTES, COLUMN_BYTES};

/// Lengths that differ in all the ways lengths can, and empty members where there is room for some.
fn lengths(profile: Profile) -> Vec<Option<usize>> {
    let kinds =
        [Some(777), Some(BLOCK_BYTES + 65), Some(64), None, Some(0), Some(1), None, Some(BLOCK_BYTES)];
    kinds[..profile.data()].to_vec()
}

fn part(image: &[u8], range: &Range<u64>) -> Vec<u8> {
    image[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

/// Repairs; the images that came out, cut to their lengths.
fn repair(
    group: &Whole,
    read: &[Vec<u8>],
    available: &[usize],
    missing: &[usize],
) -> Result<(Vec<Vec<u8>>, Repaired), RebuildError> {
    let mut repair = Repair::new(&group.shape, available, missing, BLOCK_BYTES)?;
    let mut made = vec![Vec::new(); missing.len()];
    while let Some(window) = repair.window() {
        let sources: Vec<Vec<u8>> =
            repair.reads(window).map(|(slot, range)| part(&read[slot], &range)).collect();
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let mut out = vec![vec![0xcc; window.bytes]; missing.len()];
        repair.push(&sources, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
        for (at, slot) in missing.iter().enumerate() {
            made[at].extend(&out[at][..window.len_of(group.shape.bytes(*slot))]);
        }
    }
    Ok((made, repair.finish()?))
}

#[test]
fn any_tolerated_loss_is_repaired() {
    for profile in Profile::ALL {
        let group = whole(profile, &lengths(profile));
        let images: Vec<usize> =
            (0..profile.images()).filter(|slot| group.shape.image(*slot).is_some()).collect();
        // Every set of lost slots; in wide groups every seventh, since all are tried on the codec
        // itself.
        let step = if profile.images() < 9 { 1 } else { 7 };
        let lost = (1..=profile.losses_tolerated()).flat_map(|count| combinations(images.len(), count));
        for lost in lost.step_by(step) {
            let missing: Vec<usize> = lost.iter().map(|at| images[*at]).collect();
            let available: Vec<usize> =
                images.iter().copied().filter(|slot| !missing.contains(slot)).collect();
            let mut read = group.images.clone();
            missing.iter().for_each(|slot| read[*slot].clear());
            let (made, repaired) = repair(&group, &read, &available, &missing).unwrap();
            for (at, slot) in missing.iter().enumerate() {
                assert!(made[at] == group.images[*slot], "{profile}: {missing:?}");
                let footer = slot.checked_sub(profile.data()).and_then(|parity| group.footers.get(parity));
                assert_eq!(
                    repaired.footers[at],
                    footer.cloned().unwrap_or_default(),
                    "{profile}: {missing:?}"
                );
            }
        }
    }
}

#[test]
fn one_loss_more_is_an_error() {
    let group = whole(Profile::FourPlusTwo, &[Some(10), Some(20), Some(30), Some(40)]);
    let error = Rebuild::new(&group.shape, &[0, 1, 5], &[2]).unwrap_err();
    assert_eq!(error, RebuildError::TooFew { left: 3, needed: 4 });
    // An empty member is never lost.
    let group = whole(Profile::FourPlusTwo, &[Some(10), None, Some(30), None]);
    assert_eq!(Rebuild::new(&group.shape, &[5, 4], &[0, 2]).unwrap().sources(), [1, 3, 5, 4]);
    assert_eq!(
        Rebuild::new(&group.shape, &[5], &[0]).unwrap_err(),
        RebuildError::TooFew { left: 3, needed: 4 }
    );
}

#[test]
fn slots_that_make_no_sense_are_refused() {
    let group = whole(Profile::FourPlusTwo, &[Some(10), None, Some(30), Some(4)]);
    let refused =
        |available: &[usize], missing: &[usize]| Rebuild::new(&group.shape, available, missing).unwrap_err();
    assert_eq!(refused(&[0, 2, 3], &[6]), RebuildError::Slot { slot: 6 });
    assert_eq!(refused(&[0, 2, usize::MAX], &[4]), RebuildError::Slot { slot: usize::MAX });
    assert_eq!(refused(&[0, 2, 3, 4], &[4]), RebuildError::Slot { slot: 4 });
    assert_eq!(refused(&[2, 2, 3, 4], &[0]), RebuildError::Slot { slot: 2 });
    assert_eq!(refused(&[2, 3, 4], &[0, 0]), RebuildError::Slot { slot: 0 });
    assert_eq!(refused(&[2, 3, 4], &[1]), RebuildError::Slot { slot: 1 });
    assert_eq!(refused(&[1, 2, 3, 4], &[0]), RebuildError::Slot { slot: 1 });
}

#[test]
fn the_first_available_are_read() {
    let group = whole(Profile::FourPlusTwo, &[Some(10), Some(20), Some(30), Some(40)]);
    assert_eq!(Rebuild::new(&group.shape, &[5, 3, 1, 4, 2], &[0]).unwrap().sources(), [5, 3, 1, 4]);
}

#[test]
fn windows_cover_ranges_in_whole_columns() {
    let group = whole(Profile::TwoPlusOne, &[Some(1000), Some(3 * WINDOW_BYTES_MAX)]);
    let rebuild = Rebuild::new(&group.shape, &[1, 2], &[0]).unwrap();
    let window = |range| rebuild.window(range).map(|window| (window.offset, window.bytes));
    assert_eq!(window(0..1), Some((0, COLUMN_BYTES)));
    assert_eq!(window(63..65), Some((0, 2 * COLUMN_BYTES)));
    assert_eq!(window(64..128), Some((64, COLUMN_BYTES)));
    assert_eq!(window(3 * (1 << 20) - 1..u64::MAX), Some((3 * (1 << 20) - 64, COLUMN_BYTES)));
    assert_eq!(window(3 * (1 << 20)..u64::MAX), None);
    assert_eq!(window(7..7), None);
    let backwards = Range { start: 70, end: 7 };
    assert_eq!(window(backwards), None);
    assert_eq!(window(u64::MAX - 1..u64::MAX), None);
    assert_eq!(window(0..1 << 20), Some((0, 1 << 20)));
    assert_eq!(window(1..(1 << 20) + 1), None, "more than a window holds");
}

#[test]
fn what_does_not_fit_a_window_is_refused() {
    let group = whole(Profile::TwoPlusOne, &[Some(1000), Some(100)]);
    let mut rebuild = Rebuild::new(&group.shape, &[1, 2], &[0]).unwrap();
    let window = rebuild.window(64..128).unwrap();
    let (member, parity) = (&group.images[1][64..], &group.images[2][64..128]);
    let mut out = [0; COLUMN_BYTES];
    // The member ends in the window: 36 bytes of it are there.
    rebuild.run(window, &[&member[..36], parity], &mut [&mut out]).unwrap();
    assert_eq!(out, group.images[0][64..128]);
    let wrong = |slot, got, expected| Err(RebuildError::Window { slot, got, expected });
    assert_eq!(rebuild.run(window, &[parity, parity], &mut [&mut out]), wrong(1, 64, 36));
    assert_eq!(rebuild.run(window, &[member, &parity[1..]], &mut [&mut out]), wrong(2, 63, 64));
    assert_eq!(rebuild.run(window, &[member, parity], &mut [&mut out[1..]]), wrong(0, 63, 64));
    assert_eq!(rebuild.run(window, &[member], &mut [&mut out]), Err(RebuildError::Cover));
    assert_eq!(rebuild.run(window, &[member, parity], &mut []), Err(RebuildError::Cover));
    for (offset, bytes) in
        [(1, 64), (0, 63), (0, WINDOW_BYTES_MAX + 64), (u64::MAX - 63, 64), (0, usize::MAX - 63)]
    {
        let window = Window { offset, bytes };
        assert_eq!(rebuild.run(window, &[member, parity], &mut [&mut out]), Err(RebuildError::Cover));
    }
}

#[test]
fn an_altered_source_is_named() {
    let group = whole(Profile::FourPlusTwo, &[Some(BLOCK_BYTES + 5), Some(20), Some(BLOCK_BYTES), Some(40)]);
    for (slot, at) in [(1, 19), (2, 0), (4, BLOCK_BYTES), (5, 7)] {
        let mut read = group.images.clone();
        read[slot][at] ^= 0x40;
        let image = group.shape.image(slot).unwrap().0;
        // The altered one first, so that it is read.
        let mut available = vec![slot];
        available.extend((1..6).filter(|other| *other != slot));
        let error = repair(&group, &read, &available, &[0]).unwrap_err();
        assert_eq!(error, RebuildError::Altered { slot, image });
    }
}

#[test]
fn a_repair_that_is_not_through_is_none() {
    let group = whole(Profile::TwoPlusOne, &[Some(1000), Some(100)]);
    let mut repair = Repair::new(&group.shape, &[1, 2], &[0], 0).unwrap();
    let mut out = vec![0; 1024];
    assert_eq!(repair.push(&[&group.images[1], &group.images[2]], &mut []), Err(RebuildError::Cover));
    assert_eq!(
        Repair::new(&group.shape, &[1, 2], &[0], 0).unwrap().finish().unwrap_err(),
        RebuildError::Cover
    );
    repair.push(&[&group.images[1], &group.images[2]], &mut [&mut out]).unwrap();
    assert_eq!(repair.push(&[&[], &[]], &mut [&mut out]), Err(RebuildError::Cover));
    assert!(repair.finish().is_ok());
    assert_eq!(out[..1000], group.images[0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A degraded read: any range of any image from any k others is what was there.
    #[test]
    fn any_range_of_any_image(
        profile in proptest::sample::select(&Profile::ALL[1..]),
        lengths in proptest::collection::vec(proptest::option::weighted(0.9, 0..2 * BLOCK_BYTES + 100), 8),
        order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        offset in 0..2 * BLOCK_BYTES as u64,
        len in 1..100_000_u64,
    ) {
        let mut lengths = lengths[..profile.data()].to_vec();
        lengths[0] = lengths[0].or(Some(1));
        let group = whole(profile, &lengths);
        let order: Vec<usize> = order.into_iter().filter(|slot| group.shape.image(*slot).is_some()).collect();
        let (missing, available) = order.split_at(1);
        let mut rebuild = Rebuild::new(&group.shape, available, missing).unwrap();
        let Some(window) = rebuild.window(offset..offset + len) else {
            prop_assert!(group.shape.payload_bytes() <= offset);
            return Ok(());
        };
        let sources: Vec<Vec<u8>> = rebuild.reads(window).map(|(slot, range)| part(&group.images[slot], &range)).collect();
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let mut made = vec![0xcc; window.bytes];
        rebuild.run(window, &sources, &mut [&mut made]).unwrap();
        let range = window.of(group.shape.bytes(missing[0]));
        let held = window.len_of(group.shape.bytes(missing[0]));
        prop_assert!(made[..held] == part(&group.images[missing[0]], &range));
        prop_assert!(made[held..].iter().all(|byte| *byte == 0), "zeros behind the end");
    }
}
