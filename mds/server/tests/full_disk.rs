//! The disk of a metadata server is nearly full for a while.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use env::disk::Capacity;
use env::{BoxFuture, Disk, File, OpenMode};
use rig::{Client, Rig};
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::{putrootfh, remove};
use wire_nfs::v4::{AttrValues, Fattr4, Nfsstat4, Op};

/// A disk that reports no free space when a test wants it.
struct Crowded {
    disk: Arc<dyn Disk>,
    is_full: AtomicBool,
}

impl Disk for Crowded {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, std::io::Result<Arc<dyn File>>> {
        self.disk.open(path, mode)
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, std::io::Result<()>> {
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, std::io::Result<()>> {
        self.disk.rename(from, to)
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, std::io::Result<Vec<String>>> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, std::io::Result<()>> {
        self.disk.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, std::io::Result<()>> {
        self.disk.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, std::io::Result<bool>> {
        self.disk.exists(path)
    }

    fn capacity(&self, _: &Path) -> BoxFuture<'static, std::io::Result<Capacity>> {
        let free_bytes = if self.is_full.load(Ordering::SeqCst) { 1 << 20 } else { 10 << 30 };
        Box::pin(std::future::ready(Ok(Capacity { total_bytes: 20 << 30, free_bytes })))
    }
}

async fn make(client: &mut Client, name: &'static str) -> Nfsstat4 {
    let mode = AttrValues { mode: Some(0o755), ..AttrValues::default() };
    let args = create::Args {
        object: ObjectType::Directory,
        name: Bytes::from_static(name.as_bytes()),
        attributes: Fattr4::from_values(&mode),
    };
    let reply = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Create, &args);
    });
    reply.await.status
}

async fn unmake(client: &mut Client, name: &'static str) -> Nfsstat4 {
    let args = remove::Args { name: Bytes::from_static(name.as_bytes()) };
    let reply = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Remove, &args);
    });
    reply.await.status
}

/// Commands that need space are refused, removals continue, and no restart is needed once there is
/// space.
#[tokio::test]
async fn a_full_metadata_disk_refuses_commands_that_need_space() {
    let mut rig = Rig::start().await;
    let disk = Arc::new(Crowded { disk: rig.env.disk.clone(), is_full: AtomicBool::new(false) });
    rig.env.disk = disk.clone();
    rig.restart().await;
    let mut client = rig.client(b"maker").await;
    assert_eq!(make(&mut client, "before").await, Nfsstat4::Ok);
    let reserve = rig.directory.path().join("mds/reserve");
    disk.is_full.store(true, Ordering::SeqCst);
    let mut tries = 0;
    while make(&mut client, "a").await == Nfsstat4::Ok {
        assert_eq!(unmake(&mut client, "a").await, Nfsstat4::Ok);
        tries += 1;
        assert!(tries < 1_000, "it never notices");
        rig.env.clock.sleep_ms(20).await;
    }
    assert_eq!(make(&mut client, "a").await, Nfsstat4::Nospc);
    assert!(rig.server.as_ref().unwrap().status().metadata_disk_low);
    assert_eq!(std::fs::metadata(&reserve).map_or(0, |file| file.len()), 0, "it was released");
    assert_eq!(unmake(&mut client, "before").await, Nfsstat4::Ok);
    disk.is_full.store(false, Ordering::SeqCst);
    let mut tries = 0;
    let made = loop {
        let status = make(&mut client, "a").await;
        if status != Nfsstat4::Nospc {
            break status;
        }
        tries += 1;
        assert!(tries < 1_000, "it never notices that there is space");
        rig.env.clock.sleep_ms(20).await;
    };
    assert_eq!(made, Nfsstat4::Ok);
    assert!(!rig.server.as_ref().unwrap().status().metadata_disk_low);
}
