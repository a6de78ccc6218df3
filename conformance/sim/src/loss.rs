//! Which data servers may be lost with their disks: no more than the product promises to survive,
//! judged by what its own log says.
//!
//! Spec: docs/protocol/seal.md §8, §9; docs/protocol/replicate.md.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use layout::ec::GroupId;
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::all_from;
use mds_namespace::op::formers::formers;
use mds_namespace::op::seal::groups_from;
use mds_namespace::{ExtentRecord, View, sealed};
use mds_state::StateView;

/// The number that the server at a control address has now: it had others before it lost its disk.
pub(crate) fn number_of(state: &StateView, control: SocketAddr) -> Option<DataServerId> {
    let all = state.data_servers().ok()?;
    all.iter().filter(|one| one.control == control.to_string()).map(|one| DataServerId(one.id)).max()
}

/// Whether every byte that was promised is still somewhere when these servers are gone, of which
/// `lost` were gone before.
pub(crate) fn is_survived(
    view: &dyn View,
    lost: &BTreeSet<DataServerId>,
    gone: &BTreeSet<DataServerId>,
) -> bool {
    let groups = groups_from(view, GroupId(0), usize::MAX).unwrap_or_default();
    let extents = all_from(view, ExtentId { ino: 0, index: 0 }, usize::MAX).unwrap_or_default();
    groups.iter().all(|group| group.losses_left(|server| gone.contains(&server)).is_some())
        && extents.iter().all(|record| is_kept(view, record, lost, gone))
}

/// A server that holds everything stays, or an image says everything.
fn is_kept(
    view: &dyn View,
    record: &ExtentRecord,
    lost: &BTreeSet<DataServerId>,
    gone: &BTreeSet<DataServerId>,
) -> bool {
    let backups = record.backups.iter().filter(|backup| !backup.filling).map(|backup| backup.server);
    let stays = std::iter::once(record.home).chain(backups).any(|server| !gone.contains(&server));
    // A primary that is lost now may have shown just before what it had: then former servers are to
    // forget what they keep. One that was lost before can show nothing.
    let former = formers(view, record).ok().flatten().filter(|_| lost.contains(&record.home));
    let former = former.is_some_and(|former| former.iter().any(|server| !gone.contains(&server)));
    // With work pending the log gives the extent to no other server until the primary has done it.
    let rests = record.pending_work.is_none()
        && sealed::images(view, record.extent).is_ok_and(|images| images.at_rest().is_some());
    stays || former || rests
}
