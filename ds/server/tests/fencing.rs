//! FENCE, CUT, DROP and SIZE against data requests.

mod bed;

use std::sync::Arc;

use bed::*;
use layout::{Epoch, ExtentId, Iomode};
use wire_nfs::v3::{Nfsstat3, StableHow};

#[tokio::test]
async fn old_handles_are_stale() {
    let bed = Bed::new().await;
    let control = bed.control();
    bed.write(rw(1), START, b"hello", StableHow::Unstable).await.unwrap();
    control.fence(EXTENT, Epoch(2)).await.unwrap();
    let written = bed.write(rw(1), START, b"later", StableHow::Unstable).await;
    assert_eq!(written.unwrap_err(), Nfsstat3::Stale);
    assert_eq!(bed.read(rw(1), START, 5).await.unwrap_err(), Nfsstat3::Stale);
    assert_eq!(bed.commit(rw(1)).await.unwrap_err(), Nfsstat3::Stale);
    assert_eq!(&bed.read(rw(2), START, 5).await.unwrap().data[..], b"hello");
    // A handle of a higher epoch is genuine, and fences no other handle by itself.
    bed.read(rw(5), START, 5).await.unwrap();
    assert_eq!(&bed.read(rw(4), START, 5).await.unwrap().data[..], b"hello");
    assert_eq!(control.size(&[EXTENT]).await.unwrap()[0].epoch, 5);
    control.fence(EXTENT, Epoch(5)).await.unwrap();
    assert_eq!(bed.read(rw(4), START, 5).await.unwrap_err(), Nfsstat3::Stale);
}

#[tokio::test]
async fn cut_takes_bytes_and_drop_handles_too() {
    let bed = Bed::new().await;
    let control = bed.control();
    bed.write(rw(1), START, &[7; 100], StableHow::Unstable).await.unwrap();
    control.cut(EXTENT, Epoch(2), 40, None).await.unwrap();
    let size = control.size(&[EXTENT, ExtentId { ino: 1234, index: 0 }]).await.unwrap();
    assert_eq!((size[0].end_bytes, size[0].held_bytes, size[0].epoch), (40, 40, 2));
    assert!(0 < size[0].mtime_unix_ns && 0 < size[0].change);
    assert_eq!(size[1], wire_nfs::control::extent::ExtentSize::default());
    assert_eq!(&bed.read(rw(1), START, 5).await.unwrap().data[..], [7; 5]);
    bed.metadata.files_end_at(START + 60);
    let read = bed.read(handle_of(EXTENT, 2, Iomode::Read, START + 60), START, 100).await.unwrap();
    assert_eq!((&read.data[..], read.eof), (&[[7; 40].as_slice(), &[0; 20]].concat()[..], true));
    control.drop_extent(EXTENT, Epoch(3)).await.unwrap();
    assert_eq!(bed.read(rw(2), START, 5).await.unwrap_err(), Nfsstat3::Stale);
    bed.metadata.files_end_at(START);
    assert_eq!(bed.read(rw(3), START, 5).await.unwrap().data.len(), 0);
    // A delayed copy of the CUT changes nothing that came after it.
    bed.write(rw(3), START + 50, b"new", StableHow::Unstable).await.unwrap();
    control.cut(EXTENT, Epoch(2), 40, None).await.unwrap();
    assert_eq!(control.size(&[EXTENT]).await.unwrap()[0].end_bytes, 53);
    assert!(control.cut(EXTENT, Epoch(9), (64 << 20) + 1, None).await.is_err());
}

