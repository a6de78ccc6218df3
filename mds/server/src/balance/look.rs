//! Scans all groups and extents, and passes each to the decision.
//!
//! Spec: docs/protocol/admin.md §6.

use std::collections::{BTreeMap, BTreeSet};

use layout::balance::{Balance, Holding, Piece};
use layout::copies::{COPIES_MAX, surplus};
use layout::ec::{Group, GroupId};
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::{CopyChange, all_from, extent};
use mds_namespace::op::seal::{groups_from, living, may_move};
use mds_namespace::sealed::{self, ExtentImage};
use mds_namespace::{ExtentRecord, FsError, View};

use super::holders::holders;
use super::memory::{ImageMove, Plan, SetMove};
use crate::limits::{BALANCE_PLAN_MAX, COPIES_SCAN_MAX, GROUPS_SCAN_MAX};
use crate::seal::group_bytes;
use crate::server::Server;

/// Plans the moves that should begin; `None` if the store cannot be read. `begun`: a smaller
/// difference is reason enough.
pub(super) async fn scan_all(server: &Server, begun: bool) -> Option<Plan> {
    let mut images: BTreeMap<DataServerId, u64> = BTreeMap::new();
    walk(server, |_, group| {
        group_bytes::hold(group, &mut images);
        Ok(())
    })
    .await?;
    let mut balance = Balance::new(holders(&server.data_servers, &images, server.now_ms()), begun);
    let mut plan = Plan::default();
    walk(server, |view, group| consider(server, view, group, balance.as_mut(), &mut plan)).await?;
    extents(server, balance.as_mut(), &mut plan).await?;
    Some(plan)
}

