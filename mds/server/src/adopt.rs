//! Extents whose servers are all lost: those of which an image is left, and those of which nothing
//! was promised yet, get another home.
//!
//! INVARIANT: a home that is replaced here cannot get a lease before the log has said so: it is
//! condemned. Its backups promise nothing by themselves, and are asked to drop the extent before
//! they get a lease.
//! Spec: docs/protocol/seal.md §8, §9, §12.

use layout::ec::{ImageId, ImageRef};
use layout::{DataServerId, ExtentId};
use mds_namespace::op::copies::Adoption;
use mds_namespace::op::formers;
use mds_namespace::op::seal::slot_of;
use mds_namespace::sealed::{self, ExtentImage};
use mds_namespace::{ExtentRecord, View};
use mds_state::command::seal::AdoptExtents;
use mds_state::limits::COPY_CHANGES_MAX;
use mds_state::{Command, Outcome};

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

/// Gives those of these extents to others whose whole set is gone, if their image says all there
/// is, or nothing was promised. Answers what was changed.
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
        tracing::warn!(
            extents = changed.len(),
            "all replicas lost; new primaries assigned to what is at rest or was not promised yet"
        );
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
    if !condemned.contains(&record.home) {
        return None;
    }
    let now_ms = server.now_ms();
    let all = |is_gone: &dyn Fn(DataServerId) -> bool| {
        is_gone(record.home) && record.backups.iter().all(|one| one.filling || is_gone(one.server))
    };
    let whole_set_of = |home| Adoption { extent: record.extent, epoch: record.epoch, home };
    // What the log says is looked at again when it is carried out.
    let images = sealed::images(view, record.extent).ok()?;
    let rests = images.at_rest().is_some() || record.pending_work.is_some();
    if let Some(image) = images.images.first().filter(|_| rests) {
        // A restart costs less, and until then its readers serve it.
        let is_gone = |id| server.data_servers.is_dead_for_long(id, now_ms);
        if all(&is_gone) && formers::formers(view, record).ok()?.is_none_or(|them| them.iter().all(is_gone)) {
            return heir(server, view, record, image.image, image.group).map(whole_set_of);
        }
        return None;
    }
    // Clients wait for it, and lose nothing.
    let is_dead = |id| server.data_servers.dead_for_ms(id, now_ms).is_some();
    if record.unpromised && all(&is_dead) {
        return in_turn(&fit(server, record), record).map(whole_set_of);
    }
    None
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
    let fit = fit(server, record);
    fit.iter().find(|id| holders.contains(id)).copied().or_else(|| in_turn(&fit, record))
}

/// One of those that are fit.
fn in_turn(fit: &[DataServerId], record: &ExtentRecord) -> Option<DataServerId> {
    let turn = record.extent.ino.wrapping_add(u64::from(record.extent.index));
    fit.get(usize::try_from(turn % fit.len().max(1) as u64).ok()?).copied()
}

fn fit(server: &Server, record: &ExtentRecord) -> Vec<DataServerId> {
    let places = server.data_servers.places(server.now_ms());
    places.iter().filter(|place| place.fit && place.id != record.home).map(|place| place.id).collect()
}