/// A client that truncates goes on writing through the layout it has, and reads what it then holds
/// of the file: up to the cut, or to what was written since, whatever the size was when the handle
/// was made.
/// Spec: docs/protocol/control.md §3.
#[tokio::test]
async fn a_handle_from_before_a_cut_goes_on() {
    let bed = Bed::new().await;
    let control = bed.control();
    let old = || handle_of(EXTENT, 1, Iomode::ReadWrite, START + 1000);
    let new = |size| handle_of(EXTENT, 2, Iomode::ReadWrite, START + size);
    bed.write(old(), START, &[7; 100], StableHow::Unstable).await.unwrap();
    let read = bed.read(old(), START, 1000).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (1000, false), "the handle knows of so much");
    // In the bytes, in the hole behind them, and at the start.
    for (keep, held) in [(300, 100), (40, 40), (0, 0)] {
        let extent = ExtentId { index: EXTENT.index, ino: 50 + keep };
        let old = handle_of(extent, 1, Iomode::ReadWrite, START + 1000);
        bed.write(old.clone(), START, &[7; 100], StableHow::Unstable).await.unwrap();
        control.cut(extent, Epoch(2), keep, None).await.unwrap();
        bed.metadata.files_end_at(START + keep);
        let read = bed.read(old.clone(), START, 1000).await.unwrap();
        let kept = keep as usize;
        assert_eq!((read.data.len(), read.eof), (kept, true));
        assert_eq!(read.data.iter().filter(|byte| **byte == 7).count(), held);
        let read = bed.read(old, START + 500, 10).await.unwrap();
        assert_eq!((read.data.len(), read.eof), (0, true));
    }
    control.cut(EXTENT, Epoch(2), 40, None).await.unwrap();
    bed.write(old(), START + 60, b"new", StableHow::Unstable).await.unwrap();
    bed.commit(old()).await.unwrap();
    bed.metadata.files_end_at(START + 63);
    let read = bed.read(old(), START, 2000).await.unwrap();
    assert_eq!((&read.data[..], read.eof), (&[&[7; 40][..], &[0; 20], b"new"].concat()[..], true));
    // A handle from after the cut tells its size hint.
    assert_eq!(bed.read(new(500), START, 500).await.unwrap().data.len(), 500);
    assert_eq!(bed.read(new(10), START, 500).await.unwrap().data.len(), 63);
    // What was written behind the cut stays when the power goes.
    bed.write(old(), START + 80, b"late", StableHow::FileSync).await.unwrap();
    let bed = bed.crashed(env::memory::Crash::Drop).await;
    bed.control().cut(EXTENT, Epoch(2), 40, None).await.unwrap();
    bed.metadata.files_end_at(START + 84);
    let read = bed.read(new(0), START + 60, 100).await.unwrap();
    assert_eq!((&read.data[..], read.eof), (&[&b"new"[..], &[0; 17], b"late"].concat()[..], true));
    bed.control().fence(EXTENT, Epoch(2)).await.unwrap();
    let written = bed.write(old(), START + 80, b"stale", StableHow::Unstable).await;
    assert_eq!(written.unwrap_err(), Nfsstat3::Stale);
}

/// Whatever was answered OK before the fence is there and counted; the rest was refused and is not.
/// Spec: docs/protocol/control.md §3.
#[tokio::test]
async fn writes_in_flight_meet_the_fence_cleanly() {
    let bed = Arc::new(Bed::new().await);
    let control = bed.control();
    control.size(&[EXTENT]).await.unwrap();
    for round in 0..10 {
        let extent = ExtentId { ino: 100 + round, index: 0 };
        let writes: Vec<_> = (0..24u64)
            .map(|number| {
                let bed = Arc::clone(&bed);
                let stable = if number % 3 == 0 { StableHow::FileSync } else { StableHow::Unstable };
                tokio::spawn(async move {
                    let file = handle_of(extent, 1, Iomode::ReadWrite, 0);
                    bed.write(file, number * 1000, &[1; 1000], stable).await
                })
            })
            .collect();
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        control.fence(extent, Epoch(2)).await.unwrap();
        let held = control.size(&[extent]).await.unwrap()[0].held_bytes;
        let mut written = 0;
        for write in writes {
            match write.await.unwrap() {
                Ok(done) => written += done.count,
                Err(status) => assert_eq!(status, Nfsstat3::Stale),
            }
        }
        assert_eq!(held, written);
        assert_eq!(control.size(&[extent]).await.unwrap()[0].held_bytes, held);
    }
}

#[tokio::test]
async fn stat_tells_who_and_how_full() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, &[7; 5000], StableHow::FileSync).await.unwrap();
    bed.read(rw(1), START, 5000).await.unwrap();
    let stat = bed.control().stat().await.unwrap();
    assert_eq!(stat.uuid, bed.server.uuid());
    let usage = stat.usage;
    assert_eq!((usage.reads, usage.writes, usage.read_bytes, usage.written_bytes), (1, 1, 5000, 5000));
    assert!(5000 <= usage.used_bytes && usage.used_bytes < 6000, "{usage:?}");
    assert!(0 < usage.flushes && usage.extents == 1);
    let written = bed.write(rw(1), START, b"x", StableHow::FileSync).await.unwrap();
    assert_eq!(written.verf, stat.instance.to_be_bytes());
}
