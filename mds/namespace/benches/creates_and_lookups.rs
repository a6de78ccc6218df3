//! Creates and lookups per second on the store on disk, one thread: `cargo bench -p mds-namespace`.
//!
//! Commits have memory durability, as below a log, with a checkpoint at the end of each run.
#![allow(clippy::unwrap_used, reason = "a failed step ends the bench")]
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]
#![allow(clippy::cast_precision_loss, reason = "rates are printed, not kept")]

use std::time::Instant;

use mds_namespace::limits::DISK_CACHE_BYTES_DEFAULT;
use mds_namespace::op::create::{NewObject, create};
use mds_namespace::op::format::{Root, format};
use mds_namespace::op::lookup::lookup;
use mds_namespace::op::readdir::{PageLimit, readdir, readdir_with_inodes};
use mds_namespace::store::disk::DiskStore;
use mds_namespace::{
    Caller, Durability, Ino, Kind, MetaStore, ROOT_INO, SetAttributes, Superblock, Timestamp, inode_table,
};

const FILES: u64 = 100_000;
const FILES_PER_DIRECTORY: u64 = 1000;

fn rate(what: &str, count: u64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what:<44} {:>10.0} /s {:>8.2} us", count as f64 / seconds, seconds * 1e6 / count as f64);
}

fn name(file: u64) -> Vec<u8> {
    format!("file{file:08}").into_bytes()
}

/// Makes the directories, then fills them, `batch` creates a commit; returns the directories.
fn fill(store: &DiskStore, caller: &Caller, batch: u64) -> Vec<Ino> {
    let attributes = SetAttributes { mode: Some(0o755), ..SetAttributes::default() };
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let new = |kind| NewObject { kind, symlink_target: b"", attributes: &attributes, verifier: None };
    let mut txn = store.begin().unwrap();
    let directories: Vec<Ino> = (0..FILES / FILES_PER_DIRECTORY)
        .map(|directory| {
            let made = create(&mut *txn, caller, ROOT_INO, &name(directory), &new(Kind::Directory), now);
            made.unwrap().inode.ino
        })
        .collect();
    txn.commit(Durability::Memory).unwrap();
    let started = Instant::now();
    for first in (0..FILES).step_by(usize::try_from(batch).unwrap()) {
        let mut txn = store.begin().unwrap();
        for file in first..FILES.min(first + batch) {
            let directory = directories[usize::try_from(file / FILES_PER_DIRECTORY).unwrap()];
            create(&mut *txn, caller, directory, &name(file), &new(Kind::Regular), now).unwrap();
        }
        txn.commit(Durability::Memory).unwrap();
    }
    rate(&format!("create, {batch} a commit"), FILES, started);
    let started = Instant::now();
    store.checkpoint().unwrap();
    rate("checkpoint", 1, started);
    directories
}

fn read(store: &DiskStore, caller: &Caller, directories: &[Ino]) {
    // A walk over all files in another order than that of their creation.
    let order = (0..FILES).map(|turn| turn * 7919 % FILES);
    let place = |file: u64| directories[usize::try_from(file / FILES_PER_DIRECTORY).unwrap()];
    let started = Instant::now();
    for file in order.clone() {
        let view = store.view().unwrap();
        lookup(&*view, caller, place(file), &name(file)).unwrap();
    }
    rate("lookup, a view each", FILES, started);
    let view = store.view().unwrap();
    let started = Instant::now();
    let inos: Vec<Ino> =
        order.map(|file| lookup(&*view, caller, place(file), &name(file)).unwrap().ino).collect();
    rate("lookup, one view", FILES, started);
    let started = Instant::now();
    for &ino in &inos {
        inode_table::inode(&*view, ino).unwrap();
    }
    rate("inode, one view", FILES, started);
    let limit = PageLimit { entries_max: 4096, bytes_max: 1 << 20, entry_overhead_bytes: 24 };
    let started = Instant::now();
    let listed: usize =
        directories.iter().map(|&at| readdir(&*view, caller, at, 0, &limit).unwrap().entries.len()).sum();
    rate("entry listed", listed as u64, started);
    let started = Instant::now();
    let listed: usize = directories
        .iter()
        .map(|&at| readdir_with_inodes(&*view, caller, at, 0, &limit).unwrap().entries.len())
        .sum();
    rate("entry listed with its inode", listed as u64, started);
}

fn main() {
    let caller = Caller { uid: 1000, gid: 1000, gids: vec![4, 20, 24] };
    let dir = tempfile::tempdir().unwrap();
    for batch in [1, 64, 1024] {
        let path = dir.path().join(format!("batch{batch}"));
        let store = DiskStore::open(&path, DISK_CACHE_BYTES_DEFAULT).unwrap();
        let mut txn = store.begin().unwrap();
        let superblock = Superblock { file_system: [1; 16], handle_key: [2; 32], cookie_key: [3; 32] };
        let root = Root { uid: 1000, gid: 1000, mode: 0o755 };
        format(&mut *txn, &superblock, root, Timestamp::default()).unwrap();
        txn.commit(Durability::Memory).unwrap();
        let directories = fill(&store, &caller, batch);
        if batch == 64 {
            read(&store, &caller, &directories);
        }
        println!("{:<44} {:>10} bytes", "on disk", store.bytes_on_disk());
    }
}
