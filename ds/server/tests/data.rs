//! READ, WRITE and COMMIT as a client sees them.

mod bed;

use bed::*;
use env::memory::Crash;
use layout::{ExtentId, Iomode};
use wire_nfs::v3::{Fh3, Nfsstat3, StableHow};

const MIB: usize = 1 << 20;

/// Spec: RFC 1813 §3.3.7: committed is never weaker than asked.
#[tokio::test]
async fn writes_are_as_stable_as_asked() {
    let bed = Bed::new().await;
    for (stable, committed) in [
        (StableHow::Unstable, StableHow::Unstable),
        (StableHow::DataSync, StableHow::FileSync),
        (StableHow::FileSync, StableHow::FileSync),
    ] {
        let written = bed.write(rw(1), START, b"hello", stable).await.unwrap();
        assert_eq!((written.count, written.committed), (5, committed));
        let syncs = bed.disk.counts().syncs;
        let committed = bed.commit(rw(1)).await.unwrap();
        assert_eq!(committed.verf, written.verf);
        assert_eq!(bed.disk.counts().syncs > syncs, stable == StableHow::Unstable, "{stable:?}");
    }
    bed.metadata.files_end_at(START + 5);
    let read = bed.read(rw(1), START, 100).await.unwrap();
    assert_eq!((&read.data[..], read.eof), (&b"hello"[..], true));
}

/// Bytes that were not committed may be gone after a crash; then the verifier is another.
/// Spec: RFC 1813 §3.3.21.
#[tokio::test]
async fn a_crash_changes_the_verifier_and_keeps_what_was_stable() {
    let bed = Bed::new().await;
    let stable = bed.write(rw(1), START, b"stable", StableHow::FileSync).await.unwrap();
    let unstable = bed.write(rw(1), START + 6, b"unstable", StableHow::Unstable).await.unwrap();
    assert_eq!(stable.verf, unstable.verf);
    let bed = bed.crashed(Crash::Drop).await;
    let committed = bed.commit(rw(1)).await.unwrap();
    assert_ne!(committed.verf, unstable.verf);
    bed.metadata.files_end_at(START + 6);
    let read = bed.read(rw(1), START, 100).await.unwrap();
    assert_eq!(&read.data[..], b"stable");
}

/// Holes below the end of the file are zeros. Where that is, the metadata server says, for a READ
/// that reaches beyond what is known here: the end of what is held, and the size in the handle.
/// Spec: RFC 1813 §3.3.6; RFC 8435 §6; docs/protocol/sizes.md §7.
#[tokio::test]
async fn eof_is_where_the_metadata_server_says_that_the_file_ends() {
    let bed = Bed::new().await;
    let file = |size| handle_of(EXTENT, 1, Iomode::Read, size);
    bed.write(rw(1), START + 100, &[7; 100], StableHow::Unstable).await.unwrap();
    bed.metadata.files_end_at(START + 200);
    let read = bed.read(file(0), START, 1000).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (200, true));
    assert_eq!(read.data[..], [[0; 100], [7; 100]].concat());
    let read = bed.read(file(0), START + 200, 10).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (0, true));
    // All that is asked for is known to be there: nothing is asked, and nothing said of the end.
    bed.metadata.files_end_at(0);
    for count in [199, 200] {
        let read = bed.read(file(0), START, count).await.unwrap();
        assert_eq!((read.data.len(), read.eof), (count as usize, false));
    }
    let read = bed.read(file(START + 500), START + 150, 350).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (350, false));
    assert!(read.data[50..].iter().all(|byte| *byte == 0));
    // The file has grown since the handle was made, here or in another extent.
    for (end, length, eof) in [(START + 700, 550, true), (START + layout::EXTENT_BYTES + 1, 1000, false)] {
        bed.metadata.files_end_at(end);
        let read = bed.read(file(START + 500), START + 150, 1000).await.unwrap();
        assert_eq!((read.data.len(), read.eof), (length, eof), "{end}");
    }
    let next = START + layout::EXTENT_BYTES;
    let read = bed.read(file(0), next - 10, 100).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (10, false));
    // An extent that this server never heard of.
    let empty = || handle_of(ExtentId { ino: 99, index: 0 }, 1, Iomode::Read, 0);
    for (end, length) in [(10, 10), (0, 0)] {
        bed.metadata.files_end_at(end);
        let read = bed.read(empty(), 0, 100).await.unwrap();
        assert_eq!((&read.data[..], read.eof), (&[0; 10][..length], true));
    }
}

