//! Files whose size is not settled: what a truncation cuts then, and when a measurement still
//! counts.
//!
//! Spec: docs/protocol/sizes.md; docs/formats/namespace.md.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use fixture::{Fs, mode, root};
use layout::{DataServerId, EXTENT_BYTES, Epoch, ExtentId};
use mds_namespace::op::extent::{allocate, extent};
use mds_namespace::op::move_to_extents::move_to_extents;
use mds_namespace::op::queue::fence;
use mds_namespace::op::remove::remove;
use mds_namespace::op::setattr::set_attributes;
use mds_namespace::op::settle::{Settlement, absorb, epochs, grant, settle, turn};
use mds_namespace::op::{reap, work};
use mds_namespace::unsettled::{
    all_after, decode_granted, decode_unsettled, encode_granted, encode_unsettled, granted, unsettled,
};
use mds_namespace::{
    Granted, Ino, Kind, ROOT_INO, Seen, SetAttributes, StoreError, Timestamp, Truncation, Unsettled,
};

const USER: u32 = 100;

fn truncate(fs: &mut Fs, ino: Ino, size_bytes: u64) -> Option<Truncation> {
    let size = SetAttributes { size_bytes: Some(size_bytes), ..SetAttributes::default() };
    fs.run(|txn, now| set_attributes(txn, &root(), ino, &size, false, now)).unwrap().truncated
}

/// A file with two extents, both granted to a client for writing.
fn written(fs: &mut Fs) -> Ino {
    let ino = fs.given("file", Kind::Regular, 0o4755, USER, USER);
    let change = fs.inode(ino).change;
    fs.run(|txn, _| move_to_extents(txn, ino, change)).unwrap();
    for index in 0..2 {
        fs.run(|txn, _| allocate(txn, ExtentId { ino, index }, DataServerId(3), &[], None)).unwrap();
    }
    let both = [0, 1].map(|index| Granted { index, seen: Some(Seen::default()) });
    fs.run(|txn, _| grant(txn, ino, &both, true)).unwrap();
    ino
}

/// A measurement by the primaries: the file ends there, and was written.
fn measured(fs: &Fs, ino: Ino, end_bytes: u64) -> Settlement {
    let view = fs.view();
    let epoch = |index| extent(&*view, ExtentId { ino, index }).unwrap().unwrap().epoch;
    Settlement {
        ino,
        turns: unsettled(&*view, ino).unwrap().unwrap().turns,
        epochs: epochs([(0, epoch(0)), (1, epoch(1))]),
        change: fs.inode(ino).change,
        end_bytes,
        used_bytes: 77,
        written: Some((0x1234_5678_9abc, Timestamp { seconds: 5, nanos: 6 })),
    }
}

#[test]
fn records_have_the_documented_bytes() {
    let record = Unsettled { turns: 0x0102, drops_set_id: true };
    let bytes = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    assert_eq!(encode_unsettled(&record), bytes);
    assert_eq!(decode_unsettled(&bytes), Ok(record));
    let seen = Some(Seen { change: 0x0a0b, held_bytes: 0x0c });
    let bytes = [1, 1, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0, 0, 0x0a, 0x0b];
    assert_eq!(encode_granted(seen), bytes);
    assert_eq!(decode_granted(&bytes), Ok(seen));
    assert_eq!(decode_granted(&encode_granted(None)), Ok(None));
    for bad in [vec![2; 16], bytes[..15].to_vec(), vec![]] {
        assert!(matches!(decode_granted(&bad), Err(StoreError::Corrupt(_))), "{bad:?}");
        assert!(matches!(decode_unsettled(&bad), Err(StoreError::Corrupt(_))), "{bad:?}");
    }
}

/// In the metadata server's inode the file is empty, and the client has written 60,000 bytes: to
/// set the length to 5,000 is a cut, not growth. So is setting it to the inode's length, and to
/// more than that.
#[test]
fn a_truncation_of_an_unsettled_file_cuts_whatever_size_its_inode_has() {
    for size_bytes in [0, 5_000, EXTENT_BYTES - 1] {
        let mut fs = Fs::new();
        let ino = written(&mut fs);
        assert_eq!(fs.inode(ino).size_bytes, 0);
        let truncated =
            truncate(&mut fs, ino, size_bytes).unwrap_or_else(|| panic!("{size_bytes}: nothing cut"));
        let kept =
            truncated.cut.map_or(0, |(_, record, keep)| u64::from(record.extent.index) * EXTENT_BYTES + keep);
        assert_eq!((kept, truncated.dropped.len()), (size_bytes, 1 + usize::from(size_bytes == 0)));
        assert_eq!(fs.inode(ino).size_bytes, size_bytes);
    }
}

/// The content of a settled file is known: growing it needs no data server.
#[test]
fn a_settled_file_grows_by_itself() {
    let mut fs = Fs::new();
    let ino = written(&mut fs);
    let all = measured(&fs, ino, 1_000);
    let inode = fs.run(|txn, now| settle(txn, &all, now)).unwrap().unwrap();
    assert_eq!((inode.size_bytes, inode.used_bytes, inode.change), (1_000, 77, 0x1234_5678_9abc));
    assert_eq!(
        (inode.mtime, inode.ctime, inode.mode),
        (Timestamp { seconds: 5, nanos: 6 }, fs.last(), 0o755)
    );
    assert_eq!((unsettled(&*fs.view(), ino).unwrap(), granted(&*fs.view(), ino).unwrap()), (None, vec![]));
    assert_eq!(truncate(&mut fs, ino, 5_000), None);
}

