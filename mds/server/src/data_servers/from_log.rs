//! Data servers that the log knows: addresses at once, leases when they report.

use std::sync::Arc;

use client::control::DsControl;
use layout::DataServerId;
use layout::copies::Domain;
use wire_nfs::control::Keyring;
use wire_nfs::control::heartbeat::{JournalEnd, Usage};

use env::Env;
use mds_state::{Refusal, StateView};

use super::{DataServers, Known};

/// Puts the data servers that the log knows into the table.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn put_known(
    table: &DataServers,
    view: &StateView,
    env: &Env,
    keys: &Keyring,
) -> Result<(), Refusal> {
    let draining = view.draining()?;
    for known in view.data_servers()? {
        let Ok(address) = known.control.parse() else { continue };
        table.put(
            DataServerId(known.id),
            Known {
                uuid: known.uuid,
                addresses: known.addresses,
                control_address: known.control,
                control: Arc::new(DsControl::new(env, address, keys, known.uuid, &known.name)),
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
