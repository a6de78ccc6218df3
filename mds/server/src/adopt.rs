//! Extents of which only an image is left: who takes them up, and what they are told.
//!
//! INVARIANT: nobody who is replaced here can get a lease before the log has said so: homes are condemned, backups were dead for long and
//! are asked to drop the extent before they get one.
//! Spec: docs/protocol/seal.md §8, §9.

use layout::ec::{ImageId, ImageRef};
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::Adoption;
use mds_namespace::op::seal::slot_of;
use mds_namespace::sealed::{self, ExtentImage};
use mds_namespace::{ExtentRecord, View};
use mds_shard::command::seal::AdoptExtents;
use mds_shard::limits::COPY_CHANGES_MAX;
use mds_shard::{Command, Outcome};

use crate::repair::dead_long;
use crate::seal::answer::image_ref;
use crate::server::Server;

/// What a home is told of the image that is left: the image, and the sequence it has in the log.
pub(crate) fn image(server: &Server, extent: ExtentId) -> Option<(ImageRef, u64)> {
    let view = server.view().ok()?;
    let of = sealed::images(view.namespace(), extent).ok()?;
    let oldest = of.images.first()?;
    let group = sealed::group(view.namespace(), oldest.group).ok()??;
    let slot = slot_of(&group, oldest.image)?;
    let file_bytes = u32::try_from(group.shape().bytes(slot)).ok()?;
    let ExtentImage { image, sequence, content_bytes, root, .. } = *oldest;
    Some((image_ref(image, content_bytes, file_bytes, root), sequence))
}

/// Gives those of these extents to others whose whole set is gone, if their image says all there is. Answers what was changed.
pub(crate) async fn adopt(
    server: &Server,
    condemned: &[DataServerId],
    records: &[ExtentRecord],
) -> Vec<ExtentRecord> {
    let adoptions: Vec<Adoption> = {
        let Ok(view) = server.view() else { return Vec::new() };
        records.iter().filter_map(|record| adoption(server, view.namespace(), condemned, record)).collect()
    };
    let mut changed = Vec::new();
    for some in adoptions.chunks(COPY_CHANGES_MAX) {
        // Who was dead in an earlier term may have got a lease of another node since.
        if server.shards.leading_term() != Some(server.data_servers.term()) {
            break;
        }
        let asked = AdoptExtents { adoptions: some.to_vec() };
        let Ok(Outcome::Copies(after)) = server.propose(Command::AdoptExtents(asked)).await else { break };
        let taken_up = some.iter().zip(after).filter_map(|(asked, after)| {
            after.filter(|after| (after.home, after.epoch) == (asked.home, asked.epoch.next()))
        });
        changed.extend(taken_up);
    }
    if !changed.is_empty() {
        tracing::warn!(extents = changed.len(), "of these only images are left: others take them up");
        server.metrics.adopted(changed.len());
    }
    changed
}

fn adoption(
    server: &Server,
    view: &dyn View,
    condemned: &[DataServerId],
    record: &ExtentRecord,
) -> Option<Adoption> {
    let now_ms = server.now_ms();
    let is_gone = |id: DataServerId| dead_long(server, id, now_ms);
    let is_lost = condemned.contains(&record.home)
        && is_gone(record.home)
        && record.backups.iter().all(|backup| backup.filling || is_gone(backup.server));
    if !is_lost {
        return None;
    }
    // What the log says is looked at again when it is carried out.
    let images = sealed::images(view, record.extent).ok()?;
    let image = images.images.first()?;
    if images.at_rest().is_none() && record.pending_work.is_none() {
        return None;
    }
    let home = heir(server, view, record, image.image, image.group)?;
    Some(Adoption { extent: record.extent, epoch: record.epoch, home })
}

/// Who has the image, if that server is fit; else one of those that are, in turn.
fn heir(
    server: &Server,
    view: &dyn View,
    record: &ExtentRecord,
    image: ImageId,
    group: layout::ec::GroupId,
) -> Option<DataServerId> {
    let group = sealed::group(view, group).ok()??;
    let slots = 0..group.shape().slots();
    let has = slots.filter(|slot| group.shape().image(*slot).is_some_and(|(one, _)| one == image));
    let holders: Vec<DataServerId> = has.filter_map(|slot| group.homes()[slot]).collect();
    let places = server.data_servers.places(server.now_ms());
    let fit: Vec<DataServerId> =
        places.iter().filter(|place| place.fit && place.id != record.home).map(|place| place.id).collect();
    let turn = record.extent.ino.wrapping_add(u64::from(record.extent.index));
    let in_turn = || fit.get(usize::try_from(turn % fit.len().max(1) as u64).ok()?).copied();
    fit.iter().find(|id| holders.contains(id)).copied().or_else(in_turn)
}
