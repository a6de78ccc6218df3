//! Modification times that were set by hand while a layout for writing was out.
//!
//! QUIRK(linux): before a SETATTR of times the client flushes what it wrote, but says so with LAYOUTCOMMIT only at CLOSE. A
//! LAYOUTCOMMIT moves mtime to now; `tar` and `cp -p` would lose the time they had set. So the front remembers how many
//! changes the data servers had seen when the time was set. If they have seen no more when the commit comes, the time
//! stays. Proved by the lab's `tar`. A restart forgets: then the time moves.
//!
//! Spec: RFC 8881 §18.42.3 (time without `loca_time_modify` is the server's choice).

use std::collections::{BTreeMap, HashMap};

use layout::{DataServerId, ExtentId};
use mds_namespace::{Ino, op};
use parking_lot::Mutex;

use crate::limits::{PIN_EXTENTS_MAX, PINS_MAX};
use crate::server::Server;

/// Change counters of a file's extents, in order.
type Changes = Vec<(ExtentId, u64)>;

/// What is pinned, by client and file.
#[derive(Default)]
pub(crate) struct Pins {
    held: Mutex<HashMap<(u64, Ino), Changes>>,
}

impl Pins {
    /// The layout went back: nothing is left to commit.
    pub(crate) fn forget(&self, client: u64, ino: Ino) {
        self.held.lock().remove(&(client, ino));
    }
}

/// A client set the modification time. Pins it if the client holds a layout for writing.
pub(crate) async fn note(server: &Server, client: u64, ino: Ino) {
    let writes = match server.view().map(|view| view.layout(ino, client)) {
        Ok(Ok(layout)) => layout.is_some_and(|layout| layout.read_write),
        Ok(Err(_)) | Err(_) => false,
    };
    if !writes {
        return;
    }
    if let Some(changes) = changes(server, ino).await {
        let mut held = server.pins.held.lock();
        if held.len() < PINS_MAX {
            held.insert((client, ino), changes);
        }
    }
}

/// True if the time was set by hand and nothing was written since.
pub(crate) async fn holds(server: &Server, client: u64, ino: Ino) -> bool {
    let Some(before) = server.pins.held.lock().get(&(client, ino)).cloned() else { return false };
    let same = changes(server, ino).await.is_some_and(|now| now == before);
    if !same {
        server.pins.forget(client, ino);
    }
    same
}

/// Asks the data servers; `None` if one does not answer or the file is very large.
async fn changes(server: &Server, ino: Ino) -> Option<Changes> {
    let records = op::extent::extents(server.view().ok()?.namespace(), ino, 0, PIN_EXTENTS_MAX + 1).ok()?;
    if PIN_EXTENTS_MAX < records.len() {
        return None;
    }
    let mut by_home: BTreeMap<DataServerId, Vec<ExtentId>> = BTreeMap::new();
    for record in &records {
        by_home.entry(record.home).or_default().push(record.extent);
    }
    let mut changes = Changes::with_capacity(records.len());
    for (home, extents) in by_home {
        let sizes = server.data_servers.one(home)?.control.size(&extents).await.ok()?;
        changes.extend(extents.into_iter().zip(sizes).map(|(extent, size)| (extent, size.change)));
    }
    changes.sort_unstable();
    Some(changes)
}
