//! The time when one clock, or two, or all of them are wrong.

use super::*;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const START: u64 = 1_800_000_000 * SECOND;
/// The true time is so much ahead of monotonic clocks here.
const TRUE: u64 = START;

/// A reading at a monotonic time by a clock that is off.
fn reading(at_ns: u64, off_ns: i64) -> Reading {
    Reading { monotonic_ns: at_ns, wall_ns: (TRUE + at_ns).saturating_add_signed(off_ns) }
}

fn record(clocks: &mut Clocks, witness: Witness, at_ns: u64, off_ns: i64) {
    clocks.record(witness, at_ns, at_ns, (TRUE + at_ns).saturating_add_signed(off_ns));
}

const WRONG: i64 = 30_000 * DAY as i64;

#[test]
fn a_leader_with_a_wrong_clock_goes_by_the_majoritys() {
    let mut clocks = Clocks::default();
    for second in 1..200 {
        let at_ns = second * SECOND;
        let off_ns = if (50..90).contains(&second) { WRONG } else { 0 };
        for node in [2, 3] {
            record(&mut clocks, Witness::Node(node), at_ns, 400_000_000 * (node as i64 - 2));
        }
        let now_ns = clocks.now(3, reading(at_ns, off_ns));
        assert!(now_ns.abs_diff(TRUE + at_ns) <= SECOND, "{second}");
        assert_eq!(clocks.is_unfit(3, reading(at_ns, off_ns)), off_ns != 0);
    }
}

/// However long the clock is wrong, and also if it was wrong at the start.
#[test]
fn a_clock_that_was_wrong_from_the_start_is_detected() {
    let mut clocks = Clocks::default();
    let at_ns = 5 * SECOND;
    assert_eq!(
        clocks.now(3, reading(at_ns, -WRONG / 3)),
        TRUE + at_ns - 10_000 * DAY,
        "no other clock was read yet"
    );
    record(&mut clocks, Witness::Node(2), at_ns, 0);
    record(&mut clocks, Witness::Node(3), at_ns, 0);
    assert_eq!(clocks.now(3, reading(at_ns, -WRONG / 3)), TRUE + at_ns);
    assert_eq!(clocks.off_ns(reading(at_ns, -WRONG / 3)), -WRONG / 3);
}

#[test]
fn one_of_the_others_that_is_wrong_changes_nothing() {
    let mut clocks = Clocks::default();
    record(&mut clocks, Witness::Node(2), SECOND, 0);
    record(&mut clocks, Witness::Node(3), SECOND, WRONG);
    assert_eq!(clocks.now(3, reading(SECOND, 0)), TRUE + SECOND);
    assert!(!clocks.is_unfit(3, reading(SECOND, 0)));
    assert_eq!(clocks.unfit_nodes(), [3]);
    assert_eq!(clocks.others_off_ns(), [(Witness::Node(2), 0), (Witness::Node(3), WRONG)]);
}

/// With one of three nodes down, two clocks that differ do not show which is right: no node gives
/// up the lead, and the time continues for a while.
#[test]
fn two_clocks_that_differ_decide_nothing() {
    let mut clocks = Clocks::default();
    record(&mut clocks, Witness::Node(2), SECOND, 0);
    record(&mut clocks, Witness::Node(3), SECOND, 0);
    clocks.now(3, reading(SECOND, 0));
    for second in 7..67 {
        record(&mut clocks, Witness::Node(2), second * SECOND, 0);
        let wrong = reading(second * SECOND, WRONG);
        assert_eq!(clocks.now(3, wrong), TRUE + second * SECOND);
        assert!(!clocks.is_unfit(3, wrong), "{second}");
    }
}

