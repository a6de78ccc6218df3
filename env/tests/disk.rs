//! One suite, every back end: the thread pool, the ring (skipped loudly where the kernel refuses
//! one), memory.

#![allow(clippy::unwrap_used, reason = "a test: a failed step is a failed test")]

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use env::disk::zero_fill;
use env::memory::MemoryDisk;
use env::os::{Preference, open_disk};
use env::{Disk, File, OpenMode};

/// Runs a check on each back end, in a directory of its own.
async fn on_each_disk(check: impl AsyncFn(Arc<dyn Disk>, PathBuf)) {
    for preference in [Preference::Blocking, Preference::Prompt, Preference::Uring] {
        let dir = tempfile::tempdir().unwrap();
        match open_disk("test", preference) {
            Ok((disk, _)) => check(disk, dir.path().to_path_buf()).await,
            Err(error) => {
                // Past the test harness, which would swallow it.
                let _ = writeln!(io::stderr(), "SKIPPED {preference:?}: the kernel refuses: {error}");
            }
        }
    }
    let disk = Arc::new(MemoryDisk::new());
    disk.create_dir_all(Path::new("/test")).await.unwrap();
    check(disk, PathBuf::from("/test")).await;
}

fn pattern(len: usize, seed: u8) -> Bytes {
    (0..len).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed) ^ (index >> 8) as u8).collect()
}

async fn create(disk: &Arc<dyn Disk>, dir: &Path) -> Arc<dyn File> {
    disk.open(&dir.join("file"), OpenMode::CREATE).await.unwrap()
}

