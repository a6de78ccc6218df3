//! Clients that sent EXCHANGE_ID and have no session yet: how many there may be, and which one is
//! evicted.
//!
//! EXCHANGE_ID costs its sender nothing, so these clients are bounded: for each address, and in
//! all. The oldest client of the address, or of all, is evicted; a confirmed client never is. Only
//! the first call after an update reads all clients.
//!
//! INVARIANT: a client in this table has no session. One that has (an earlier version confirmed it)
//! is removed from the table when it is found, and stays a client.
//! Spec: docs/formats/state.md, clients that wait; RFC 8881 §18.35.5.

use std::ops::ControlFlow;

use mds_namespace::{StoreError, Txn, View};

use super::table;
use crate::command::Refusal;
use crate::command::client::Address;
use crate::key;
use crate::limits::{CLIENTS_MAX, UNCONFIRMED_MAX, UNCONFIRMED_PER_ADDRESS_MAX};
use crate::record::{ClientCounts, StoredClient, StoredSession, Waiting};
use crate::values;

/// How many clients there are. Counts the clients of an earlier version's store once.
fn counts(txn: &mut dyn Txn) -> Result<ClientCounts, Refusal> {
    if let Some(counts) = values::read(txn, key::CLIENT_COUNTS)? {
        return Ok(counts);
    }
    let mut counts = ClientCounts::default();
    for stored in values::list::<StoredClient>(txn, key::CLIENTS)? {
        counts.clients += 1;
        if !stored.record.confirmed {
            put(txn, &mut counts, stored.record.client, Address::default())?;
        }
    }
    let sessions = values::list::<StoredSession>(txn, key::SESSIONS)?.len();
    counts.sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
    put_counts(txn, &counts)?;
    Ok(counts)
}

/// Counts a session that was made or removed. A store without counts gets them with its next new
/// client.
pub(super) fn count_session(txn: &mut dyn Txn, is_made: bool) -> Result<(), Refusal> {
    let Some(mut counts) = values::read::<ClientCounts>(txn, key::CLIENT_COUNTS)? else { return Ok(()) };
    let sessions = counts.sessions;
    counts.sessions = if is_made { sessions.saturating_add(1) } else { sessions.saturating_sub(1) };
    put_counts(txn, &counts)
}

fn put_counts(txn: &mut dyn Txn, counts: &ClientCounts) -> Result<(), Refusal> {
    assert!(counts.waiting <= counts.clients, "clients that wait are clients");
    assert!(u64::from(counts.waiting) <= counts.next, "each client that waits got a number");
    if counts.clients == 0 {
        return Ok(txn.delete(key::CLIENT_COUNTS)?);
    }
    table::put(txn, key::CLIENT_COUNTS, counts)
}

fn put(txn: &mut dyn Txn, counts: &mut ClientCounts, client: u64, address: Address) -> Result<(), Refusal> {
    let number = counts.next;
    counts.next += 1;
    counts.waiting += 1;
    debug_assert!(txn.get(&key::waiting_by_age(number))?.is_none(), "no number is given out twice");
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

/// Removes a client from the table: it was confirmed, or is about to be removed.
pub(super) fn strike(txn: &mut dyn Txn, client: u64) -> Result<(), Refusal> {
    let Some(Waiting { number, address }) = values::read(txn, &key::waiting(client))? else { return Ok(()) };
    txn.delete(&key::waiting(client))?;
    txn.delete(&key::waiting_by_age(number))?;
    txn.delete(&key::waiting_from(&address, number))?;
    let mut counts = counts(txn)?;
    counts.waiting = counts.waiting.saturating_sub(1);
    put_counts(txn, &counts)
}

/// Counts a client that was removed.
pub(super) fn gone(txn: &mut dyn Txn, client: u64) -> Result<(), Refusal> {
    strike(txn, client)?;
    // A store without counts gets them with its next new client.
    let Some(mut counts) = values::read::<ClientCounts>(txn, key::CLIENT_COUNTS)? else { return Ok(()) };
    counts.clients = counts.clients.saturating_sub(1);
    put_counts(txn, &counts)
}

/// The client to evict so that another one of this address has room; `None` if there is room.
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
        let stored: Option<StoredClient> = values::read(txn, &key::client(client))?;
        if stored.is_some_and(|stored| !stored.record.confirmed) {
            return Ok(Some(client));
        }
        strike(txn, client)?;
    }
}

/// Checks for room as earlier versions did, which evicted no client: their entries are applied as
/// they applied them.
///
/// # Errors
/// `TableFull` if there is none.
pub(super) fn check_room(txn: &mut dyn Txn) -> Result<(), Refusal> {
    if counts(txn)?.clients < CLIENTS_MAX { Ok(()) } else { Err(Refusal::TableFull) }
}

/// How many clients of an address wait, at most the bound.
fn waiting_at(view: &dyn View, address: &Address) -> Result<usize, Refusal> {
    let from = key::waiting_from_all(address);
    let mut count = 0;
    view.range(&from, &key::after(&from), &mut |_, _| {
        count += 1;
        if count < UNCONFIRMED_PER_ADDRESS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    assert!(count <= UNCONFIRMED_PER_ADDRESS_MAX, "no more are counted than matter");
    Ok(count)
}

fn oldest(view: &dyn View, from: &[u8]) -> Result<Option<u64>, Refusal> {
    let all = mds_namespace::store::list(view, from, &key::after(from), 1, |_, value| {
        let client = value.try_into().map(u64::from_be_bytes);
        client.map_err(|_| StoreError::Corrupt("client that waits"))
    })?;
    Ok(all.first().copied())
}
