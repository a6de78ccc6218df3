//! Rounds, places and paces over a clock that the test moves.

use std::collections::BTreeSet;

use super::*;

const DAY_MS: u64 = 86_400_000;
const MIB: u64 = 1 << 20;

#[derive(Default)]
struct Store {
    images: BTreeSet<ImageId>,
    extents: BTreeSet<ExtentId>,
}

impl Stock for Store {
    fn image_after(&mut self, after: Option<ImageId>) -> Option<ImageId> {
        self.images.iter().find(|one| after < Some(**one)).copied()
    }

    fn extent_after(&mut self, after: Option<ExtentId>) -> Option<ExtentId> {
        self.extents.iter().find(|one| after < Some(**one)).copied()
    }
}

fn image(number: u8) -> ImageId {
    ImageId([number; 16])
}

fn extent(ino: u64) -> ExtentId {
    ExtentId { ino, index: 0 }
}

fn store(images: u8, extents: u64) -> Store {
    Store { images: (1..=images).map(image).collect(), extents: (1..=extents).map(extent).collect() }
}

fn at(ms: u64) -> Now {
    Now { unix_ns: ms * NS_PER_MS, ms }
}

fn settings(period_ms: u64, mib_per_s: u64) -> Settings {
    Settings { period_ms, bytes_per_s_max: mib_per_s * MIB }
}

fn good() -> Outcome {
    Outcome::default()
}

fn bad(count: u64) -> Outcome {
    Outcome { repaired: 0, bad: count }
}

/// Does what there is to do until the round ends, each thing for so many bytes; answers what was
/// checked, and how long it took.
fn round(plan: &mut Plan, store: &mut Store, now_ms: &mut u64, bytes: u64, stock: u64) -> (Vec<Target>, u64) {
    let (mut checked, began_ms) = (Vec::new(), *now_ms);
    loop {
        match plan.next_step(at(*now_ms), store) {
            Step::Begin => {}
            Step::Check(target) => {
                *now_ms += plan.note_read(at(*now_ms).unix_ns, bytes, stock, false);
                plan.note_outcome(target, good(), at(*now_ms));
                checked.push(target);
            }
            Step::End => return (checked, *now_ms - began_ms),
            Step::Rest { .. } => panic!("in the middle of a round"),
        }
    }
}

#[test]
fn a_round_goes_through_everything_in_order_and_over_the_whole_period() {
    let mut plan = Plan::new(settings(DAY_MS, 20), Progress::default());
    let mut store = store(40, 60);
    let mut now_ms = 5_000_000;
    let stock = 100 * 640 * MIB;
    assert_eq!(plan.percent(stock), 0);
    let (checked, took_ms) = round(&mut plan, &mut store, &mut now_ms, 640 * MIB, stock);
    let expected: Vec<Target> = (1..=40)
        .map(|n| Target::Image(image(n)))
        .chain((1..=60).map(|n| Target::Extent(extent(n))))
        .collect();
    assert_eq!(checked, expected);
    assert!((DAY_MS - DAY_MS / 50..=DAY_MS + 1).contains(&took_ms), "{took_ms}");
    assert_eq!((plan.progress().place, plan.percent(stock)), (Place::Between, 100));
    assert_eq!(plan.progress().ended_unix_ns, at(now_ms).unix_ns);
}

#[test]
fn a_round_that_is_over_early_does_not_begin_again_before_its_time() {
    let mut plan = Plan::new(settings(DAY_MS, 20), Progress::default());
    let (mut store, mut now_ms) = (store(3, 0), 1_000);
    let (_, took_ms) = round(&mut plan, &mut store, &mut now_ms, MIB, 3 * MIB);
    assert!((40_000..=48_000).contains(&took_ms), "at the least pace: {took_ms}");
    let mut rested_ms = 0;
    while let Step::Rest { ms } = plan.next_step(at(now_ms), &mut store) {
        assert!((1..=SCRUB_LOOK_MS).contains(&ms));
        (now_ms, rested_ms) = (now_ms + ms, rested_ms + ms);
    }
    assert_eq!(took_ms + rested_ms, DAY_MS);
    assert_eq!(plan.progress().place, Place::Images(None));
    assert_eq!(plan.progress().began_unix_ns, at(now_ms).unix_ns);
}

