//! Receivers of snapshots that the log is held for, and until when: not for a node that is silent,
//! has caught up or takes too long.

use super::*;

const TAIL: Tail = Tail { last: 10_000, kept: 10, uncut: (1, 1) };

fn to(shard: u32, node: NodeId) -> To {
    To { shard, node }
}

/// No entries are replicated to the node yet.
fn nothing(_: NodeId) -> Option<u64> {
    Some(0)
}

/// The node that is furthest behind counts, in its shard. A transfer that ends, however, holds
/// nothing any more.
#[test]
fn the_log_is_held_while_a_snapshot_is_sent() {
    let holds = Arc::new(Holds::default());
    let first = holds.hold_log(to(3, 1), 7, 100, 0);
    let second = holds.hold_log(to(3, 2), 8, 50, 0);
    let other = holds.hold_log(to(4, 1), 9, 20, 0);
    assert_eq!(holds.update_cut_limit(3, TAIL, nothing, 1), 50);
    assert_eq!(holds.update_cut_limit(4, TAIL, nothing, 1), 20);
    assert_eq!(holds.update_cut_limit(5, TAIL, nothing, 1), u64::MAX);
    drop(second);
    assert_eq!(holds.update_cut_limit(3, TAIL, nothing, 1), 100);
    drop(other);
    assert!(!holds.has(4, 1));
    // The end of an older transfer does not end its replacement.
    let again = holds.hold_log(to(3, 1), 10, 200, 1);
    drop(first);
    assert_eq!(holds.update_cut_limit(3, TAIL, nothing, 1), 200);
    drop(again);
    assert_eq!(holds.update_cut_limit(3, TAIL, nothing, 1), u64::MAX);
}

#[test]
fn a_silent_node_holds_nothing() {
    let holds = Arc::new(Holds::default());
    let holding = holds.hold_log(to(3, 1), 7, 100, 0);
    holds.note_answer(to(3, 1), 5_000);
    holds.note_answer(to(3, 2), 9_000);
    assert_eq!(holds.update_cut_limit(3, TAIL, nothing, 4_999 + SNAPSHOT_SILENT_MS_MAX), 100);
    assert_eq!(holds.update_cut_limit(3, TAIL, nothing, 5_000 + SNAPSHOT_SILENT_MS_MAX), u64::MAX);
    assert!(!holds.has(3, 5_000 + SNAPSHOT_SILENT_MS_MAX));
    holds.note_answer(to(3, 1), 20_000);
    assert_eq!(holds.update_cut_limit(3, TAIL, nothing, 20_000), 100, "it is alive after all");
    drop(holding);
    assert!(!holds.has(3, 20_000));
}

/// Once it has the snapshot a node follows the log, and the hold advances with it.
#[test]
fn the_log_is_held_until_the_node_has_caught_up() {
    let holds = Arc::new(Holds::default());
    let at = to(3, 1);
    holds.hold_log(at, 7, 100, 0).installed(0);
    let cut_limit = |matched: u64, last: u64, now_ms: u64| {
        holds.note_answer(at, now_ms);
        holds.update_cut_limit(3, Tail { last, ..TAIL }, |_| Some(matched), now_ms)
    };
    assert_eq!(cut_limit(0, 100, 1), 100, "the engine does not know yet that it has it");
    assert_eq!(cut_limit(5_000, 10_000, SNAPSHOT_FOLLOW_MS_MAX - 1), 5_000);
    assert_eq!(cut_limit(5_000, 10_000, 2 * SNAPSHOT_FOLLOW_MS_MAX - 2), 5_000);
    assert_eq!(
        cut_limit(9_990, 10_000, 2 * SNAPSHOT_FOLLOW_MS_MAX - 2),
        u64::MAX,
        "the rest is kept in any case"
    );
    // A node that does not follow the log.
    holds.hold_log(at, 8, 100, 0).installed(0);
    assert_eq!(cut_limit(100, 10_000, SNAPSHOT_FOLLOW_MS_MAX - 1), 100);
    assert_eq!(cut_limit(100, 10_000, SNAPSHOT_FOLLOW_MS_MAX), u64::MAX);
    // A node that gets no entries any more: it was removed, or another node leads.
    holds.hold_log(at, 9, 100, 0).installed(0);
    assert_eq!(holds.update_cut_limit(3, TAIL, |_| None, 1), u64::MAX);
}

/// Held entries are bounded for the node: its shards share the bound, but each may have its
/// minimum.
#[test]
fn a_log_that_is_too_long_is_cut() {
    let holds = Arc::new(Holds::default());
    let uncut = |bytes, entries| Tail { uncut: (bytes, entries), ..TAIL };
    let begin = |shard: u32| holds.hold_log(to(shard, 1), u64::from(shard), 100, 0);
    let one = begin(0);
    assert_eq!(holds.update_cut_limit(0, uncut(HELD_LOG_BYTES_MAX, HELD_LOG_ENTRIES_MAX), nothing, 1), 100);
    assert_eq!(holds.update_cut_limit(0, uncut(HELD_LOG_BYTES_MAX + 1, 1), nothing, 1), u64::MAX);
    drop(one);
    let two = (begin(0), begin(1));
    assert_eq!(holds.update_cut_limit(0, uncut(1, HELD_LOG_ENTRIES_MAX / 2), nothing, 1), 100);
    assert_eq!(holds.update_cut_limit(0, uncut(1, HELD_LOG_ENTRIES_MAX / 2 + 1), nothing, 1), u64::MAX);
    assert_eq!(
        holds.update_cut_limit(1, uncut(1, HELD_LOG_ENTRIES_MAX / 2 + 1), nothing, 1),
        100,
        "it has the whole bound now"
    );
    drop(two);
    // In an idle shard, whose holds are not updated, a snapshot that was installed long ago takes
    // no share.
    let idle = to(1, 1);
    holds.hold_log(idle, 1, 100, 0).installed(0);
    let one = begin(0);
    let later_ms = SNAPSHOT_FOLLOW_MS_MAX;
    [idle, to(0, 1)].into_iter().for_each(|at| holds.note_answer(at, later_ms));
    assert_eq!(holds.update_cut_limit(0, uncut(1, HELD_LOG_ENTRIES_MAX), nothing, later_ms), 100);
    drop(one);
    let many: Vec<Holding> = (0..1_000).map(begin).collect();
    assert_eq!(
        holds.update_cut_limit(0, uncut(CHECKPOINT_LOG_BYTES, CHECKPOINT_LOG_ENTRIES), nothing, 1),
        100
    );
    drop(many);
    assert_eq!(holds.update_cut_limit(0, TAIL, nothing, 1), u64::MAX);
}
