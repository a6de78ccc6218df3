//! Any acts in any order leave the tree in order.

use proptest::prelude::*;

use super::*;

/// Any event of the two extents and their groups.
#[derive(Clone, Debug)]
enum Act {
    /// Seals each extent whose bit is set, into one group.
    Make(u8),
    Use(usize, usize),
    Rehome(u64, usize, u32),
    Thaw(usize, u64),
    /// Gives an extent to this server, and back to its first primary when the work is done.
    Adopt(usize, u32),
    Dissolve(usize),
    Cut(u64),
    Fence(usize),
    WorkDone,
    Remove,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1_u8..4).prop_map(Act::Make),
        3 => (0_usize..2, 0_usize..4).prop_map(|(extent, which)| Act::Use(extent, which)),
        2 => (1_u64..9, 0_usize..3, 1_u32..6).prop_map(|(group, slot, to)| Act::Rehome(group, slot, to)),
        2 => (0_usize..2).prop_map(Act::Dissolve),
        1 => (0_usize..2, 0_u64..40).prop_map(|(extent, sequence)| Act::Thaw(extent, sequence)),
        1 => (0_usize..2, 6_u32..9).prop_map(|(extent, home)| Act::Adopt(extent, home)),
        1 => prop_oneof![Just(0), Just(5), Just(EXTENT_BYTES)].prop_map(Act::Cut),
        1 => (0_usize..2).prop_map(Act::Fence),
        3 => Just(Act::WorkDone),
        1 => Just(Act::Remove),
    ]
}

fn perform(fs: &mut Fs, extents: &[ExtentId; 2], count: u8, act: &Act) {
    let ino = extents[0].ino;
    match *act {
        Act::Make(which) => {
            let here = |at: &usize| which >> at & 1 == 1;
            let epoch = |extent| extent_epoch(fs, extent);
            let how: Vec<SealedAs> =
                (0..2).filter(here).map(|at| sealed_as(epoch(extents[at]), u64::from(count))).collect();
            let member =
                |at: usize| (count * 2 + u8::try_from(at).unwrap(), extents[at], home_of(fs, extents[at]));
            let members: Vec<_> = (0..2).filter(here).map(member).collect();
            let next = number(fs);
            let _ = make(fs, &a_group(next, &members), &how);
        }
        Act::Use(at, which) => {
            let kept = names(fs, extents[at]);
            let Some(name) = kept.get(which) else { return };
            let changes = report_used(fs, extents[at], name.0[0], home_of(fs, extents[at]));
            assert!(changes || which == 0);
            assert_eq!(names(fs, extents[at]), kept[which..]);
        }
        Act::Rehome(number, slot, to) => {
            let found = group(&*fs.view(), GroupId(number)).unwrap();
            let Some(from) = found.and_then(|group| group.homes()[slot]) else { return };
            let _ = fs.run(|txn, _| rehome(txn, GroupId(number), slot, from, id(to)));
        }
        Act::Dissolve(at) => {
            let Some(image) = images(&*fs.view(), extents[at]).unwrap().images.first().copied() else {
                return;
            };
            let is_moved = sealed::place(&*fs.view(), image.image).unwrap().unwrap().also.is_some();
            let old = group(&*fs.view(), image.group).unwrap().unwrap();
            let slot =
                old.shape().members().iter().position(|one| one.is_some_and(|one| one.image == image.image));
            let home = old.homes()[slot.unwrap()].unwrap();
            let how = SealedAs { from: Some(image.group.0), ..sealed_as(image.epoch.0, image.sequence) };
            let next = number(fs);
            let made = make(fs, &a_group(next, &[(image.image.0[0], extents[at], home.0)]), &[how]);
            assert_eq!(made.is_ok(), home.0 != 3 && !is_moved, "{made:?}");
        }
        Act::Thaw(at, sequence) => {
            let home = home_of(fs, extents[at]);
            report_thawed(fs, extents[at], home, sequence).unwrap();
            let kept = images(&*fs.view(), extents[at]).unwrap();
            assert!(kept.at_rest().is_none_or(|image| sequence <= image.sequence));
        }
        Act::Adopt(at, home) => {
            let rests = is_at_rest(fs, extents[at]);
            let epoch = extent_epoch(fs, extents[at]);
            let was_home = home_of(fs, extents[at]);
            let (after, now_home) = adopt_extent(fs, extents[at], epoch, home).unwrap();
            let adopting = |fs: &Fs| pending(fs).iter().any(|item| matches!(item, WorkItem::Adopt { .. }));
            assert!(after == epoch || ((rests || adopting(fs)) && now_home == home));
            assert!(after != epoch || now_home == was_home);
        }
        Act::Cut(size_bytes) => cut_to(fs, ino, size_bytes),
        Act::Fence(at) => drop(fs.run(|txn, _| fence(txn, extents[at]))),
        Act::WorkDone => all_work_done(fs),
        Act::Remove => {
            fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"file", now)).unwrap();
            fs.run(|txn, _| reap::reap(txn, ino)).unwrap();
            assert_eq!(groups(fs), []);
        }
    }
}

fn home_of(fs: &Fs, of: ExtentId) -> u32 {
    extent(&*fs.view(), of).unwrap().unwrap().home.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The fixture checks all invariants after each act.
    #[test]
    fn invariants_hold_whatever_happens(acts in proptest::collection::vec(act(), 0..40)) {
        let (mut fs, extents) = given();
        for (act, count) in acts.iter().zip(1..) {
            perform(&mut fs, &extents, count, act);
            if matches!(act, Act::Remove) {
                break;
            }
        }
    }
}
