//! The door for all I/O of a data server: what goes through it is in the [`Table`] from its first
//! poll until it is answered.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::disk::Capacity;
use env::{BoxFuture, Disk, File, OpenMode};

use super::table::{Kind, Table};

/// A disk whose I/O is watched.
pub(crate) struct WatchedDisk {
    disk: Arc<dyn Disk>,
    table: Arc<Table>,
}

struct WatchedFile {
    file: Arc<dyn File>,
    table: Arc<Table>,
}

impl WatchedDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, table: Arc<Table>) -> Self {
        Self { disk, table }
    }
}

fn watched<T: 'static>(
    table: &Arc<Table>,
    kind: Kind,
    work: BoxFuture<'static, io::Result<T>>,
) -> BoxFuture<'static, io::Result<T>> {
    let table = Arc::clone(table);
    Box::pin(async move {
        let _under_way = table.begin(kind);
        work.await
    })
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let opened = watched(&self.table, Kind::Names, self.disk.open(path, mode));
        let table = Arc::clone(&self.table);
        Box::pin(async move {
            let file = opened.await?;
            Ok(Arc::new(WatchedFile { file, table }) as Arc<dyn File>)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Names, self.disk.remove(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Names, self.disk.rename(from, to))
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        watched(&self.table, Kind::Names, self.disk.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Names, self.disk.create_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Flush, self.disk.sync_dir(dir))
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        watched(&self.table, Kind::Names, self.disk.exists(path))
    }

    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        watched(&self.table, Kind::Names, self.disk.capacity(dir))
    }
}

impl File for WatchedFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Write, self.file.write_at(data, offset))
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, at: u64) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Write, self.file.write_at_and_sync(data, at))
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        watched(&self.table, Kind::Read, self.file.read_at(offset, len))
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Flush, self.file.sync_data())
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Room, self.file.allocate(offset, len))
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Room, self.file.set_len(len))
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        watched(&self.table, Kind::Names, self.file.len())
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        watched(&self.table, Kind::Names, self.file.stored_bytes())
    }

    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Write, self.file.start_writeback(offset, len))
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        watched(&self.table, Kind::Room, self.file.punch(offset, len))
    }
}
