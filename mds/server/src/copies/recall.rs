//! Recalls the layouts of files whose extents get another home.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use mds_shard::command::layout::LayoutRecall;

use crate::server::Server;

/// Asks for the layouts of these files back: they name a server that is dead, or about to give way.
/// Before those are woken who wait for new ones.
pub(crate) async fn recall(server: &Arc<Server>, files: BTreeSet<u64>) {
    let recalls = files.into_iter().filter_map(|ino| {
        let held = server.view().ok()?.layouts_of(ino).ok()?;
        let what = LayoutRecall { ino, iomode: None, except_client: None };
        (!held.is_empty()).then(|| server.recall(what))
    });
    join_all(recalls).await;
}
