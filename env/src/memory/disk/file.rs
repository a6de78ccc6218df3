//! A handle of a file in memory.

use std::io;
use std::sync::MutexGuard;

use bytes::Bytes;

use super::ahead::Operation;
use super::memory_disk::MemoryDisk;
use super::pages::FileState;
use super::state::{DiskState, FaultOn};
use crate::{BoxFuture, File};

#[derive(Clone)]
pub(super) struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
    generation: u64,
    writable: bool,
}

impl MemoryFile {
    pub(super) fn new(disk: MemoryDisk, id: u64, generation: u64, writable: bool) -> Self {
        Self { disk, id, generation, writable }
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let state = self.disk.lock();
        if state.generation != self.generation {
            return Err(io::Error::other("this handle is from before the crash"));
        }
        Ok(state)
    }

    fn lock_writable(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        if !self.writable {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is open for reading only"));
        }
        self.lock()
    }

    async fn write(&self, data: &[Bytes], offset: u64) -> io::Result<()> {
        drop(self.lock_writable()?);
        self.disk.answers(FaultOn::Write).await;
        self.act(Operation::Write, |state| {
            state.admit(FaultOn::Write)?;
            let bytes: u64 = data.iter().map(|part| part.len() as u64).sum();
            state.counts.writes += 1;
            state.counts.write_bytes += bytes;
            state.grow(self.id, offset + bytes)?;
            let file = state.file(self.id);
            let mut at = offset;
            for part in data {
                file.write(at, part);
                at += part.len() as u64;
            }
            Ok(())
        })
        .await
    }

    async fn sync(&self) -> io::Result<()> {
        let writes = self.lock()?.file(self.id).writes();
        self.take_turns(|turns| turns.1).await;
        self.disk.answers(FaultOn::Sync).await;
        self.act(Operation::Sync, |state| {
            state.admit(FaultOn::Sync)?;
            state.counts.syncs += 1;
            state.file(self.id).sync(writes);
            Ok(())
        })
        .await
    }

    /// Carries out an operation, unless the power goes.
    async fn act<T>(
        &self,
        operation: Operation,
        act: impl FnOnce(&mut DiskState) -> io::Result<T>,
    ) -> io::Result<T> {
        let done = self.lock()?.reach(operation, Some(self.id), act);
        match done {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Lets others run, as a real write or sync does.
    async fn take_turns(&self, pick: fn((u32, u32)) -> u32) {
        let turns = pick(self.disk.lock().turns);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    async fn change(&self, change: impl FnOnce(&mut FileState)) -> io::Result<()> {
        drop(self.lock_writable()?);
        self.act(Operation::Room, |state| {
            change(state.file(self.id));
            Ok(())
        })
        .await
    }
}

impl DiskState {
    fn file(&mut self, id: u64) -> &mut FileState {
        self.files.get_mut(&id).expect("files outlive the handles of their generation")
    }

    /// Checks that a file may be `len` bytes long, and makes it so if it is shorter.
    fn grow(&mut self, id: u64, len: u64) -> io::Result<()> {
        let now = self.file(id).len();
        if len <= now {
            return Ok(());
        }
        if self.capacity_bytes.saturating_sub(self.used_bytes()) < len - now {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"));
        }
        self.file(id).set_len(len);
        Ok(())
    }
}

impl File for MemoryFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move {
            file.take_turns(|turns| turns.0).await;
            file.write(&data, offset).await
        })
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move {
            file.take_turns(|turns| turns.0).await;
            file.write(&data, offset).await?;
            file.sync().await
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        let file = self.clone();
        Box::pin(async move {
            file.disk.answers(FaultOn::Read).await;
            file.act(Operation::Look, |state| {
                state.admit(FaultOn::Read)?;
                let bytes = state.file(file.id).read(offset, len);
                state.counts.reads += 1;
                state.counts.read_bytes += bytes.len() as u64;
                Ok(bytes)
            })
            .await
        })
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move { file.sync().await })
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move {
            drop(file.lock_writable()?);
            file.act(Operation::Room, |state| {
                state.admit(FaultOn::Allocate)?;
                state.grow(file.id, offset + len)?;
                state.file(file.id).reserve(offset, len);
                Ok(())
            })
            .await
        })
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move { file.change(|state| state.set_len(len)).await })
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        let file = self.clone();
        Box::pin(async move {
            let mut state = file.lock()?;
            Ok(state.file(file.id).len())
        })
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        let file = self.clone();
        Box::pin(async move {
            let mut state = file.lock()?;
            Ok(state.file(file.id).stored_bytes())
        })
    }

    fn start_writeback(&self, _offset: u64, _len: u64) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        let file = self.clone();
        Box::pin(async move { file.change(|state| state.punch(offset, len)).await })
    }
}
