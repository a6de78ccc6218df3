//! The memory disk keeps its promises about crashes and faults.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::{Crash, MemoryDisk};
use crate::{Disk, File, OpenMode};

async fn made(disk: &MemoryDisk) -> std::sync::Arc<dyn File> {
    disk.create_dir_all(Path::new("/d")).await.unwrap();
    let file = disk.open(Path::new("/d/f"), OpenMode::CREATE).await.unwrap();
    disk.sync_dir(Path::new("/d")).await.unwrap();
    file
}

fn bytes(value: u8, len: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![value; len])]
}

#[tokio::test]
async fn synced_survives_and_unsynced_does_not() {
    let disk = MemoryDisk::new();
    let file = made(&disk).await;
    file.write_at(bytes(1, 5000), 100).await.unwrap();
    file.sync_data().await.unwrap();
    file.write_at(bytes(2, 600), 4000).await.unwrap();
    disk.crash(Crash::Drop);
    assert!(file.read_at(0, 1).await.is_err());
    let file = disk.open(Path::new("/d/f"), OpenMode::WRITE).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 5100);
    let all = file.read_at(0, 9000).await.unwrap();
    assert!(all[..100].iter().all(|byte| *byte == 0) && all[100..].iter().all(|byte| *byte == 1));
    assert_eq!(all.len(), 5100);
}

#[tokio::test]
async fn tears_at_sectors_from_the_seed() {
    let mut images = Vec::new();
    for seed in [3, 3, 4] {
        let disk = MemoryDisk::new();
        let file = made(&disk).await;
        file.allocate(0, 64 * 512).await.unwrap();
        file.sync_data().await.unwrap();
        file.write_at(bytes(9, 64 * 512), 0).await.unwrap();
        disk.crash(Crash::Tear { seed });
        let file = disk.open(Path::new("/d/f"), OpenMode::READ).await.unwrap();
        let image = file.read_at(0, 64 * 512).await.unwrap();
        assert!(image.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(image.contains(&9) && image.contains(&0));
        images.push(image);
    }
    assert_eq!(images[0], images[1]);
    assert_ne!(images[0], images[2]);
}

#[tokio::test]
async fn unsynced_names_are_undone() {
    let disk = MemoryDisk::new();
    made(&disk).await.write_at_and_sync(bytes(1, 10), 0).await.unwrap();
    disk.rename(Path::new("/d/f"), Path::new("/d/g")).await.unwrap();
    disk.open(Path::new("/d/h"), OpenMode::CREATE_NEW).await.unwrap();
    assert_eq!(disk.list(Path::new("/d")).await.unwrap(), ["g", "h"]);
    disk.crash(Crash::Drop);
    assert_eq!(disk.list(Path::new("/d")).await.unwrap(), ["f"]);
    let file = disk.open(Path::new("/d/f"), OpenMode::READ).await.unwrap();
    assert_eq!(file.read_at(0, 20).await.unwrap().len(), 10);
}

#[tokio::test]
async fn faults_hit_the_call_they_are_set_for() {
    let disk = MemoryDisk::with_capacity(1000);
    let file = made(&disk).await;
    disk.fail_write(1, io::ErrorKind::TimedOut);
    file.write_at(bytes(1, 10), 0).await.unwrap();
    assert_eq!(file.write_at(bytes(1, 10), 0).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    file.write_at(bytes(1, 10), 0).await.unwrap();
    let full = file.write_at(bytes(1, 10), 991).await.unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    disk.cut_power_after(1);
    file.write_at(bytes(1, 10), 0).await.unwrap();
    assert!(file.sync_data().await.is_err());
    assert!(file.write_at(bytes(1, 10), 0).await.is_err());
}
