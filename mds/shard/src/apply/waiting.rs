//! Clients that have said who they are and made no session yet: how many there may be, and which one goes.
//!
//! EXCHANGE_ID costs its sender nothing, so what it leaves is bounded: for each address, and for all. The oldest of the
//! address, or of all, gives way; a confirmed client never does. No look but the first after an update goes over all clients.
//!
//! INVARIANT: what is here is a client without a session. One that is not so any more (an earlier version confirmed it) is
//! struck off when it is met, and stays.
//! Spec: docs/formats/state.md, clients that wait; RFC 8881 §18.35.5.

use std::ops::ControlFlow;

use mds_namespace::{StoreError, Txn, View};

use super::table;
use crate::command::Refusal;
use crate::command::client::Address;
use crate::key;
use crate::limits::{CLIENTS_MAX, UNCONFIRMED_MAX, UNCONFIRMED_PER_ADDRESS_MAX};
use crate::record::{ClientCounts, StoredClient, StoredSession, Waiting};
use crate::state;

/// How many clients there are. A store of an earlier version is counted once.
fn counts(txn: &mut dyn Txn) -> Result<ClientCounts, Refusal> {
    if let Some(counts) = state::read(txn, key::CLIENT_COUNTS)? {
        return Ok(counts);
    }
    let mut counts = ClientCounts::default();
    for stored in state::list::<StoredClient>(txn, key::CLIENTS)? {
        counts.clients += 1;
        if !stored.record.confirmed {
            put(txn, &mut counts, stored.record.client, Address::default())?;
        }
    }
    let sessions = state::list::<StoredSession>(txn, key::SESSIONS)?.len();
    counts.sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
    put_counts(txn, &counts)?;
    Ok(counts)
}

/// A session was made, or is gone. Without counts it is counted with all others when a client comes.
pub(super) fn count_session(txn: &mut dyn Txn, is_made: bool) -> Result<(), Refusal> {
    let Some(mut counts) = state::read::<ClientCounts>(txn, key::CLIENT_COUNTS)? else { return Ok(()) };
    let sessions = counts.sessions;
    counts.sessions = if is_made { sessions.saturating_add(1) } else { sessions.saturating_sub(1) };
    put_counts(txn, &counts)
}

fn put_counts(txn: &mut dyn Txn, counts: &ClientCounts) -> Result<(), Refusal> {
    if counts.clients == 0 {
        return Ok(txn.delete(key::CLIENT_COUNTS)?);
    }
    table::put(txn, key::CLIENT_COUNTS, counts)
}

fn put(txn: &mut dyn Txn, counts: &mut ClientCounts, client: u64, address: Address) -> Result<(), Refusal> {
    let number = counts.next;
    counts.next += 1;
    counts.waiting += 1;
    table::put(txn, &key::waiting(client), &Waiting { number, address })?;
    txn.put(&key::waiting_by_age(number), &client.to_be_bytes())?;
    Ok(txn.put(&key::waiting_from(&address, number), &client.to_be_bytes())?)
}

/// Counts a client that is about to be made, and is not confirmed.
pub(super) fn enter(txn: &mut dyn Txn, client: u64, address: Address) -> Result<(), Refusal> {
    let mut counts = counts(txn)?;
    counts.clients += 1;
    put(txn, &mut counts, client, address)?;
    put_counts(txn, &counts)
}

/// A client waits no more: it is confirmed, or about to go.
pub(super) fn strike(txn: &mut dyn Txn, client: u64) -> Result<(), Refusal> {
    let Some(Waiting { number, address }) = state::read(txn, &key::waiting(client))? else { return Ok(()) };
    txn.delete(&key::waiting(client))?;
    txn.delete(&key::waiting_by_age(number))?;
    txn.delete(&key::waiting_from(&address, number))?;
    let mut counts = counts(txn)?;
    counts.waiting = counts.waiting.saturating_sub(1);
    put_counts(txn, &counts)
}

/// A client is gone.
pub(super) fn gone(txn: &mut dyn Txn, client: u64) -> Result<(), Refusal> {
    strike(txn, client)?;
    // Without them they are counted when a client comes.
    let Some(mut counts) = state::read::<ClientCounts>(txn, key::CLIENT_COUNTS)? else { return Ok(()) };
    counts.clients = counts.clients.saturating_sub(1);
    put_counts(txn, &counts)
}

/// The client that goes so that another one of this address has room; `None` if there is room.
///
/// # Errors
/// `TableFull` if there is no room, and all clients are confirmed.
pub(super) fn in_the_way(txn: &mut dyn Txn, address: Address) -> Result<Option<u64>, Refusal> {
    loop {
        let counts = counts(txn)?;
        let is_full = CLIENTS_MAX <= counts.clients;
        let from = if UNCONFIRMED_PER_ADDRESS_MAX <= waiting_at(txn, &address)? {
            key::waiting_from_all(&address)
        } else if is_full || UNCONFIRMED_MAX <= counts.waiting {
            key::WAITING_BY_AGE.to_vec()
        } else {
            return Ok(None);
        };
        let Some(client) = oldest(txn, &from)? else {
            return if is_full { Err(Refusal::TableFull) } else { Ok(None) };
        };
        let stored: Option<StoredClient> = state::read(txn, &key::client(client))?;
        if stored.is_some_and(|stored| !stored.record.confirmed) {
            return Ok(Some(client));
        }
        strike(txn, client)?;
    }
}

/// Whether there is room for one more client by the rule of earlier versions, which took none away: what they logged is applied as
/// they applied it.
///
/// # Errors
/// `TableFull` if there is none.
pub(super) fn check_room(txn: &mut dyn Txn) -> Result<(), Refusal> {
    if counts(txn)?.clients < CLIENTS_MAX { Ok(()) } else { Err(Refusal::TableFull) }
}

/// How many clients of an address wait, up to the bound.
fn waiting_at(view: &dyn View, address: &Address) -> Result<usize, Refusal> {
    let from = key::waiting_from_all(address);
    let mut count = 0;
    view.range(&from, &key::after(&from), &mut |_, _| {
        count += 1;
        if count < UNCONFIRMED_PER_ADDRESS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(count)
}

fn oldest(view: &dyn View, from: &[u8]) -> Result<Option<u64>, Refusal> {
    let all = mds_namespace::store::list(view, from, &key::after(from), 1, |_, value| {
        let client = value.try_into().map(u64::from_be_bytes);
        client.map_err(|_| StoreError::Corrupt("client that waits"))
    })?;
    Ok(all.first().copied())
}
