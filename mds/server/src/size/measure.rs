//! Queries the primaries of unsettled files for their extents, in parallel, and checks that the log
//! did not change meanwhile.
//!
//! A primary is queried with or without a lease: its answer counts as long as the log names it as
//! the primary. If it does not answer, the client has to wait until a replica has replaced it or
//! all copies are given up as lost; then only the log's knowledge remains.
//!
//! Spec: docs/protocol/sizes.md §3; docs/protocol/control.md §4.

use std::collections::BTreeMap;

use client::control::ControlError;
use futures_util::future::join_all;
use layout::{DataServerId, ExtentId};
use mds_namespace::{ExtentRecord, Granted, Ino, Seen, WorkItem, op, unsettled};
use mds_state::StateView;
use wire_nfs::control::extent::ExtentSize;
use wire_nfs::control::limits::SIZE_EXTENTS_MAX;
use wire_nfs::v4::Nfsstat4;

use super::derive::{Extent, Measured, Told};
use crate::limits::{MEASURE_ATTEMPTS_MAX, MEASURE_MS_MAX};
use crate::server::Server;
use crate::{status, work};

/// One file in the log, with the records of its granted extents.
struct Plan {
    measured: Measured,
    /// In the order of `measured.extents`.
    records: Vec<ExtentRecord>,
}

/// Measures a file; `None` if its size is settled.
///
/// # Errors
/// As [`measure_all`]; STALE if it is gone.
pub(crate) async fn measure(server: &Server, ino: Ino) -> Result<Option<Measured>, Nfsstat4> {
    Ok(measure_all(server, &[ino]).await?.pop())
}

/// Measures the unsettled ones among some files.
///
/// # Errors
/// DELAY while a primary does not answer, or if the files change faster than they are measured;
/// STALE if one is gone.
pub(crate) async fn measure_all(server: &Server, files: &[Ino]) -> Result<Vec<Measured>, Nfsstat4> {
    for _ in 0..MEASURE_ATTEMPTS_MAX {
        let (mut plans, work) = plan(&server.view()?, files)?;
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        if !work.is_empty() {
            // Bytes about to be cut must not be counted.
            work::settle(server, work).await?;
            continue;
        }
        query_primaries(server, &mut plans).await?;
        if is_current(&server.view()?, &plans)? {
            return Ok(plans.into_iter().map(|plan| plan.measured).collect());
        }
    }
    Err(Nfsstat4::Delay)
}

/// Work items, by number.
type Items = Vec<(u64, WorkItem)>;

/// The log's records of the unsettled files among these, and the pending work on their granted
/// extents.
fn plan(view: &StateView, files: &[Ino]) -> Result<(Vec<Plan>, Items), Nfsstat4> {
    let (mut plans, mut work) = (Vec::new(), Vec::new());
    let of_namespace = |error| status::of_namespace(&error);
    for ino in files {
        let Some(record) = unsettled::unsettled(view.namespace(), *ino).map_err(of_namespace)? else {
            continue;
        };
        let inode = view.inode(*ino).map_err(|e| status::of_refusal(&e))?;
        let (mut extents, mut records) = (Vec::new(), Vec::new());
        for Granted { index, seen } in unsettled::granted(view.namespace(), *ino).map_err(of_namespace)? {
            let id = ExtentId { ino: *ino, index };
            let found = op::extent::extent(view.namespace(), id).map_err(of_namespace)?;
            let Some(found) = found else { continue };
            if let Some(number) = found.pending_work {
                let item = op::extent::item(view.namespace(), number).map_err(of_namespace)?;
                work.extend(item.map(|item| (number, item)));
            }
            extents.push(Extent { index, epoch: found.epoch, seen, told: None });
            records.push(found);
        }
        plans.push(Plan { measured: Measured { inode, unsettled: record, extents }, records });
    }
    Ok((plans, work))
}

