//! The data servers that take part in rebalancing, and the bytes each holds.

use std::collections::BTreeMap;

use layout::DataServerId;
use layout::balance::Holder;
use layout::ec::members::Labels;

use crate::data_servers::DataServers;

/// The servers that take part, and the bytes each holds besides these images.
pub(super) fn holders(
    servers: &DataServers,
    images: &BTreeMap<DataServerId, u64>,
    now_ms: u64,
) -> Vec<Holder> {
    let places = servers.places(now_ms);
    let holder = |place: &layout::copies::Place| {
        let known = servers.one(place.id).filter(|known| place.up && !known.draining)?;
        let domain = place.domain.clone();
        Some(Holder {
            id: place.id,
            labels: Labels { zone: domain.zone, rack: domain.rack, host: domain.host },
            capacity_bytes: known.usage.capacity_bytes,
            held_bytes: images.get(&place.id).copied().unwrap_or(0) + known.usage.live_bytes,
            takes: place.fit && !servers.is_broken(place.id),
        })
    };
    places.iter().filter_map(holder).collect()
}