/// Passes all groups to `show`.
async fn walk(server: &Server, mut show: impl FnMut(&dyn View, &Group) -> Result<(), FsError>) -> Option<()> {
    let mut from = GroupId(0);
    loop {
        {
            let view = server.view().ok()?;
            let groups = groups_from(view.namespace(), from, GROUPS_SCAN_MAX).ok()?;
            groups.iter().try_for_each(|group| show(view.namespace(), group)).ok()?;
            match groups.last() {
                Some(last) if groups.len() == GROUPS_SCAN_MAX => {
                    from = GroupId(last.shape().group().0 + 1);
                }
                Some(_) | None => return Some(()),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Adds the moves of one group to the plan: one image, and homes to their images.
fn consider(
    server: &Server,
    view: &dyn View,
    group: &Group,
    balance: Option<&mut Balance>,
    plan: &mut Plan,
) -> Result<(), FsError> {
    let alive = living(view, group)?;
    let id = group.shape().group();
    let mut moving = None;
    if let Some(balance) =
        balance.filter(|_| !(server.config.seal && group_bytes::is_half_dead(group, &alive)))
    {
        let mut slots = Vec::new();
        let mut pieces = Vec::new();
        for (slot, home) in group.homes().iter().enumerate() {
            let Some(on) = *home else { continue };
            slots.push(slot);
            let bytes = group.shape().file_bytes(slot);
            pieces.push(Piece { on, bytes, moves: may_move(view, group, &alive, slot)? });
        }
        let together = group.shape().profile().losses_tolerated();
        if let Some(one) = balance.step(&Holding { pieces: &pieces, together }) {
            let slot = slots[one.piece];
            moving = Some(slot);
            plan.count((one.from, one.to), one.bytes, 1);
            if plan.images.len() < BALANCE_PLAN_MAX {
                let (from, to, bytes) = (one.from, one.to, one.bytes);
                plan.images.push_back(ImageMove { group: id, slot, from, to, bytes });
            }
        }
    }
    for (slot, image) in alive.iter().filter(|(slot, _)| moving != Some(*slot)) {
        if BALANCE_PLAN_MAX <= plan.sets.len() {
            break;
        }
        plan.sets.extend(home_to_image(server, view, group, (*slot, image))?);
    }
    Ok(())
}

/// Moves the home of an extent at rest to the server of its image.
fn home_to_image(
    server: &Server,
    view: &dyn View,
    group: &Group,
    (slot, image): (usize, &ExtentImage),
) -> Result<Option<SetMove>, FsError> {
    let Some(member) = group.shape().members()[slot] else { return Ok(None) };
    let Some(record) = extent(view, member.extent)?.filter(|record| record.pending_work.is_none()) else {
        return Ok(None);
    };
    let rests = sealed::images(view, member.extent)?.at_rest().is_some_and(|one| one.image == image.image);
    let slots = 0..group.shape().slots();
    let has = slots.filter(|slot| group.shape().image(*slot).is_some_and(|(one, _)| one == image.image));
    let holders: BTreeSet<DataServerId> = has.filter_map(|slot| group.homes()[slot]).collect();
    let away = rests && !holders.contains(&record.home) && !server.balancing.moves(record.extent);
    let Some(to) = group.homes()[slot].filter(|to| away && is_fit(server, *to)) else { return Ok(None) };
    Ok(Some(SetMove { extent: record.extent, from: record.home, to, bytes: 0 }))
}

/// The home that should follow an image that has just moved.
pub(super) fn follow(server: &Server, id: GroupId, slot: usize) -> Option<SetMove> {
    let view = server.view().ok()?;
    let group = sealed::group(view.namespace(), id).ok()??;
    let alive = living(view.namespace(), &group).ok()?;
    let (_, image) = alive.iter().find(|(living, _)| *living == slot)?;
    home_to_image(server, view.namespace(), &group, (slot, image)).ok()?
}

fn is_fit(server: &Server, id: DataServerId) -> bool {
    let places = server.data_servers.places(server.now_ms());
    places.iter().any(|place| place.id == id && place.fit)
}

/// Adds the moves of extents without an image, and copies beyond the wanted number.
async fn extents(server: &Server, mut balance: Option<&mut Balance>, plan: &mut Plan) -> Option<()> {
    let homes: BTreeSet<ExtentId> = plan.sets.iter().map(|one| one.extent).collect();
    let mut from = ExtentId { ino: 0, index: 0 };
    loop {
        let (records, hot) = {
            let view = server.view().ok()?;
            let records = all_from(view.namespace(), from, COPIES_SCAN_MAX).ok()?;
            let mut hot = Vec::new();
            if let Some(balance) = balance.as_deref().filter(|_| !server.config.seal) {
                let of = |record: &&ExtentRecord| {
                    record.servers().any(|id| balance.gives(id)) && is_hot(server, view.namespace(), record)
                };
                hot.extend(records.iter().filter(of).cloned());
            }
            (records, hot)
        };
        let places = server.data_servers.places(server.now_ms());
        let copies = usize::try_from(server.config.hot_copies).unwrap_or(1);
        for record in records.iter().filter(|record| !homes.contains(&record.extent)) {
            let rests = record.pending_work.is_none() && !server.balancing.moves(record.extent);
            let next = if rests { surplus(&record.copies(), &places, copies) } else { None };
            if let Some(copies) = next.filter(|_| plan.surplus.len() < BALANCE_PLAN_MAX) {
                plan.surplus.push(CopyChange { extent: record.extent, epoch: record.epoch, copies });
            }
        }
        if let Some(balance) = balance.as_deref_mut().filter(|_| !hot.is_empty()) {
            weigh(server, &hot, balance, plan).await;
        }
        let Some(last) = records.last().filter(|_| records.len() == COPIES_SCAN_MAX) else { return Some(()) };
        from = match last.extent.index.checked_add(1) {
            Some(index) => ExtentId { ino: last.extent.ino, index },
            None => ExtentId { ino: last.extent.ino.checked_add(1)?, index: 0 },
        };
        tokio::task::yield_now().await;
    }
}

/// Whether a copy of an extent may move for its bytes: it has no image, no work is under way with
/// it, and no client writes.
fn is_hot(server: &Server, view: &dyn View, record: &ExtentRecord) -> bool {
    let well = record.pending_work.is_none()
        && record.backups.iter().all(|backup| !backup.filling)
        && 1 + record.backups.len() < COPIES_MAX
        && !server.balancing.moves(record.extent);
    let written = || {
        let held = server.view().ok().and_then(|view| view.layouts_of(record.extent.ino).ok());
        held.is_none_or(|held| held.iter().any(|(_, layout)| layout.read_write))
    };
    well && sealed::images(view, record.extent).is_ok_and(|of| of.images.is_empty()) && !written()
}

/// Queries the homes of these extents for their sizes, and passes each to the decision.
async fn weigh(server: &Server, hot: &[ExtentRecord], balance: &mut Balance, plan: &mut Plan) {
    let mut by_home: BTreeMap<DataServerId, Vec<&ExtentRecord>> = BTreeMap::new();
    for record in hot {
        by_home.entry(record.home).or_default().push(record);
    }
    for (home, records) in by_home {
        let Some(known) = server.data_servers.one(home) else { continue };
        let asked: Vec<ExtentId> = records.iter().map(|record| record.extent).collect();
        let sizes = match known.control.size(&asked).await {
            Ok(sizes) => sizes,
            Err(error) => {
                tracing::debug!(server = home.0, %error, "a home does not tell how large its extents are");
                continue;
            }
        };
        for (record, size) in records.iter().zip(sizes) {
            let bytes = u64::from(size.held_bytes);
            let pieces: Vec<Piece> = record.servers().map(|on| Piece { on, bytes, moves: true }).collect();
            let Some(one) = balance.step(&Holding { pieces: &pieces, together: 1 }) else { continue };
            plan.count((one.from, one.to), bytes, 0);
            if plan.sets.len() < BALANCE_PLAN_MAX {
                plan.sets.push_back(SetMove { extent: record.extent, from: one.from, to: one.to, bytes });
            }
        }
    }
}
