//! Data servers that the log knows: addresses at once, leases when they report.

use std::sync::Arc;

use client::control::DsControl;
use layout::DataServerId;
use layout::copies::Domain;
use wire_nfs::control::Keyring;
use wire_nfs::control::heartbeat::{JournalEnd, Usage};

use super::Known;
use crate::server::Server;

/// The store cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

/// Puts the data servers that the log knows into the table.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn put_known(server: &Server, keys: &Keyring) -> Result<(), Unreadable> {
    let view = server.shards.view_anyway().map_err(|e| Unreadable(e.to_string()))?;
    let draining = view.draining().map_err(|e| Unreadable(e.to_string()))?;
    for known in view.data_servers().map_err(|e| Unreadable(e.to_string()))? {
        let Ok(address) = known.control.parse() else { continue };
        server.data_servers.put(
            DataServerId(known.id),
            Known {
                uuid: known.uuid,
                addresses: known.addresses,
                control_address: known.control,
                control: Arc::new(DsControl::new(&server.env, address, keys, known.uuid, &known.name)),
                usage: Usage { capacity_bytes: known.capacity_bytes, ..Usage::default() },
                renewed_ms: None,
                full_ms: None,
                domain: Domain { zone: known.zone, rack: known.rack, host: known.host },
                suspect_ms: None,
                broken_ms: None,
                answered_ms: None,
                condemned: false,
                removing: false,
                draining: draining.contains(&known.id),
                name: known.name,
                instance: 0,
                failure: None,
                durable: JournalEnd::default(),
                keys: 0,
                behind: None,
            },
        );
    }
    Ok(())
}
