//! Looks for extents whose copies are not as they should be, and sets them right: backups take the
//! place of dead homes, others that of dead backups, and homes are asked to fill them.
//!
//! Runs where this node leads. Looks at all extents when servers come, go or are silent for longer,
//! and as long as something is left to do; dead homes come first.
//!
//! Spec: docs/protocol/replicate.md §4.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use layout::copies::{Copies as Set, Formers, Place, Wish, plan};
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::op::extent::CopyChange;
use mds_namespace::{ExtentRecord, op};
use mds_state::command::data::ChangeCopies;
use mds_state::limits::COPY_CHANGES_MAX;
use mds_state::{Command, Outcome};
use wire_nfs::control::Keyring;

use crate::copies::{Tally, set_of};
use crate::data_servers::from_log;
use crate::drain::{self, Draining};
use crate::limits::{COPIES_SCAN_MAX, FILLS_AT_ONCE_MAX};
use crate::server::Server;
use crate::{admin, adopt, prove};

/// Between two looks at the servers.
const ROUND_MS: u64 = 100;
/// Between two looks at all extents while something is left to do.
const AGAIN_MS: u64 = 500;
/// Between two looks at all extents when nothing seems to be left to do: new extents are counted.
const REST_MS: u64 = 5_000;

/// What a look at all extents goes by.
#[derive(Clone, Default, PartialEq, Eq)]
struct Standing {
    /// Servers, and for each whether it is up, dead, dead for long, fit for more, to be empty.
    servers: Vec<(DataServerId, [bool; 5])>,
}

/// What a look found.
#[derive(Default)]
struct Look {
    tally: Tally,
    /// Something is left to do that time alone may bring.
    unfinished: bool,
}

/// Runs for as long as the server lives.
pub(crate) async fn drive(server: Arc<Server>, keys: Keyring) {
    let (mut known, mut next_ms) = (Standing::default(), 0);
    loop {
        tokio::select! {
            () = server.copies.look.notified() => next_ms = 0,
            () = server.env.clock.sleep_ms(ROUND_MS) => {}
        }
        let Some(term) = server.shards.leading_term() else {
            known = Standing::default();
            continue;
        };
        let now_ms = server.now_ms();
        if server.data_servers.begin_to_lead(term, now_ms) {
            // Servers may have come, or moved, while another node led.
            match server.shards.view_anyway() {
                Ok(view) => {
                    let table = &server.data_servers;
                    if let Err(error) = from_log::put_known(table, &view, &server.env, &keys) {
                        tracing::error!(%error, "data servers cannot be read from the store");
                    }
                }
                Err(error) => tracing::error!(%error, "the store cannot be read"),
            }
            known = Standing::default();
        }
        let standing = standing(&server, now_ms);
        if standing == known && now_ms < next_ms {
            continue;
        }
        known = standing;
        let look = look(&server).await;
        server.metrics.set_copies(&look.tally);
        *server.copies.tally.lock() = look.tally;
        server.copies.set_counted(term);
        admin::forget_replaced(&server).await;
        next_ms = server.now_ms() + if look.unfinished { AGAIN_MS } else { REST_MS };
    }
}

fn standing(server: &Server, now_ms: u64) -> Standing {
    let draining = server.data_servers.draining();
    let one = |place: &Place| {
        let long = server.data_servers.is_dead_for_long(place.id, now_ms);
        (place.id, [place.up, place.dead, long, place.fit, draining.contains(&place.id)])
    };
    Standing { servers: server.data_servers.places(now_ms).iter().map(one).collect() }
}

/// Looks at all extents, twice if a server is dead: homes first.
async fn look(server: &Arc<Server>) -> Look {
    let now_ms = server.now_ms();
    let mut condemned = Vec::new();
    for place in server.data_servers.places(now_ms).iter().filter(|place| place.dead) {
        if server.data_servers.condemn(place.id, server.now_ms()) {
            condemned.push(place.id);
        }
    }
    if !condemned.is_empty() {
        walk(server, Pass::Homes(&condemned)).await;
    }
    let mut look = Look::default();
    let refuted = std::mem::take(&mut *server.copies.refuted.lock());
    if let Some(seen) = walk(server, Pass::Backups(&refuted)).await {
        look = seen;
    }
    // From here on whoever comes back is told what it must forget before it gets a lease.
    condemned.into_iter().for_each(|id| server.data_servers.pardon(id));
    look
}

