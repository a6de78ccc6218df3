//! Attributes of files that clients write, from the log and the data servers' reports.

use mds_namespace::{Content, Kind};

use super::*;

const NOW_UNIX_NS: u64 = 1_000_000_000_000;

fn file(size_bytes: u64) -> Inode {
    let logged = Timestamp::from_unix_ns(NOW_UNIX_NS - 5_000_000_000);
    Inode {
        ino: 7,
        generation: 0,
        kind: Kind::Regular,
        mode: 0o4755,
        nlink: 1,
        uid: 1,
        gid: 1,
        size_bytes,
        used_bytes: size_bytes,
        change: 3,
        atime: logged,
        mtime: logged,
        ctime: logged,
        parent: 0,
        content: Content::Extents,
    }
}

fn told(end_bytes: u32, change: u64) -> Option<Told> {
    let mtime_unix_ns = NOW_UNIX_NS - 2_000_000_000 + change;
    Some(Told { end_bytes, held_bytes: end_bytes, change, mtime_unix_ns })
}

fn measured(size_bytes: u64, extents: &[(u32, Option<Seen>, Option<Told>)]) -> Measured {
    let extents = extents.iter().map(|(index, seen, told)| Extent {
        index: *index,
        epoch: Epoch(1),
        seen: *seen,
        told: *told,
    });
    Measured {
        inode: file(size_bytes),
        unsettled: Unsettled { turns: 4, drops_set_id: true },
        extents: extents.collect(),
    }
}

const NEW: Option<Seen> = Some(Seen { change: 0, held_bytes: 0 });

#[test]
fn the_end_is_the_largest_of_log_and_data_servers() {
    let end = |size_bytes, extents: &[_]| measured(size_bytes, extents).derived(NOW_UNIX_NS).size_bytes;
    assert_eq!(end(0, &[(0, NEW, told(60_000, 9))]), 60_000);
    assert_eq!(end(90_000, &[(0, NEW, told(60_000, 9))]), 90_000);
    assert_eq!(end(0, &[(0, NEW, told(60_000, 9)), (1, NEW, told(5, 2))]), (64 << 20) + 5);
    assert_eq!(end(0, &[(0, NEW, told(60_000, 9)), (1, NEW, told(0, 0))]), 60_000);
    assert_eq!(end(50, &[(0, NEW, None)]), 50, "all copies are lost");
}

/// Nothing was written: clients keep their caches, and the bits stay.
#[test]
fn a_file_that_was_only_opened_for_writing_is_as_the_log_has_it() {
    let seen = Some(Seen { change: 9, held_bytes: 60_000 });
    let same = measured(60_000, &[(0, seen, told(60_000, 9))]);
    assert_eq!(same.derived(NOW_UNIX_NS), file(60_000));
    assert_eq!(same.settlement(NOW_UNIX_NS).unwrap().written, None);
    let never = measured(0, &[(0, None, told(0, 0))]);
    assert_eq!(never.derived(NOW_UNIX_NS), file(0));
}

#[test]
fn a_write_moves_times_and_counter_and_clears_the_bits() {
    let one = measured(0, &[(0, NEW, told(100, 1))]).derived(NOW_UNIX_NS);
    assert_ne!(one.change, 3);
    assert_eq!(one.mtime, Timestamp::from_unix_ns(NOW_UNIX_NS - 2_000_000_000 + 1));
    assert_eq!((one.ctime, one.mode), (one.mtime, 0o755));
    // The same content has the same counter on every server; different content has another.
    assert_eq!(measured(0, &[(0, NEW, told(100, 1))]).derived(NOW_UNIX_NS).change, one.change);
    for other in [told(100, 2), Some(Told { mtime_unix_ns: 5, ..told(100, 1).unwrap() })] {
        assert_ne!(measured(0, &[(0, NEW, other)]).derived(NOW_UNIX_NS).change, one.change);
    }
    assert_ne!(measured(0, &[(1, NEW, told(100, 1))]).derived(NOW_UNIX_NS).change, one.change);
    assert!(one.change < 1 << 63, "there is room to count on");
    let settled = measured(0, &[(0, NEW, told(100, 1))]).settlement(NOW_UNIX_NS).unwrap();
    assert_eq!(settled.written, Some((one.change, one.mtime)), "settling changes no visible value");
}

/// A future time set by hand gives way to a WRITE; a past one gives way only to a later WRITE.
#[test]
fn the_later_time_counts_unless_it_is_in_the_future() {
    let mut file = measured(0, &[(0, NEW, told(100, 1))]);
    let written = Timestamp::from_unix_ns(NOW_UNIX_NS - 2_000_000_000 + 1);
    file.inode.mtime = Timestamp::from_unix_ns(NOW_UNIX_NS - 1_000_000_000);
    assert_eq!(file.derived(NOW_UNIX_NS).mtime, file.inode.mtime);
    file.inode.mtime = Timestamp::from_unix_ns(NOW_UNIX_NS + 1);
    assert_eq!(file.derived(NOW_UNIX_NS).mtime, written);
}

#[test]
fn space_is_the_growth_of_extents_since_their_grant() {
    let used =
        |size_bytes, seen, told| measured(size_bytes, &[(0, seen, told)]).derived(NOW_UNIX_NS).used_bytes;
    assert_eq!(used(0, NEW, told(4096, 1)), 4096);
    let sparse = Some(Told { held_bytes: 10, ..told(1 << 20, 1).unwrap() });
    assert_eq!(used(0, NEW, sparse), 10, "a hole is not used");
    let seen = Some(Seen { change: 0, held_bytes: 4096 });
    assert_eq!(used(10_000, seen, told(5_096, 1)), 10_000, "never more than the file is long");
    assert_eq!(used(10_000, seen, told(1_000, 1)), 6_904);
    assert_eq!(used(0, None, told(1_000, 1)), 1_000, "never less than is held");
}

/// Lost copies may return, with more bytes than the log knows.
#[test]
fn nothing_is_settled_while_a_copy_may_come_back() {
    assert_eq!(measured(50, &[(0, NEW, told(10, 1)), (1, NEW, None)]).settlement(NOW_UNIX_NS), None);
}
