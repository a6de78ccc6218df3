//! For whom the log is held, and until when: not for who is silent, has gone on or takes too long.

use super::*;

const TAIL: Tail = Tail { last: 10_000, kept: 10, uncut: (1, 1) };

fn to(shard: u32, node: NodeId) -> To {
    To { shard, node }
}

/// Nobody has told of the log yet.
fn nothing(_: NodeId) -> Option<u64> {
    Some(0)
}

/// Of several nodes the one that is furthest behind counts, in its shard; whoever's transfer ends, however, holds nothing any more.
#[test]
fn the_log_is_held_for_as_long_as_a_snapshot_is_on_its_way() {
    let holds = Arc::new(Holds::default());
    let first = holds.begin(to(3, 1), 7, 100, 0);
    let second = holds.begin(to(3, 2), 8, 50, 0);
    let other = holds.begin(to(4, 1), 9, 20, 0);
    assert_eq!(holds.look(3, TAIL, nothing, 1), 50);
    assert_eq!(holds.look(4, TAIL, nothing, 1), 20);
    assert_eq!(holds.look(5, TAIL, nothing, 1), u64::MAX);
    drop(second);
    assert_eq!(holds.look(3, TAIL, nothing, 1), 100);
    drop(other);
    assert!(!holds.has(4, 1));
    // A transfer that is over does not end the one that took its place.
    let again = holds.begin(to(3, 1), 10, 200, 1);
    drop(first);
    assert_eq!(holds.look(3, TAIL, nothing, 1), 200);
    drop(again);
    assert_eq!(holds.look(3, TAIL, nothing, 1), u64::MAX);
}

#[test]
fn who_is_silent_holds_nothing() {
    let holds = Arc::new(Holds::default());
    let holding = holds.begin(to(3, 1), 7, 100, 0);
    holds.heard(to(3, 1), 5_000);
    holds.heard(to(3, 2), 9_000);
    assert_eq!(holds.look(3, TAIL, nothing, 4_999 + SNAPSHOT_SILENT_MS_MAX), 100);
    assert_eq!(holds.look(3, TAIL, nothing, 5_000 + SNAPSHOT_SILENT_MS_MAX), u64::MAX);
    assert!(!holds.has(3, 5_000 + SNAPSHOT_SILENT_MS_MAX));
    holds.heard(to(3, 1), 20_000);
    assert_eq!(holds.look(3, TAIL, nothing, 20_000), 100, "it is there after all");
    drop(holding);
    assert!(!holds.has(3, 20_000));
}

/// Once it has the snapshot a node takes up the log, and what is held moves along.
#[test]
fn the_log_is_held_until_it_is_taken_up() {
    let holds = Arc::new(Holds::default());
    let at = to(3, 1);
    holds.begin(at, 7, 100, 0).installed(0);
    let look = |matched: u64, last: u64, now_ms: u64| {
        holds.heard(at, now_ms);
        holds.look(3, Tail { last, ..TAIL }, |_| Some(matched), now_ms)
    };
    assert_eq!(look(0, 100, 1), 100, "the engine does not know yet that it has it");
    assert_eq!(look(5_000, 10_000, SNAPSHOT_FOLLOW_MS_MAX - 1), 5_000);
    assert_eq!(look(5_000, 10_000, 2 * SNAPSHOT_FOLLOW_MS_MAX - 2), 5_000);
    assert_eq!(look(9_990, 10_000, 2 * SNAPSHOT_FOLLOW_MS_MAX - 2), u64::MAX, "the rest is kept in any case");
    // One that takes up nothing.
    holds.begin(at, 8, 100, 0).installed(0);
    assert_eq!(look(100, 10_000, SNAPSHOT_FOLLOW_MS_MAX - 1), 100);
    assert_eq!(look(100, 10_000, SNAPSHOT_FOLLOW_MS_MAX), u64::MAX);
    // One that nothing is told any more: it was forgotten, or another node leads.
    holds.begin(at, 9, 100, 0).installed(0);
    assert_eq!(holds.look(3, TAIL, |_| None, 1), u64::MAX);
}

/// What is kept is bounded for the node: its shards share it, but each may have what it may have in any case.
#[test]
fn a_log_that_is_too_long_is_cut() {
    let holds = Arc::new(Holds::default());
    let uncut = |bytes, entries| Tail { uncut: (bytes, entries), ..TAIL };
    let begin = |shard: u32| holds.begin(to(shard, 1), u64::from(shard), 100, 0);
    let one = begin(0);
    assert_eq!(holds.look(0, uncut(HELD_LOG_BYTES_MAX, HELD_LOG_ENTRIES_MAX), nothing, 1), 100);
    assert_eq!(holds.look(0, uncut(HELD_LOG_BYTES_MAX + 1, 1), nothing, 1), u64::MAX);
    drop(one);
    let two = (begin(0), begin(1));
    assert_eq!(holds.look(0, uncut(1, HELD_LOG_ENTRIES_MAX / 2), nothing, 1), 100);
    assert_eq!(holds.look(0, uncut(1, HELD_LOG_ENTRIES_MAX / 2 + 1), nothing, 1), u64::MAX);
    assert_eq!(holds.look(1, uncut(1, HELD_LOG_ENTRIES_MAX / 2 + 1), nothing, 1), 100, "it has all now");
    drop(two);
    // Of a shard that nobody looks at, since nothing happens there, a snapshot that is long in takes no share.
    let idle = to(1, 1);
    holds.begin(idle, 1, 100, 0).installed(0);
    let one = begin(0);
    let later_ms = SNAPSHOT_FOLLOW_MS_MAX;
    [idle, to(0, 1)].into_iter().for_each(|at| holds.heard(at, later_ms));
    assert_eq!(holds.look(0, uncut(1, HELD_LOG_ENTRIES_MAX), nothing, later_ms), 100);
    drop(one);
    let many: Vec<Holding> = (0..1_000).map(begin).collect();
    assert_eq!(holds.look(0, uncut(CHECKPOINT_LOG_BYTES, CHECKPOINT_LOG_ENTRIES), nothing, 1), 100);
    drop(many);
    assert_eq!(holds.look(0, TAIL, nothing, 1), u64::MAX);
}
