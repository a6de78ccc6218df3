//! What carrying out work needs to know of an extent, by the log and by leases.

use client::control::ControlError;
use futures_util::future::join_all;
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::ExtentRecord;
use mds_namespace::op::extent::extent as read;

use crate::server::Server;

/// What is known of an extent; `None` if its file is gone.
///
/// # Errors
/// If that cannot be told now: it is no reason to take it for gone.
pub(crate) fn record(server: &Server, extent: ExtentId) -> Result<Option<ExtentRecord>, ControlError> {
    let record = server.view().ok().and_then(|view| read(view.namespace(), extent).ok());
    record.ok_or(ControlError::Unknown)
}

/// Whether the home that an extent has now is up.
///
/// # Errors
/// As [`record`].
pub(crate) fn is_home_up(server: &Server, extent: ExtentId) -> Result<bool, ControlError> {
    let record = record(server, extent)?;
    Ok(record.is_some_and(|record| server.data_servers.is_up(record.home, server.now_ms())))
}

/// Has everybody of the set that is up refuse what the home before says: what it forgets from now
/// on must not reach those who keep the extent.
///
/// # Errors
/// If one of them cannot be told, or the new home is not up; as [`record`].
pub(crate) async fn fence_set(server: &Server, extent: ExtentId, epoch: Epoch) -> Result<(), ControlError> {
    let Some(record) = record(server, extent)? else { return Ok(()) };
    let now_ms = server.now_ms();
    let up = |id: &DataServerId| server.data_servers.is_up(*id, now_ms);
    if !up(&record.home) {
        return Err(ControlError::Unknown);
    }
    let known = record.servers().filter(up).filter_map(|id| server.data_servers.one(id));
    let fences = known.map(|known| async move { known.control.fence(extent, epoch).await });
    join_all(fences).await.into_iter().collect()
}