/// While no metadata server can say where the file ends, a READ beyond what is known is to be asked
/// again: never `eof`.
#[tokio::test]
async fn an_end_that_is_not_known_is_not_guessed() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, &[7; 100], StableHow::Unstable).await.unwrap();
    bed.metadata.files_end_nowhere();
    let ticking = async {
        loop {
            bed.clock.advance_ms(50);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        read = bed.read(rw(1), START, 1000) => assert_eq!(read.unwrap_err(), Nfsstat3::Jukebox),
        () = ticking => unreachable!("it goes on for ever"),
    }
    assert_eq!(bed.read(rw(1), START, 100).await.unwrap().data.len(), 100);
}

#[tokio::test]
async fn zero_bytes_are_fine() {
    let bed = Bed::new().await;
    let written = bed.write(rw(1), START, b"", StableHow::FileSync).await.unwrap();
    assert_eq!((written.count, written.committed), (0, StableHow::FileSync));
    let read = bed.read(rw(1), START, 0).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (0, true));
    bed.write(rw(1), START, b"x", StableHow::Unstable).await.unwrap();
    let read = bed.read(rw(1), START, 0).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (0, false));
    assert_eq!(bed.control().size(&[EXTENT]).await.unwrap()[0].end_bytes, 1);
}

#[tokio::test]
async fn large_transfers_arrive_whole() {
    let bed = Bed::new().await;
    let data: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
    bed.write(rw(1), START + 4096, &data, StableHow::Unstable).await.unwrap();
    let read = bed.read(rw(1), START + 4096, MIB as u32).await.unwrap();
    assert!(read.data[..] == data[..] && !read.eof);
    // More than a transfer comes back short.
    let read = bed.read(rw(1), START, u32::MAX).await.unwrap();
    assert_eq!((read.data.len(), read.eof), (MIB, false));
    let more = bed.write(rw(1), START, &vec![0; MIB + 1], StableHow::Unstable).await;
    assert_eq!(more.unwrap_err(), Nfsstat3::Inval);
}

#[tokio::test]
async fn offsets_outside_the_extent_are_refused() {
    let bed = Bed::new().await;
    let next = START + layout::EXTENT_BYTES;
    for offset in [0, START - 1, next + 1, u64::MAX] {
        let read = bed.read(rw(1), offset, 10).await;
        assert_eq!(read.unwrap_err(), Nfsstat3::Inval, "{offset}");
    }
    for offset in [0, START - 1, next - 4, next, u64::MAX] {
        let written = bed.write(rw(1), offset, b"hello", StableHow::Unstable).await;
        assert_eq!(written.unwrap_err(), Nfsstat3::Inval, "{offset}");
    }
    bed.write(rw(1), next - 5, b"hello", StableHow::Unstable).await.unwrap();
}

#[tokio::test]
async fn only_genuine_handles_open_anything() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, b"hello", StableHow::FileSync).await.unwrap();
    let genuine = rw(1).as_bytes().clone();
    for at in 0..genuine.len() {
        let mut forged = genuine.to_vec();
        forged[at] ^= 0x10;
        let file = Fh3::new(forged.into()).unwrap();
        // A key that is not known may be one that is used no longer.
        let expected = if at == 48 { Nfsstat3::Stale } else { Nfsstat3::Badhandle };
        assert_eq!(bed.read(file.clone(), START, 5).await.unwrap_err(), expected, "{at}");
        let written = bed.write(file, START, b"evil!", StableHow::Unstable).await;
        assert_eq!(written.unwrap_err(), expected);
    }
    for length in [0, 1, 51] {
        let file = Fh3::new(genuine.slice(..length)).unwrap();
        assert_eq!(bed.commit(file).await.unwrap_err(), Nfsstat3::Badhandle, "{length}");
    }
    assert_eq!(&bed.read(rw(1), START, 5).await.unwrap().data[..], b"hello");
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let bed = Bed::new().await;
    let reader = handle_of(EXTENT, 1, Iomode::Read, 0);
    let written = bed.write(reader.clone(), START, b"hello", StableHow::Unstable).await;
    assert_eq!(written.unwrap_err(), Nfsstat3::Acces);
    assert_eq!(bed.commit(reader.clone()).await.unwrap_err(), Nfsstat3::Acces);
    bed.read(reader, START, 5).await.unwrap();
}