/// A lone node has only its own continuity; a lasting change by its administrator counts after a
/// minute.
#[test]
fn a_node_that_is_alone_waits_before_a_step_counts() {
    let mut clocks = Clocks::default();
    assert_eq!(clocks.now(1, reading(SECOND, 0)), TRUE + SECOND);
    assert_eq!(clocks.now(1, reading(2 * SECOND, SECOND as i64)), TRUE + 3 * SECOND, "small steps are taken");
    assert_eq!(clocks.now(1, reading(3 * SECOND, WRONG)), TRUE + 4 * SECOND);
    assert_eq!(clocks.off_ns(reading(3 * SECOND, WRONG)), WRONG - SECOND as i64);
    assert_eq!(clocks.now(1, reading(30 * SECOND, WRONG)), TRUE + 31 * SECOND);
    assert_eq!(clocks.now(1, reading(31 * SECOND, 0)), TRUE + 31 * SECOND, "it was for a moment");
    assert_eq!(clocks.now(1, reading(40 * SECOND, WRONG)), TRUE + 40 * SECOND);
    assert_eq!(clocks.now(1, reading(99 * SECOND, WRONG)), TRUE + 99 * SECOND);
    assert_eq!(clocks.now(1, reading(100 * SECOND, WRONG)), TRUE + 100 * SECOND + WRONG as u64);
    assert!(!clocks.is_unfit(1, reading(100 * SECOND, WRONG)), "no other node could lead");
}

#[test]
fn data_servers_are_witnesses() {
    let mut clocks = Clocks::default();
    for server in 0..2 {
        record(&mut clocks, Witness::DataServer(server), SECOND, 0);
    }
    assert_eq!(clocks.now(1, reading(SECOND, WRONG)), TRUE + SECOND);
    // All servers of one machine.
    for server in 0..2 {
        record(&mut clocks, Witness::DataServer(server), 2 * SECOND, WRONG);
    }
    assert_eq!(clocks.now(1, reading(2 * SECOND, WRONG)), TRUE + 2 * SECOND, "that takes a minute");
}

#[test]
fn a_slow_answer_does_not_count() {
    let mut clocks = Clocks::default();
    clocks.record(Witness::Node(2), SECOND, 2 * SECOND + 1, START);
    clocks.record(Witness::Node(2), SECOND, SECOND - 1, START);
    assert!(clocks.heard.is_empty());
    record(&mut clocks, Witness::Node(2), SECOND, 0);
    clocks.now(3, reading(7 * SECOND, 0));
    assert!(clocks.heard.is_empty(), "it is too long ago");
}

#[test]
fn times_step_back_only_from_far_ahead() {
    assert_eq!(following(START, START - SECOND), START);
    assert_eq!(following(START, START + SECOND), START + SECOND);
    assert_eq!(following(START + 30_000 * DAY, START), START);
    assert_eq!(following(0, START), START);
}

/// A node that started with a wrong clock, while another one is down: two clocks, and no third to
/// decide.
#[test]
fn a_node_that_starts_beside_one_other_takes_the_earlier_clock() {
    let mut clocks = Clocks::default();
    record(&mut clocks, Witness::Node(2), SECOND, 0);
    assert_eq!(clocks.now(3, reading(SECOND, WRONG)), TRUE + SECOND);
    record(&mut clocks, Witness::Node(3), 2 * SECOND, 0);
    assert_eq!(clocks.now(3, reading(2 * SECOND, WRONG)), TRUE + 2 * SECOND);
    assert!(clocks.is_unfit(3, reading(2 * SECOND, WRONG)));
}

/// Of two clocks one is far wrong, and the log's last time decides; with a log that is far wrong
/// itself, the two clocks decide.
#[test]
fn the_log_is_a_third_clock_for_a_node_that_starts_beside_one_other() {
    for (own, other) in [(-WRONG, 0), (0, -WRONG), (WRONG, 0), (0, WRONG)] {
        let mut clocks = Clocks::default();
        clocks.record_log_time(TRUE, SECOND);
        record(&mut clocks, Witness::Node(2), SECOND, other);
        let dated = clocks.now(3, reading(SECOND, own));
        assert!((TRUE..=TRUE + SECOND).contains(&dated), "{own} {other} {dated}");
        assert!(!clocks.is_settled());
        // The first majority counts at once.
        record(&mut clocks, Witness::DataServer(1), 3 * SECOND, 0);
        record(&mut clocks, Witness::Node(2), 3 * SECOND, other);
        assert_eq!(clocks.now(3, reading(3 * SECOND, own)), TRUE + 3 * SECOND);
        assert!(clocks.is_settled());
    }
    for log_ns in [TRUE + 30_000 * DAY, TRUE - DAY] {
        let mut clocks = Clocks::default();
        clocks.record_log_time(log_ns, SECOND);
        record(&mut clocks, Witness::Node(2), SECOND, 5_000_000_000);
        let dated = clocks.now(3, reading(SECOND, 0));
        assert!((TRUE..=TRUE + 6 * SECOND).contains(&dated), "{log_ns} {dated}");
    }
}
