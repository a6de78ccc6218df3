//! Writeback of a Linux host: what is dirty is written, what was written unstable is committed.
//!
//! QUIRK(linux): `nfs_wb_all`, which close(2), fdatasync(2) and `nfs_setattr` call, commits and
//! sends no LAYOUTCOMMIT.

use std::sync::Arc;

use super::host::{Host, Inode};
use super::pnfs::Through;

/// Rounds after which an application is told that its bytes could not be written.
const ROUNDS_MAX: u32 = 200;

impl Host {
    /// Writes everything that is dirty, and waits for the answers. False if something could not be
    /// written: then it is forgotten, as the kernel does, and the file is in doubt.
    pub(crate) async fn flush(self: &Arc<Self>, inode: &Inode) -> bool {
        for _ in 0..ROUNDS_MAX {
            // Another process may be writing this one's bytes: its WRITE is waited for, however
            // long it takes.
            while inode.cache.lock().first_dirty(0).is_none() && inode.cache.lock().is_writing() {
                self.sleep_ms(1).await;
            }
            let Some(offset) = inode.cache.lock().first_dirty(0) else { return true };
            let wrote = match self.layout(inode, offset, 1, true).await {
                Through::Layout => {
                    self.write_layout(inode, offset).await;
                    true
                }
                Through::Band => self.write_band(inode, offset).await,
                Through::Nothing => false,
            };
            if !wrote {
                break;
            }
        }
        self.doubt(inode, "bytes could not be written");
        inode.cache.lock().truncate(0);
        false
    }

    /// Commits what data servers may forget. Says whether something has to be written again.
    pub(crate) async fn commit(&self, inode: &Inode) -> bool {
        let mut again = false;
        let uncommitted = inode.cache.lock().uncommitted();
        for what in uncommitted {
            again |= self.commit_at(inode, &what).await;
        }
        again
    }

    /// `nfs_wb_all`.
    pub(crate) async fn write_back(self: &Arc<Self>, inode: &Inode) -> bool {
        for _ in 0..ROUNDS_MAX {
            if !self.flush(inode).await {
                return false;
            }
            if !self.commit(inode).await {
                return true;
            }
        }
        false
    }

    /// fsync(2).
    pub(crate) async fn fsync(self: &Arc<Self>, inode: &Inode) -> bool {
        let written = self.write_back(inode).await;
        self.layoutcommit(inode).await;
        written
    }
}
