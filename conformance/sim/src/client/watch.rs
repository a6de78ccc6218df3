//! A client that only looks, for bugs that no other sees: who also changes things soon waits for an
//! answer, and looks no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wire_nfs::v4::Filehandle;

use super::names;
use super::session::Client;
use super::workload::{DIRECTORIES, SHIFT_NS, Whistle, directory_name};
use crate::record::Place;

/// Shifts in which a directory is looked at: a client may change it after the one that it is made
/// in.
const SHIFTS: u64 = 2;

/// Reads directories that others change, until the whistle.
pub(crate) async fn watch(client: Arc<Client>, whistle: Whistle, pause_ms: u64) {
    let mut watched: BTreeMap<Place, Filehandle> = BTreeMap::new();
    while !whistle.stop.load(Ordering::Relaxed) {
        let shift = client.now_ns() / SHIFT_NS;
        if watched.last_key_value().is_none_or(|((newest, _), _)| newest + SHIFTS <= shift) {
            watched.clear();
            for place in (0..DIRECTORIES).map(|number| (shift, number)) {
                if let Some(handle) = names::directory(&client, &directory_name(place)).await {
                    watched.insert(place, handle);
                }
            }
        }
        for (place, directory) in &watched {
            names::list(&client, *place, directory).await;
        }
        client.pause(pause_ms).await;
    }
    whistle.running.fetch_sub(1, Ordering::Relaxed);
}
