//! Readers: data servers that serve READs of an extent at rest, from its group, while its home does
//! not.
//!
//! Clients get a reader as the second mirror of a layout for reading, or as the only one if the
//! home cannot be used now. A reader queries the leader before each reply; the answer is the log's
//! state at some moment after the query.
//!
//! INVARIANT: an image is named here only if it contained every byte promised of the extent at the
//! time of the query, or later.
//! Spec: docs/protocol/seal.md §8, §11.

use layout::ec::{Group, ImageId, ImageRef};
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::op::seal::slot_of;
use mds_namespace::sealed;
use mds_namespace::{ExtentRecord, FsError, Inode, View, op};
use wire_nfs::control::Refusal;
use wire_nfs::control::extent::{AskFileEnd, FileEnd};
use wire_nfs::control::images::{AskAtRest, AtRest};
use wire_nfs::v4::Nfsstat4;

use super::answer::{image_ref, in_force};
use crate::server::Server;

/// Handles AT_REST: a reader queries whether it may serve an extent.
///
/// # Errors
/// `Stale` if the extent is not at rest at this epoch; `NotLeader`, `Busy`.
pub(crate) async fn at_rest(server: &Server, ask: &AskAtRest) -> Result<AtRest, Refusal> {
    in_force(server).await?;
    let extent = ExtentId { ino: ask.extent.ino, index: ask.extent.index };
    let view = server.view().map_err(|_| Refusal::Busy)?;
    let record = op::extent::extent(view.namespace(), extent).map_err(|_| Refusal::Busy)?;
    if record.is_none_or(|record| record.epoch != Epoch(ask.epoch)) {
        return Err(Refusal::Stale);
    }
    let (image, _) = image(view.namespace(), extent).map_err(|_| Refusal::Busy)?.ok_or(Refusal::Stale)?;
    let inode = view.inode(extent.ino).map_err(|_| Refusal::Stale)?;
    drop(view);
    // This extent is at rest, others of the file may be written.
    Ok(AtRest { size_bytes: size_now(server, inode).await?, image: image.encode() })
}

/// Handles FILE_END: a data server got a READ beyond its bytes.
///
/// # Errors
/// `Stale` if the file is gone; `NotLeader`; `Busy` while its length is unknown.
pub(crate) async fn file_end(server: &Server, ask: &AskFileEnd) -> Result<FileEnd, Refusal> {
    in_force(server).await?;
    let inode =
        server.view().map_err(|_| Refusal::Busy)?.inode(ask.extent.ino).map_err(|_| Refusal::Stale)?;
    Ok(FileEnd { size_bytes: size_now(server, inode).await? })
}

async fn size_now(server: &Server, inode: Inode) -> Result<u64, Refusal> {
    match server.derived(inode).await {
        Ok(inode) => Ok(inode.size_bytes),
        Err(Nfsstat4::Stale) => Err(Refusal::Stale),
        Err(_) => Err(Refusal::Busy),
    }
}

/// The image that holds all bytes of an extent, and its group; `None` if the extent is not at rest.
fn image(view: &dyn View, extent: ExtentId) -> Result<Option<(ImageRef, Group)>, FsError> {
    let images = sealed::images(view, extent)?;
    let Some(image) = images.at_rest() else { return Ok(None) };
    let Some(group) = sealed::group(view, image.group)? else { return Ok(None) };
    let file_bytes = slot_of(&group, image.image).map(|slot| group.shape().bytes(slot));
    let Some(file_bytes) = file_bytes.and_then(|bytes| u32::try_from(bytes).ok()) else { return Ok(None) };
    Ok(Some((image_ref(image.image, image.content_bytes, file_bytes, image.root), group)))
}

/// Whether a data server is up and answers, and this client has not reported it lately.
pub(crate) fn is_usable(server: &Server, client: Option<u64>, id: DataServerId) -> bool {
    let (servers, now_ms) = (&server.data_servers, server.now_ms());
    let is_excluded = || client.is_some_and(|client| servers.is_excluded(client, id, now_ms));
    servers.is_up(id, now_ms) && !servers.is_broken(id) && !is_excluded()
}

/// The data server that may serve READs of an extent in place of its home; `None` if it is not at
/// rest, or no server can be used.
pub(crate) fn reader(server: &Server, client: Option<u64>, record: &ExtentRecord) -> Option<DataServerId> {
    let view = server.view().ok()?;
    let (image, group) = image(view.namespace(), record.extent).ok()??;
    let usable = |id: &DataServerId| *id != record.home && is_usable(server, client, *id);
    by_place(record, image.image, &group).into_iter().find(usable).or_else(|| {
        // No server of the group: any other can reconstruct from what is left of it.
        let all = server.data_servers.all();
        let from = turn(record, all.len());
        all.iter().cycle().skip(from).take(all.len()).map(|(id, _)| *id).find(usable)
    })
}

/// The servers of a group, the best reader of an image first: those with the whole image, then
/// those outside the extent's set, whose servers may be lost together. The rest in turn, so that
/// the readers of many extents are many.
fn by_place(record: &ExtentRecord, image: ImageId, group: &Group) -> Vec<DataServerId> {
    let (shape, slots) = (group.shape(), group.shape().slots());
    let from = turn(record, slots);
    let has = |slot: usize| shape.image(slot).is_some_and(|(one, _)| one == image);
    let mut ranked: Vec<_> = (0..slots)
        .filter_map(|slot| {
            let id = group.homes()[slot]?;
            let in_set = record.servers().any(|one| one == id);
            Some(((!has(slot), in_set, (slot + slots - from) % slots), id))
        })
        .collect();
    ranked.sort_unstable_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, id)| id).collect()
}

/// Start position of an extent in a list of `count`: spread over extents, constant for each.
fn turn(record: &ExtentRecord, count: usize) -> usize {
    let turn = record.extent.ino.wrapping_add(u64::from(record.extent.index)) % count.max(1) as u64;
    usize::try_from(turn).expect("less than a count")
}

/// The reader of an extent whose home cannot be used now.
pub(crate) fn stand_in(
    server: &Server,
    client: Option<u64>,
    extent: ExtentId,
) -> Option<(ExtentRecord, DataServerId)> {
    let record = op::extent::extent(server.view().ok()?.namespace(), extent).ok()??;
    if is_usable(server, client, record.home) {
        return None;
    }
    let reader = reader(server, client, &record)?;
    Some((record, reader))
}