#[test]
fn the_bound_is_kept_also_by_a_scrub_that_fell_behind() {
    let stock = 4_000 * MIB;
    // A second for all of it, an hour late, and a clock that was put forward by ten years.
    for (period_ms, began_ms) in [(1_000, 10_000_000), (3_600_000, 1), (DAY_MS, 1)] {
        let progress = Progress {
            place: Place::Images(None),
            began_unix_ns: at(began_ms).unix_ns,
            ..Progress::default()
        };
        let mut plan = Plan::new(settings(period_ms, 20), progress);
        let (mut store, mut now_ms) = (store(100, 0), 10_000_000 + 3_650 * DAY_MS);
        let (checked, took_ms) = round(&mut plan, &mut store, &mut now_ms, 40 * MIB, stock);
        assert_eq!(checked.len(), 100);
        assert!((200_000 - 100..=200_100).contains(&took_ms), "20 MiB each second: {took_ms}");
    }
}

#[test]
fn it_stands_back_for_clients_and_makes_up_for_it() {
    let stock = 1_000 * 20 * MIB;
    let mut plan = Plan::new(settings(10_000_000, 20), Progress::default());
    let mut store = store(1, 0);
    assert_eq!(plan.next_step(at(0), &mut store), Step::Begin);
    // 2 MiB each second by the period.
    let quiet_ms = plan.note_read(at(0).unix_ns, 20 * MIB, stock, false);
    assert!((9_900..=10_100).contains(&quiet_ms), "{quiet_ms}");
    let busy_ms = plan.note_read(at(0).unix_ns, 20 * MIB, stock, true);
    assert!((4 * 9_900..=4 * 10_100).contains(&busy_ms), "{busy_ms}");
    let late_ms = plan.note_read(at(5_000_000).unix_ns, 20 * MIB, stock, false);
    assert!((4_900..=5_100).contains(&late_ms), "as much in half the time: {late_ms}");
    let bound_busy_ms = plan.note_read(at(20_000_000).unix_ns, 20 * MIB, stock, true);
    assert_eq!(bound_busy_ms, 4_000);
    let no_time_ms: u64 =
        (0..1_000).map(|_| plan.note_read(at(20_000_000).unix_ns, 20 * MIB / 10_000, stock, false)).sum();
    assert!((99..=101).contains(&no_time_ms), "small pieces are counted too: {no_time_ms}");
}

#[test]
fn a_start_goes_on_where_it_was() {
    let mut plan = Plan::new(settings(DAY_MS, 20), Progress::default());
    let mut store = store(4, 4);
    assert_eq!(plan.next_step(at(7), &mut store), Step::Begin);
    for number in 1..=4 {
        assert_eq!(plan.next_step(at(8), &mut store), Step::Check(Target::Image(image(number))));
        plan.note_outcome(Target::Image(image(number)), good(), at(8));
    }
    assert_eq!(plan.next_step(at(8), &mut store), Step::Check(Target::Extent(extent(1))));
    plan.note_outcome(Target::Extent(extent(1)), good(), at(8));
    let kept = Progress::decode(&plan.progress().encode([1; 16]), [1; 16]).unwrap();
    let mut plan = Plan::new(settings(DAY_MS, 20), kept);
    assert_eq!(plan.next_step(at(9), &mut store), Step::Check(Target::Extent(extent(2))));
    // What comes behind the place waits for the next round; what comes before it is met.
    store.extents.insert(ExtentId { ino: 1, index: 1 });
    store.images.insert(image(9));
    assert_eq!(plan.next_step(at(9), &mut store), Step::Check(Target::Extent(ExtentId { ino: 1, index: 1 })));
}