#[tokio::test]
async fn a_full_server_says_so() {
    let bed = Bed::new().await;
    let block = vec![1; MIB];
    let mut refused = None;
    for mib in 0..256u64 {
        let extent = ExtentId { ino: 1 + mib / 64, index: 0 };
        let file = handle_of(extent, 1, Iomode::ReadWrite, 0);
        if let Err(status) = bed.write(file, mib % 64 * MIB as u64, &block, StableHow::Unstable).await {
            refused = Some((mib, status));
            break;
        }
    }
    let (mib, status) = refused.expect("256 MiB are more than 256 MiB less the reserve");
    assert_eq!(status, Nfsstat3::Nospc);
    assert!(150 < mib, "{mib}");
    let usage = bed.server.usage();
    let room_bytes = usage.free_bytes().saturating_sub(layout::reserve::reserve_bytes(usage.capacity_bytes));
    assert!(room_bytes < 2 * MIB as u64, "nothing more should be placed here: {room_bytes}");
    assert!(layout::reserve::reserve_bytes(usage.capacity_bytes) <= usage.free_bytes(), "{usage:?}");
    // What it has may be written over, as often as clients like.
    for round in 0..100 {
        let extent = ExtentId { ino: 1 + round % mib / 64, index: 0 };
        let file = handle_of(extent, 1, Iomode::ReadWrite, 0);
        let at = round % mib % 64 * MIB as u64;
        bed.write(file, at, &vec![round as u8; MIB], StableHow::Unstable).await.unwrap();
    }
    let file = handle_of(ExtentId { ino: 1 + mib / 64, index: 0 }, 1, Iomode::ReadWrite, 0);
    let written = bed.write(file, mib % 64 * MIB as u64, &block, StableHow::Unstable).await;
    assert_eq!(written.unwrap_err(), Nfsstat3::Nospc, "but nothing is added");
    bed.control().drop_extent(ExtentId { ino: 1, index: 0 }, layout::Epoch(2)).await.unwrap();
    bed.write(rw(1), START, &block, StableHow::Unstable).await.unwrap();
}

#[tokio::test]
async fn damage_that_no_replica_makes_good_is_an_io_error() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, &vec![0xab; MIB], StableHow::FileSync).await.unwrap();
    let path = std::path::Path::new("/ds/journal/seg-0000000000000001.wal");
    bed.disk.corrupt(path, 600 * 1024, 1);
    assert_eq!(bed.read(rw(1), START, MIB as u32).await.unwrap_err(), Nfsstat3::Io);
    assert_eq!(bed.read(rw(1), START, 4096).await.unwrap().data.len(), 4096);
    assert!(0 < bed.server.usage().bad_blocks);
    assert!(bed.metrics().contains(r#"shoal_nfs_requests_total{role="ds",op="READ",status="IO"} 1"#));
}

#[tokio::test]
async fn a_failed_journal_sends_clients_for_another_layout_and_is_full() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, b"hello", StableHow::Unstable).await.unwrap();
    bed.disk.fail_sync(0, std::io::ErrorKind::Other);
    assert_eq!(bed.commit(rw(1)).await.unwrap_err(), Nfsstat3::Stale);
    let written = bed.write(rw(1), START, b"hello", StableHow::Unstable).await;
    assert_eq!(written.unwrap_err(), Nfsstat3::Stale);
    let free_bytes = bed.server.usage().free_bytes();
    assert!(free_bytes < MIB as u64, "nothing more should be placed here: {free_bytes}");
}

#[tokio::test]
async fn the_data_path_of_the_client_crate_fits() {
    let bed = Bed::new().await;
    let path = client::DataPath::new(&bed.env);
    let data: Vec<u8> = (0..5 * MIB + 77).map(|at| (at % 253) as u8).collect();
    let route = route(&bed.server, 1);
    let written = path.write(&route, START + 10, data.clone().into(), StableHow::Unstable).await.unwrap();
    assert_eq!(written.count as usize, data.len());
    assert_eq!(path.commit(&route).await.unwrap(), written.verifier);
    bed.metadata.files_end_at(START + 10 + data.len() as u64);
    let (read, eof) = path.read(&route, START + 10, data.len() as u64 + 100).await.unwrap();
    assert!(eof && read.concat() == data);
    bed.control().fence(EXTENT, layout::Epoch(2)).await.unwrap();
    let stale = path.read(&route, START, 10).await;
    assert_eq!(stale.unwrap_err(), client::DataPathError::Stale);
    let page = bed.metrics();
    let bytes = format!(r#"shoal_data_bytes_total{{role="ds",direction="write"}} {}"#, data.len());
    assert!(page.contains(&bytes), "{page}");
}