/// Whether the log still matches the measured state.
fn is_current(view: &StateView, plans: &[Plan]) -> Result<bool, Nfsstat4> {
    for plan in plans {
        if view.inode(plan.measured.inode.ino).map_err(|e| status::of_refusal(&e))? != plan.measured.inode {
            return Ok(false);
        }
        for record in &plan.records {
            let now = op::extent::extent(view.namespace(), record.extent);
            let now = now.map_err(|e| status::of_namespace(&e))?;
            let same = |now: ExtentRecord| now.epoch == record.epoch && now.pending_work.is_none();
            if !now.is_some_and(same) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The indices of a file and its extent.
type Place = (usize, usize);

/// Queries all primaries at once.
async fn query_primaries(server: &Server, plans: &mut [Plan]) -> Result<(), Nfsstat4> {
    let mut by_primary: BTreeMap<DataServerId, Vec<(Place, ExtentId)>> = BTreeMap::new();
    for (file, plan) in plans.iter().enumerate() {
        for (at, record) in plan.records.iter().enumerate() {
            by_primary.entry(record.home).or_default().push(((file, at), record.extent));
        }
    }
    let calls = by_primary.into_iter().flat_map(|(primary, asked)| {
        let parts: Vec<Vec<(Place, ExtentId)>> = asked.chunks(SIZE_EXTENTS_MAX).map(<[_]>::to_vec).collect();
        parts.into_iter().map(move |part| async move {
            let extents: Vec<ExtentId> = part.iter().map(|(_, extent)| *extent).collect();
            (part, of_primary(server, primary, &extents).await)
        })
    });
    for (part, told) in join_all(calls).await {
        // All copies are lost: only the log's knowledge remains.
        let Some(told) = told? else { continue };
        for (((file, at), _), size) in part.into_iter().zip(told) {
            plans[file].measured.extents[at].told = Some(Told {
                end_bytes: size.end_bytes,
                held_bytes: size.held_bytes,
                change: size.change,
                mtime_unix_ns: size.mtime_unix_ns,
            });
        }
    }
    Ok(())
}

/// A primary's report about some extents; `None` if it was given up as lost.
async fn of_primary(
    server: &Server,
    primary: DataServerId,
    extents: &[ExtentId],
) -> Result<Option<Vec<ExtentSize>>, Nfsstat4> {
    server.metrics.sizes_asked();
    let Some(known) = server.data_servers.one(primary) else { return Err(Nfsstat4::Delay) };
    let late = server.env.clock.sleep_ms(MEASURE_MS_MAX);
    let told = tokio::select! {
        biased;
        told = known.control.size(extents) => told,
        () = late => Err(ControlError::Unknown),
    };
    match told {
        Ok(sizes) => Ok(Some(sizes)),
        Err(error) => {
            tracing::info!(server = primary.0, %error, "primary does not report its extents");
            if matches!(error, ControlError::Unreachable(_)) {
                server.data_servers.mark_broken(primary, server.now_ms());
            }
            match server.away(primary) {
                Nfsstat4::Io if !server.data_servers.is_up(primary, server.now_ms()) => Ok(None),
                _ => Err(Nfsstat4::Delay),
            }
        }
    }
}

/// State of extents before a grant for writing: empty if they have no record yet. If a primary does
/// not answer, its extent is granted all the same, and counts as written.
pub(crate) async fn before_grant(
    server: &Server,
    ino: Ino,
    indices: &[u32],
) -> Result<Vec<Granted>, Nfsstat4> {
    let mut granted = Vec::with_capacity(indices.len());
    let mut asked = Vec::new();
    {
        let view = server.view()?;
        for index in indices {
            let id = ExtentId { ino, index: *index };
            let known = unsettled::is_granted(view.namespace(), id).map_err(|e| status::of_namespace(&e))?;
            let record = op::extent::extent(view.namespace(), id).map_err(|e| status::of_namespace(&e))?;
            match record {
                Some(record) if !known => asked.push((record.home, id)),
                Some(_) => granted.push(Granted { index: *index, seen: None }),
                None => granted.push(Granted { index: *index, seen: Some(Seen::default()) }),
            }
        }
    }
    let calls = asked.into_iter().map(|(primary, id)| async move {
        let told = of_primary(server, primary, &[id]).await.ok().flatten();
        let size = told.and_then(|sizes| sizes.first().copied());
        let seen = size.map(|size| Seen { change: size.change, held_bytes: size.held_bytes });
        Granted { index: id.index, seen }
    });
    granted.extend(join_all(calls).await);
    Ok(granted)
}