#[test]
fn what_is_bad_is_counted_once_and_looked_at_again() {
    let mut plan = Plan::new(settings(DAY_MS, 20), Progress::default());
    let mut store = store(2, 0);
    let (first, second) = (Target::Image(image(1)), Target::Image(image(2)));
    let counts = |plan: &Plan| (plan.progress().found, plan.progress().repaired, plan.progress().bad);
    assert_eq!(plan.next_step(at(0), &mut store), Step::Begin);
    plan.note_outcome(first, bad(3), at(0));
    plan.note_outcome(second, Outcome { repaired: 2, bad: 0 }, at(0));
    assert_eq!(counts(&plan), (5, 2, 3));
    assert_eq!(plan.next_step(at(1), &mut store), Step::End);
    assert_eq!(plan.progress().known_bad(), 3);
    let Step::Rest { ms } = plan.next_step(at(SCRUB_AGAIN_MS - 5), &mut store) else { panic!("not yet") };
    assert_eq!(ms, 5);
    assert_eq!(plan.next_step(at(SCRUB_AGAIN_MS), &mut store), Step::Check(first));
    plan.note_outcome(first, bad(4), at(SCRUB_AGAIN_MS));
    assert_eq!(counts(&plan), (6, 2, 4), "one more");
    assert_eq!(plan.next_step(at(2 * SCRUB_AGAIN_MS), &mut store), Step::Check(first));
    plan.note_outcome(first, Outcome { repaired: 3, bad: 1 }, at(2 * SCRUB_AGAIN_MS));
    assert_eq!(counts(&plan), (6, 5, 1));
    assert_eq!(plan.next_step(at(3 * SCRUB_AGAIN_MS), &mut store), Step::Check(first));
    plan.note_outcome(first, good(), at(3 * SCRUB_AGAIN_MS));
    assert_eq!(
        (counts(&plan), plan.progress().known_bad()),
        ((6, 6, 0), 0),
        "it is gone, or was written over"
    );
    assert!(matches!(plan.next_step(at(4 * SCRUB_AGAIN_MS), &mut store), Step::Rest { .. }));
}

#[test]
fn what_was_bad_counts_until_the_next_round_has_ended() {
    let mut plan = Plan::new(settings(1_000, 20), Progress::default());
    let mut store = store(1, 0);
    let mut now_ms = 0;
    for (outcome, after) in [(bad(2), 2), (good(), 0)] {
        while plan.next_step(at(now_ms), &mut store) != Step::Begin {
            now_ms += 100;
        }
        let before = plan.progress().known_bad();
        assert_eq!(before, if after == 0 { 2 } else { 0 });
        plan.note_outcome(Target::Image(image(1)), outcome, at(now_ms));
        assert_eq!(plan.progress().known_bad(), 2);
        assert_eq!(plan.next_step(at(now_ms), &mut store), Step::End);
        assert_eq!(plan.progress().known_bad(), after);
    }
}

#[test]
fn a_clock_that_is_put_back_costs_a_period_and_no_more() {
    let began_unix_ns = at(1_000 * DAY_MS).unix_ns;
    let progress = Progress { began_unix_ns, ended_unix_ns: began_unix_ns, ..Progress::default() };
    let mut plan = Plan::new(settings(DAY_MS, 20), progress);
    let (mut store, mut now_ms) = (store(1, 0), 5 * DAY_MS);
    while let Step::Rest { ms } = plan.next_step(at(now_ms), &mut store) {
        now_ms += ms;
    }
    assert_eq!(now_ms, 6 * DAY_MS);
}

#[test]
fn what_is_remembered_to_be_bad_is_bounded() {
    let mut plan = Plan::new(settings(DAY_MS, 20), Progress::default());
    assert_eq!(plan.next_step(at(0), &mut Store::default()), Step::Begin);
    for ino in 1..=2 * SCRUB_AGAIN_MAX as u64 {
        plan.note_outcome(Target::Extent(extent(ino)), bad(1), at(0));
    }
    assert_eq!((plan.again.len(), plan.progress().bad), (SCRUB_AGAIN_MAX, 2 * SCRUB_AGAIN_MAX as u64));
}

#[test]
fn what_stays_bad_does_not_keep_the_round_from_its_end() {
    let mut plan = Plan::new(settings(DAY_MS, 20), Progress::default());
    let mut store = store(60, 0);
    assert_eq!(plan.next_step(at(0), &mut store), Step::Begin);
    let (mut now_ms, mut seen) = (0, BTreeMap::<Target, u32>::new());
    // Each look takes so long that all that is bad is due again before it was looked at once.
    while let Step::Check(target) = plan.next_step(at(now_ms), &mut store) {
        *seen.entry(target).or_default() += 1;
        now_ms += SCRUB_AGAIN_MS / 3;
        plan.note_outcome(target, bad(1), at(now_ms));
    }
    assert_eq!((seen.len(), plan.progress().place, plan.progress().bad), (60, Place::Between, 60));
    assert!(100 < seen.values().sum::<u32>(), "nor is it forgotten");
    assert!(seen.values().all(|count| *count < 10), "each has its turn: {seen:?}");
}