#[derive(Clone, Copy)]
enum Pass<'a> {
    /// Gives extents whose home is one of these to a backup.
    Homes(&'a [DataServerId]),
    /// Gives extents the backups they lack, and has them filled; those whose new home has shown
    /// that it does not have what it is to serve are given to others.
    Backups(&'a BTreeSet<(ExtentId, Epoch)>),
}

/// Walks over all extents; `None` if the store cannot be read.
async fn walk(server: &Arc<Server>, pass: Pass<'_>) -> Option<Look> {
    let mut look = Look { tally: Tally { losses_survived: u64::MAX, ..Tally::default() }, unfinished: false };
    let mut draining = Draining::begin(server);
    let watched = server.data_servers.watched(server.now_ms());
    let mut left: BTreeMap<DataServerId, u64> = watched.into_iter().map(|id| (id, 0)).collect();
    let mut from = ExtentId { ino: 0, index: 0 };
    let mut fills = Vec::new();
    loop {
        let records = {
            let view = server.view().ok()?;
            op::extent::all_from(view.namespace(), from, COPIES_SCAN_MAX).ok()?
        };
        let Some(last) = records.last() else { break };
        let whole = records.len() < COPIES_SCAN_MAX;
        from = match last.extent.index.checked_add(1) {
            Some(index) => ExtentId { ino: last.extent.ino, index },
            None => ExtentId { ino: last.extent.ino.checked_add(1)?, index: 0 },
        };
        let formers = crate::copies::formers::formers_of(&server.view().ok()?, &records)?;
        let changed = change(server, pass, &mut draining, &records, &formers).await;
        look.unfinished |= !changed.is_empty();
        if matches!(pass, Pass::Backups(_)) {
            let places = server.data_servers.places(server.now_ms());
            for record in &records {
                count(server, &places, record, &mut look);
                let proving = formers.get(&record.extent).copied().unwrap_or_default();
                for id in record.servers().chain(proving.iter()) {
                    left.entry(id).and_modify(|count| *count += 1);
                }
                let is_filled = record.backups.iter().any(|backup| backup.filling);
                let is_home = proving.is_empty() && !yields(server, record);
                if is_filled && fills.len() < FILLS_AT_ONCE_MAX && is_home {
                    fills.push(record.clone());
                }
            }
        }
        if whole {
            break;
        }
        tokio::task::yield_now().await;
    }
    if look.tally.losses_survived == u64::MAX {
        look.tally.losses_survived =
            u64::from(wanted(server, &server.data_servers.places(server.now_ms()))) - 1;
    }
    join_all(fills.iter().map(|record| fill(server, record))).await;
    if matches!(pass, Pass::Backups(_)) {
        look.unfinished |= left.values().any(|count| 0 < *count);
        *server.copies.left.lock() = left;
        drain::hand_over(server, draining.hands);
    }
    Some(look)
}

/// Whether the home before is still to give way.
fn yields(server: &Server, record: &ExtentRecord) -> bool {
    let view = record.pending_work.and_then(|_| server.view().ok());
    view.is_some_and(|view| drain::is_yielding(view.namespace(), record))
}

/// As many copies as there are wished and servers to hold them: one server can hold one.
fn wanted(server: &Server, places: &[Place]) -> u32 {
    server.config.hot_copies.min(u32::try_from(places.len()).unwrap_or(u32::MAX)).max(1)
}

fn count(server: &Server, places: &[Place], record: &ExtentRecord, look: &mut Look) {
    let up = |id: DataServerId| places.iter().any(|place| place.id == id && place.up);
    let served = up(record.home);
    let whole =
        u64::from(served) + record.backups.iter().filter(|one| !one.filling && up(one.server)).count() as u64;
    let filling = record.backups.iter().any(|one| one.filling);
    let tally = &mut look.tally;
    tally.extents += 1;
    tally.degraded += u64::from(whole < u64::from(wanted(server, places)));
    tally.filling += u64::from(filling);
    tally.unserved += u64::from(!served);
    if served {
        tally.losses_survived = tally.losses_survived.min(whole - 1);
    }
    look.unfinished |= filling || record.pending_work.is_some() || whole < u64::from(wanted(server, places));
}

/// Plans for these extents, and has the log make it so. Answers what was changed.
async fn change(
    server: &Arc<Server>,
    pass: Pass<'_>,
    draining: &mut Draining,
    records: &[ExtentRecord],
    formers: &BTreeMap<ExtentId, Formers>,
) -> Vec<ExtentRecord> {
    let now_ms = server.now_ms();
    let places = server.data_servers.places(now_ms);
    let copies = usize::try_from(server.config.hot_copies).unwrap_or(1);
    let buried: Vec<Place> = places
        .iter()
        .map(|place| Place {
            dead: place.dead && server.data_servers.is_dead_for_long(place.id, now_ms),
            ..place.clone()
        })
        .collect();
    let mut planned = |record: &ExtentRecord| -> Option<Set> {
        let now = record.copies();
        let turn = record.extent.ino.wrapping_add(u64::from(record.extent.index));
        let proving = formers.get(&record.extent).copied();
        let wish = Wish { copies, formers: proving.unwrap_or_default(), ..Wish::NONE };
        match pass {
            Pass::Homes(dead) if dead.contains(&now.home) => plan(&now, &places, &wish, turn),
            Pass::Homes(_) => None,
            Pass::Backups(refuted) => {
                // Homes are not for this pass: one that is not condemned may hold a lease. It does
                // not matter where no handle of its epochs is out.
                let refuted = proving.is_some() && refuted.contains(&(record.extent, record.epoch));
                match plan(&now, &buried, &Wish { bury: true, refuted, ..wish }, turn) {
                    Some(next) => (refuted || next.home == now.home).then_some(next),
                    None if proving.is_some() => None,
                    None => draining.next(record, &places, copies, turn),
                }
            }
        }
    };
    let changes: Vec<CopyChange> = records
        .iter()
        .filter_map(|record| {
            let copies = planned(record)?;
            Some(CopyChange { extent: record.extent, epoch: record.epoch, copies })
        })
        .collect();
    let mut changed = Vec::new();
    for changes in changes.chunks(COPY_CHANGES_MAX) {
        // Who was dead in an earlier term may have got a lease of another node since.
        if server.shards.leading_term() != Some(server.data_servers.term()) {
            break;
        }
        let asked = ChangeCopies { changes: changes.to_vec() };
        match server.propose(Command::ChangeCopies(asked)).await {
            Ok(Outcome::Copies(records)) => changed.extend(records.into_iter().flatten()),
            Ok(_) | Err(_) => break,
        }
    }
    if let Pass::Homes(dead) = pass {
        changed.extend(adopt::adopt(server, dead, records).await);
        drain::wait_no_longer(server, dead, records).await;
    }
    if changed.is_empty() {
        return changed;
    }
    for record in &changed {
        let (extent, epoch, home) = (record.extent, record.epoch.0, record.home.0);
        tracing::debug!(%extent, epoch, home, backups = ?record.backups, "other servers keep an extent");
    }
    prove::begin_proofs(server, &changed);
    if let Pass::Homes(_) = pass {
        tracing::warn!(extents = changed.len(), "others have taken the place of dead homes");
        server.recall_files(changed.iter().map(|record| record.extent.ino).collect()).await;
        server.metrics.promoted(changed.len());
    }
    server.copies.changed.notify_waiters();
    server.work.wake();
    changed
}

/// Has a home fill its backups, if it is so still.
async fn fill(server: &Server, record: &ExtentRecord) {
    let now_ms = server.now_ms();
    let now = server.view().ok().and_then(|view| op::extent::extent(view.namespace(), record.extent).ok());
    if now.flatten().is_none_or(|now| (now.home, now.epoch) != (record.home, record.epoch)) {
        return;
    }
    if !server.data_servers.is_up(record.home, now_ms) {
        return;
    }
    let Some(home) = server.data_servers.one(record.home) else { return };
    if let Err(error) = home.control.keep(&set_of(record)).await {
        tracing::debug!(extent = %record.extent, home = record.home.0, %error, "a home does not fill its backups");
    }
}