/// A measurement counts only for the file as it was measured: not after a cut, a fence, another
/// grant or return, a change of mode, nor while data servers have pending work.
#[test]
fn a_late_measurement_settles_nothing() {
    type Between = fn(&mut Fs, Ino);
    let between: [Between; 5] = [
        |fs, ino| drop(truncate(fs, ino, 10)),
        |fs, ino| {
            let fenced = fs.run(|txn, _| fence(txn, ExtentId { ino, index: 1 })).unwrap();
            fs.run(|txn, _| work::done(txn, &[fenced.pending_work.unwrap()])).unwrap();
        },
        |fs, ino| fs.run(|txn, _| grant(txn, ino, &[], false)).unwrap(),
        |fs, ino| fs.run(|txn, _| turn(txn, ino)).unwrap(),
        |fs, ino| assert_eq!(fs.set(&root(), ino, &mode(0o600)).unwrap().ino, ino),
    ];
    for act in between {
        let mut fs = Fs::new();
        let ino = written(&mut fs);
        let early = measured(&fs, ino, 60_000);
        act(&mut fs, ino);
        let before = fs.inode(ino);
        assert_eq!(fs.run(|txn, now| settle(txn, &early, now)).unwrap(), None);
        assert_eq!(fs.inode(ino), before);
        assert!(unsettled(&*fs.view(), ino).unwrap().is_some());
    }
    let mut fs = Fs::new();
    let ino = written(&mut fs);
    fs.run(|txn, _| fence(txn, ExtentId { ino, index: 1 })).unwrap();
    let pending = measured(&fs, ino, 60_000);
    assert_eq!(fs.run(|txn, now| settle(txn, &pending, now)).unwrap(), None, "a fence is still to come");
}

/// Nothing was written: nothing changes, and the file is settled.
#[test]
fn a_file_that_was_only_opened_for_writing_stays_as_it_is() {
    let mut fs = Fs::new();
    let ino = written(&mut fs);
    let before = fs.inode(ino);
    let nothing = Settlement { written: None, ..measured(&fs, ino, 0) };
    assert_eq!(fs.run(|txn, now| settle(txn, &nothing, now)).unwrap(), Some(before));
    assert_eq!(all_after(&*fs.view(), 0, 10).unwrap(), []);
}

/// The size of an extent at its first grant is kept; a cut reduces it as it reduces the extent.
#[test]
fn the_size_at_the_first_grant_counts() {
    let mut fs = Fs::new();
    let ino = written(&mut fs);
    let again = [Granted { index: 1, seen: Some(Seen { change: 9, held_bytes: 900 }) }];
    fs.run(|txn, _| grant(txn, ino, &again, false)).unwrap();
    assert_eq!(granted(&*fs.view(), ino).unwrap()[1].seen, Some(Seen::default()));
    assert_eq!(unsettled(&*fs.view(), ino).unwrap(), Some(Unsettled { turns: 2, drops_set_id: true }));
    let held = [Granted { index: 5, seen: Some(Seen { change: 1, held_bytes: 900 }) }];
    fs.run(|txn, _| grant(txn, ino, &held, false)).unwrap();
    truncate(&mut fs, ino, 5 * EXTENT_BYTES + 100);
    assert_eq!(granted(&*fs.view(), ino).unwrap()[2].seen.unwrap().held_bytes, 100);
    assert_eq!(all_after(&*fs.view(), 0, 10).unwrap(), [ino]);
    assert_eq!(all_after(&*fs.view(), ino, 10).unwrap(), []);
}

/// A time is set in a file that was written, and the layout stays: the inode then covers all that
/// was written before.
#[test]
fn earlier_writes_count_before_a_time_is_set() {
    let mut fs = Fs::new();
    let ino = written(&mut fs);
    let holds = |index, change| Granted { index, seen: Some(Seen { change, held_bytes: 77 }) };
    let before = measured(&fs, ino, 60_000);
    let absorbed =
        fs.run(|txn, now| absorb(txn, &before, &[holds(1, 9), holds(7, 3)], now)).unwrap().unwrap();
    assert_eq!((absorbed.size_bytes, absorbed.used_bytes, absorbed.mode), (60_000, 77, 0o755));
    assert_eq!(fs.inode(ino), absorbed);
    assert_eq!(
        granted(&*fs.view(), ino).unwrap(),
        [Granted { index: 0, seen: Some(Seen::default()) }, holds(1, 9)]
    );
    assert!(unsettled(&*fs.view(), ino).unwrap().is_some(), "writing continues");
    assert_eq!(
        fs.run(|txn, now| absorb(txn, &before, &[], now)).unwrap(),
        None,
        "the counter is another one"
    );
}

#[test]
fn a_removed_file_leaves_nothing() {
    let mut fs = Fs::new();
    let ino = written(&mut fs);
    fs.run(|txn, now| remove(txn, &root(), ROOT_INO, b"file", now)).unwrap();
    fs.run(|txn, _| reap::reap(txn, ino)).unwrap();
    assert_eq!(
        (all_after(&*fs.view(), 0, 10).unwrap(), granted(&*fs.view(), ino).unwrap()),
        (vec![], vec![])
    );
}

#[test]
fn epochs_are_told_apart() {
    let all = [(0, Epoch(1)), (1, Epoch(2))];
    assert_eq!(epochs(all), epochs(all));
    for other in
        [vec![], vec![(0, Epoch(1))], vec![(0, Epoch(2)), (1, Epoch(2))], vec![(1, Epoch(2)), (0, Epoch(1))]]
    {
        assert_ne!(epochs(all), epochs(other));
    }
}
