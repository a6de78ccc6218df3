//! Updates access times of files, directories and symbolic links, by the rules of relatime
//! (`mds_namespace::op::access_time`).
//!
//! Data servers serve the bytes and do not report reads. The metadata server counts as a read: a
//! layout granted for reading, a READ in band, the first READDIR of a listing, a READLINK, and an
//! OPEN for reading by a client that has kept its layout. No reply waits for the log entry.
//!
//! INVARIANT: one entry at most is in flight for an object, however many clients read it. Once
//! applied, it makes further ones needless.

mod under_way;

use std::sync::Arc;

use mds_namespace::op::access_time;
use mds_namespace::{Inode, Timestamp};
use mds_state::Command;
use mds_state::command::namespace::Accessed;

use crate::context::Context;
use crate::handle::FileHandle;
use crate::server::Server;

pub(crate) use under_way::Accesses;

impl Context {
    /// Records that an object was read, or may be from now on; `inode` is as clients see it.
    pub(crate) fn note_access(&self, handle: FileHandle, inode: &Inode) {
        if self.moves_access_time(handle, inode) {
            let (server, ino, seen) = (Arc::clone(&self.server), inode.ino, inode.atime);
            if server.accesses.begin_entry(ino) {
                tokio::spawn(note(server, Accessed { ino, seen }));
            }
        }
    }

    /// Records an OPEN for reading: a client that kept its layout reads through it without another
    /// request.
    pub(crate) fn note_open(&self, handle: FileHandle, inode: &Inode) {
        let Some(session) = self.session.filter(|_| self.moves_access_time(handle, inode)) else { return };
        let layouts = self.view().map(|view| view.layouts_of(inode.ino));
        let Ok(Ok(layouts)) = layouts else { return };
        if layouts.iter().any(|(client, _)| *client == session.client) {
            self.note_access(handle, inode);
        }
    }

    fn moves_access_time(&self, handle: FileHandle, inode: &Inode) -> bool {
        let now = Timestamp::from_unix_ns(self.server.env.clock.wall_ns());
        let is_due = || access_time::is_due(inode.atime, inode.changed_at(), now);
        let is_kept = self.server.config.relatime && is_due();
        is_kept && self.export(handle).ok().flatten().is_some_and(|export| !export.read_only)
    }
}

async fn note(server: Arc<Server>, accessed: Accessed) {
    let ino = accessed.ino;
    match server.shards.propose_unhurried(None, Command::Accessed(accessed)).await {
        Ok(_) => {}
        Err(error) => tracing::debug!(ino, %error, "access time not noted"),
    }
    server.accesses.end(ino);
}
