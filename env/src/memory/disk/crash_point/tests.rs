//! At the chosen operation, and nowhere else, something goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;

use super::{CrashPoint, Operation};
use crate::memory::{Crash, MemoryDisk};
use crate::{BoxFuture, Disk, File, OpenMode};

/// Whether something is not over at once.
fn hangs<T>(mut act: BoxFuture<'_, T>) -> bool {
    act.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// A file of three sectors of ones, durable.
async fn made() -> (MemoryDisk, Arc<dyn File>) {
    let disk = MemoryDisk::new();
    disk.set_turns(0, 0);
    disk.create_dir_all(Path::new("/d")).await.unwrap();
    let file = disk.open(Path::new("/d/f"), OpenMode::CREATE).await.unwrap();
    disk.sync_dir(Path::new("/d")).await.unwrap();
    write(&file, 0, 1, 1_536).await;
    file.sync_data().await.unwrap();
    (disk, file)
}

async fn write(file: &Arc<dyn File>, at: u64, byte: u8, length: usize) {
    file.write_at(vec![Bytes::from(vec![byte; length])], at).await.unwrap();
}

async fn sectors(disk: &MemoryDisk) -> Vec<u8> {
    let file = disk.open(Path::new("/d/f"), OpenMode::READ).await.unwrap();
    file.read_at(0, 1_536).await.unwrap().chunks(512).map(|sector| sector[0]).collect()
}

#[tokio::test]
async fn what_changes_a_disk_is_counted() {
    let (disk, file) = made().await;
    assert_eq!(disk.operations(), 4, "a name, its directory, a write, a sync");
    file.read_at(0, 10).await.unwrap();
    disk.open(Path::new("/d/f"), OpenMode::CREATE).await.unwrap();
    assert_eq!(disk.operations(), 4);
    file.set_len(2_000).await.unwrap();
    disk.rename(Path::new("/d/f"), Path::new("/d/g")).await.unwrap();
    disk.remove(Path::new("/d/g")).await.unwrap();
    assert_eq!((disk.operations(), disk.reached()), (7, None));
}

#[tokio::test]
async fn one_operation_fails_and_the_disk_goes_on() {
    let (disk, file) = made().await;
    disk.crash_at(5, CrashPoint::Fails);
    write(&file, 0, 2, 512).await;
    assert!(file.write_at(vec![Bytes::from_static(b"3")], 512).await.is_err());
    assert_eq!(disk.reached().unwrap().path.unwrap(), Path::new("/d/f"));
    file.sync_data().await.unwrap();
    assert!(!disk.is_off());
    disk.crash(Crash::Drop);
    assert_eq!(sectors(&disk).await, [2, 1, 1]);
}

#[tokio::test]
async fn the_power_goes_before_or_after() {
    for (point, crash, left) in [
        (CrashPoint::Before, Crash::Keep, [2, 1, 1]),
        (CrashPoint::After, Crash::Keep, [2, 3, 1]),
        (CrashPoint::After, Crash::Drop, [1, 1, 1]),
    ] {
        let (disk, file) = made().await;
        disk.crash_at(5, point);
        write(&file, 0, 2, 512).await;
        assert!(hangs(file.write_at(vec![Bytes::from(vec![3; 512])], 512)));
        assert!(disk.is_off() && disk.reached().unwrap().operation == Operation::Write);
        assert!(hangs(file.sync_data()) && hangs(file.read_at(0, 1)));
        assert!(hangs(disk.rename(Path::new("/d/f"), Path::new("/d/g"))));
        disk.crash(crash);
        assert!(!disk.is_off());
        assert_eq!(sectors(&disk).await, left, "{point:?} {crash:?}");
    }
}

#[tokio::test]
async fn a_sync_that_is_done_but_not_answered() {
    let (disk, file) = made().await;
    disk.crash_at(5, CrashPoint::After);
    write(&file, 0, 2, 512).await;
    assert!(hangs(file.sync_data()));
    disk.crash(Crash::Drop);
    assert_eq!(sectors(&disk).await, [2, 1, 1]);
}

#[tokio::test]
async fn one_write_is_lost_and_others_reach_the_disk() {
    let (disk, file) = made().await;
    disk.crash_at(5, CrashPoint::Lost);
    write(&file, 0, 2, 512).await;
    write(&file, 512, 3, 512).await;
    write(&file, 1_024, 4, 512).await;
    assert!(!disk.is_off());
    assert!(hangs(file.sync_data()));
    disk.crash(Crash::Keep);
    assert_eq!(sectors(&disk).await, [2, 1, 4]);
}

#[tokio::test]
async fn a_lost_sync_takes_what_it_was_to_cover() {
    let (disk, file) = made().await;
    disk.crash_at(6, CrashPoint::Lost);
    let other = disk.open(Path::new("/d/g"), OpenMode::CREATE).await.unwrap();
    write(&other, 0, 7, 512).await;
    // Numbers: a name 4, a write 5, the sync 6.
    assert!(hangs(other.sync_data()));
    disk.crash(Crash::Keep);
    let other = disk.open(Path::new("/d/g"), OpenMode::READ).await.unwrap();
    assert!(other.read_at(0, 512).await.unwrap().iter().all(|byte| *byte == 0));
    drop(file);
    assert_eq!(sectors(&disk).await, [1, 1, 1]);
}