#[tokio::test]
async fn writes_vectors_and_reads_back() {
    on_each_disk(async |disk, dir| {
        let file = create(&disk, &dir).await;
        let parts = vec![pattern(3, 1), Bytes::new(), pattern(5000, 2), pattern(1 << 20, 3)];
        let whole: Bytes = parts.concat().into();
        file.write_at(parts, 77).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 77 + whole.len() as u64);
        assert_eq!(file.read_at(77, whole.len()).await.unwrap(), whole);
        assert_eq!(file.read_at(80, 5000).await.unwrap(), pattern(5000, 2));
        // Short at the end, empty behind it, zeros before the first byte.
        assert_eq!(file.read_at(77 + 10, whole.len()).await.unwrap(), whole.slice(10..));
        assert_eq!(file.read_at(1 << 30, 10).await.unwrap(), Bytes::new());
        assert_eq!(file.read_at(0, 77).await.unwrap(), vec![0; 77]);
        file.sync_data().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn more_buffers_than_one_call_takes() {
    on_each_disk(async |disk, dir| {
        let file = create(&disk, &dir).await;
        let parts: Vec<Bytes> = (0..3000).map(|index| pattern(1 + index % 7, index as u8)).collect();
        let whole: Bytes = parts.concat().into();
        file.write_at(parts.clone(), 5).await.unwrap();
        assert_eq!(file.read_at(5, whole.len()).await.unwrap(), whole);
        file.write_at_and_sync(parts, 50_000).await.unwrap();
        assert_eq!(file.read_at(50_000, whole.len()).await.unwrap(), whole);
        file.write_at(Vec::new(), 0).await.unwrap();
        file.write_at_and_sync(vec![Bytes::new()], 0).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn many_at_once() {
    on_each_disk(async |disk, dir| {
        let file = create(&disk, &dir).await;
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..600_u64 {
            let file = Arc::clone(&file);
            tasks.spawn(async move {
                let data = pattern(8192, index as u8);
                file.write_at(vec![data.clone()], index * 8192).await.unwrap();
                if index % 50 == 0 {
                    file.sync_data().await.unwrap();
                }
                assert_eq!(file.read_at(index * 8192, 8192).await.unwrap(), data);
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(file.len().await.unwrap(), 600 * 8192);
    })
    .await;
}

#[tokio::test]
async fn dropped_futures_leave_nothing_broken() {
    on_each_disk(async |disk, dir| {
        let file = create(&disk, &dir).await;
        for index in 0..64_u64 {
            let write = file.write_at_and_sync(vec![pattern(1 << 16, 1)], index << 16);
            let _ = tokio::time::timeout(std::time::Duration::ZERO, write).await;
            let read = file.read_at(0, 1 << 20);
            let _ = tokio::time::timeout(std::time::Duration::ZERO, read).await;
        }
        file.write_at_and_sync(vec![pattern(100, 9)], 0).await.unwrap();
        assert_eq!(file.read_at(0, 100).await.unwrap(), pattern(100, 9));
    })
    .await;
}

#[tokio::test]
async fn names() {
    on_each_disk(async |disk, dir| {
        let inner = dir.join("a/b");
        disk.create_dir_all(&inner).await.unwrap();
        let (one, two) = (inner.join("one"), inner.join("two"));
        assert!(disk.open(&one, OpenMode::WRITE).await.is_err());
        let file = disk.open(&one, OpenMode::CREATE_NEW).await.unwrap();
        let again = disk.open(&one, OpenMode::CREATE_NEW).await.err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        file.write_at(vec![pattern(10, 0)], 0).await.unwrap();
        disk.rename(&one, &two).await.unwrap();
        disk.sync_dir(&inner).await.unwrap();
        assert!(disk.exists(&two).await.unwrap() && !disk.exists(&one).await.unwrap());
        assert_eq!(disk.list(&inner).await.unwrap(), ["two"]);
        let reader = disk.open(&two, OpenMode::READ).await.unwrap();
        assert!(reader.write_at(vec![pattern(1, 0)], 0).await.is_err());
        assert_eq!(reader.read_at(0, 10).await.unwrap(), pattern(10, 0));
        disk.remove(&two).await.unwrap();
        assert_eq!(disk.remove(&two).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(file.read_at(0, 10).await.unwrap(), pattern(10, 0));
        assert!(disk.capacity(&dir).await.unwrap().free_bytes > 0);
    })
    .await;
}

#[tokio::test]
async fn room() {
    on_each_disk(async |disk, dir| {
        let file = create(&disk, &dir).await;
        file.allocate(0, 1 << 20).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20);
        file.write_at(vec![pattern(1 << 20, 7)], 0).await.unwrap();
        file.start_writeback(0, 1 << 20).await.unwrap();
        zero_fill(&*file, 4096, 8192).await.unwrap();
        assert_eq!(file.read_at(4096, 8192).await.unwrap(), vec![0; 8192]);
        assert_eq!(file.read_at(0, 4096).await.unwrap(), pattern(4096, 7));
        file.punch(1 << 19, 1 << 19).await.unwrap();
        assert_eq!(file.read_at(1 << 19, 4096).await.unwrap(), vec![0; 4096]);
        assert_eq!(file.len().await.unwrap(), 1 << 20);
        file.set_len(10).await.unwrap();
        assert_eq!(file.read_at(0, 100).await.unwrap(), pattern(10, 7));
    })
    .await;
}

/// Room that is reserved counts before anything is written there, and no longer when it was given
/// back.
#[tokio::test]
async fn stored_bytes_are_those_of_the_room_taken() {
    on_each_disk(async |disk, dir| {
        let file = create(&disk, &dir).await;
        // A file system may take a few blocks of its own.
        let stores = async |bytes: u64| {
            let stored = file.stored_bytes().await.unwrap();
            assert!((bytes..=bytes + (64 << 10)).contains(&stored), "{stored} for {bytes}");
        };
        stores(0).await;
        file.allocate(0, 4 << 20).await.unwrap();
        stores(4 << 20).await;
        file.write_at(vec![pattern(1 << 20, 7)], 0).await.unwrap();
        stores(4 << 20).await;
        file.punch(1 << 20, 3 << 20).await.unwrap();
        stores(1 << 20).await;
        assert_eq!(file.len().await.unwrap(), 4 << 20);
        file.allocate(2 << 20, 2 << 20).await.unwrap();
        stores(3 << 20).await;
        file.set_len(1 << 19).await.unwrap();
        stores(1 << 19).await;
    })
    .await;
}
