//! Facts by which data servers judge handles: whether layouts are still held (HELD), which hosts
//! exports admit (ADMITTED), and the clock of handles.
//!
//! A layout counts as held while the log has it, its client has the file open, and the client's
//! lease has not run out. A client that keeps to the protocol does no I/O otherwise. The log
//! outlives every leader, so a new leader answers no query wrongly.
//!
//! INVARIANT: while a client holds a layout that it may use, no leader answers that it is gone.
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §7, §8.

use std::collections::BTreeSet;

use layout::{Issued, LayoutRecord};
use mds_namespace::Ino;
use wire_nfs::control::Refusal;
use wire_nfs::control::handles::{Admitted, AdmittedBy, AskHeld, Held, HolderName};

use crate::flexfile::low_half;
use crate::seal::answer::in_force;
use crate::server::Server;

impl Server {
    /// The clock of handles: the cluster's time, on which nodes agree, so that a new leader's is
    /// about the same.
    pub(crate) fn handle_clock_ms(&self) -> u64 {
        self.env.clock.wall_ms()
    }

    /// The issue time of a handle made now.
    pub(crate) fn issued(&self) -> Issued {
        Issued::at_ms(self.handle_clock_ms())
    }
}

/// Handles HELD: a data server queries whether layouts are held.
///
/// # Errors
/// `NotLeader`; `Busy` while that is unknown.
pub(crate) async fn held(server: &Server, ask: &AskHeld) -> Result<Held, Refusal> {
    in_force(server).await?;
    let mut order: Vec<usize> = (0..ask.holders.len()).collect();
    // Names of the same file are grouped: each file is read once.
    order.sort_unstable_by_key(|place| ask.holders[*place].ino);
    let mut held = vec![false; ask.holders.len()];
    let mut file: Option<(Ino, Vec<(u64, LayoutRecord)>)> = None;
    for place in order {
        let name = &ask.holders[place];
        let layouts = match file.take() {
            Some((ino, layouts)) if ino == name.ino => layouts,
            _ => in_use(server, name.ino)?,
        };
        held[place] = layouts.iter().any(|(client, layout)| is_of(name, *client, layout));
        file = Some((name.ino, layouts));
    }
    Ok(Held { held })
}

/// Layouts of a file that clients may use.
fn in_use(server: &Server, ino: Ino) -> Result<Vec<(u64, LayoutRecord)>, Refusal> {
    let view = server.view().map_err(|_| Refusal::Busy)?;
    let mut layouts = view.layouts_of(ino).map_err(|_| Refusal::Busy)?;
    if layouts.is_empty() {
        return Ok(layouts);
    }
    let opens = view.opens_of(ino).map_err(|_| Refusal::Busy)?;
    drop(view);
    let openers: BTreeSet<u64> = opens.iter().map(|open| open.client).collect();
    layouts.retain(|(client, _)| openers.contains(client) && !server.courtesy.has(*client));
    Ok(layouts)
}

/// Whether a handle with this name was made for this layout.
fn is_of(name: &HolderName, client: u64, layout: &LayoutRecord) -> bool {
    let grant = name.tag ^ low_half(client);
    if name.writes {
        layout.read_write && (1..=layout.seqid).contains(&grant)
    } else {
        layout.read && grant == 0
    }
}

/// Handles ADMITTED: a data server queries which hosts exports admit.
///
/// # Errors
/// `NotLeader`.
pub(crate) fn admitted(server: &Server) -> Result<Admitted, Refusal> {
    server.check_leading()?;
    let exports = server.exports();
    let admitted = exports.iter().map(|(id, export)| AdmittedBy {
        export: u32::from(id.0),
        networks: export.clients.iter().map(ToString::to_string).collect(),
    });
    Ok(Admitted { version: exports.version(), exports: admitted.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: u64 = 0x1111_1111_dead_0000;

    fn record(seqid: u32, read: bool, read_write: bool) -> LayoutRecord {
        LayoutRecord { other: [1; 12], seqid, read, read_write, recall_seqid: None }
    }

    fn is_held(writes: bool, tag: u32, layout: &LayoutRecord) -> bool {
        is_of(&HolderName { ino: 7, tag, writes }, CLIENT, layout)
    }

    #[test]
    fn a_handle_is_of_the_part_and_the_grant_that_it_was_made_for() {
        let both = record(3, true, true);
        assert!(is_held(false, 0xdead_0000, &both) && !is_held(true, 0xdead_0000, &both));
        for grant in 1..=3 {
            assert!(is_held(true, 0xdead_0000 ^ grant, &both), "grant {grant}");
        }
        assert!(!is_held(true, 0xdead_0000 ^ 4, &both), "it was never made");
        assert!(!is_held(false, 0xdead_0001, &both), "another client's");
        let (reading, writing) = (record(3, true, false), record(3, false, true));
        assert!(!is_held(true, 0xdead_0001, &reading), "that part was returned");
        assert!(!is_held(false, 0xdead_0000, &writing));
    }
}
