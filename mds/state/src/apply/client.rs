//! EXCHANGE_ID, CREATE_SESSION's part of the client record, RECLAIM_COMPLETE, and the end of a
//! client.
//!
//! `wire_session` decides the cases; this module reads, writes and removes the records.
//!
//! Spec: RFC 8881 §18.35, §18.36, §18.50, §18.51.

use mds_namespace::{FsError, Txn, View};
use wire_session::server::client_id::{
    ClientRecord, ConfirmDecision, ConfirmError, Exchange, ExchangeDecision, ExchangeError, decide_confirm,
    decide_exchange,
};

use super::{layout, lock_table, open, session_table, table, waiting};
use crate::command::client::{
    Address, ClientAnswer, ClientMade, ConfirmClient, Confirmed, ExchangeId, ExchangeIdAs, ExchangeIdFrom,
    ReclaimComplete, RemoveClient, RemovedClient,
};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::record::{OpenRecord, OwnerClients, StateKind, StoredClient, Tally};
use crate::{query, values};

impl From<ExchangeError> for Refusal {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::InUse => Self::ClientInUse,
            ExchangeError::NoRecord => Self::NoSuchClient,
            ExchangeError::OtherVerifier => Self::NotSame,
            ExchangeError::OtherPrincipal => Self::Namespace(FsError::NotPermitted),
        }
    }
}

impl From<ConfirmError> for Refusal {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::Misordered => Self::Misordered,
            ConfirmError::InUse => Self::ClientInUse,
        }
    }
}

fn stored(view: &dyn View, client: u64) -> Result<Option<StoredClient>, Refusal> {
    values::read(view, &key::client(client))
}

fn record_of(view: &dyn View, client: Option<u64>) -> Result<Option<ClientRecord>, Refusal> {
    match client {
        Some(client) => Ok(stored(view, client)?.map(|stored| stored.record)),
        None => Ok(None),
    }
}

fn put_owner(txn: &mut dyn Txn, owner: &[u8], clients: &OwnerClients) -> Result<(), Refusal> {
    if *clients == OwnerClients::default() {
        Ok(txn.delete(&key::owner(owner))?)
    } else {
        table::put(txn, &key::owner(owner), clients)
    }
}

/// Whether a client has sessions, opens, locks or layouts.
fn holds_state(view: &dyn View, client: u64) -> Result<bool, Refusal> {
    let mut found = false;
    for from in [key::sessions_of(client), key::of_client(client)] {
        view.range(&from, &key::after(&from), &mut |_, _| {
            found = true;
            std::ops::ControlFlow::Break(())
        })?;
    }
    Ok(found)
}

/// The next unused client id, from this one on. Zero is not a client id.
fn free_id(view: &dyn View, mut id: u64) -> Result<u64, Refusal> {
    while id == 0 || stored(view, id)?.is_some() {
        id = id.wrapping_add(1);
    }
    assert!(id != 0, "zero is no client id");
    Ok(id)
}

/// The answer as earlier versions log it.
pub(super) fn as_before(made: ClientMade) -> Outcome {
    Outcome::Client(made.answer)
}

pub(super) fn exchange_id_from(txn: &mut dyn Txn, asked: &ExchangeIdFrom) -> Result<Outcome, Refusal> {
    let ExchangeIdFrom { asked: ExchangeIdAs { asked, fresh }, address } = asked;
    exchange_id(txn, asked, Some(*fresh), Some(*address)).map(Outcome::ClientMade)
}

/// Removes the unconfirmed clients that leave no room for one more of this address.
fn evict_unconfirmed(txn: &mut dyn Txn, address: Option<Address>) -> Result<Vec<u64>, Refusal> {
    let mut evicted = Vec::new();
    if let Some(address) = address {
        while let Some(client) = waiting::in_the_way(txn, address)? {
            evicted.push(remove_client(txn, client)?.client);
        }
    }
    Ok(evicted)
}

/// `fresh`: the id of a new client. An entry of an earlier version has none and counts ids up; it
/// has no address either.
pub(super) fn exchange_id(
    txn: &mut dyn Txn,
    asked: &ExchangeId,
    fresh: Option<u64>,
    address: Option<Address>,
) -> Result<ClientMade, Refusal> {
    table::check_owner(&asked.owner)?;
    let mut of_owner: OwnerClients = values::read(txn, &key::owner(&asked.owner))?.unwrap_or_default();
    let confirmed = record_of(txn, of_owner.confirmed)?;
    let unconfirmed = record_of(txn, of_owner.unconfirmed)?;
    let holds_state = match of_owner.confirmed {
        Some(client) => holds_state(txn, client)?,
        None => false,
    };
    let mut counters = table::counters(txn)?;
    let exchange = Exchange {
        owner: &asked.owner,
        verifier: asked.verifier,
        principal: &asked.principal,
        update: asked.update,
        implementation: &asked.implementation,
        holds_state,
        fresh_client: match fresh {
            Some(id) => free_id(txn, id)?,
            None => counters.client,
        },
    };
    match decide_exchange(confirmed.as_ref(), unconfirmed.as_ref(), &exchange) {
        ExchangeDecision::Refuse(error) => Err(error.into()),
        ExchangeDecision::Known { client, sequence } => {
            let answer = ClientAnswer { client, sequence, confirmed: true, replaces: None };
            Ok(ClientMade { answer, evicted: Vec::new() })
        }
        ExchangeDecision::Update { record } => {
            let before = stored(txn, record.client)?.ok_or(Refusal::NoSuchClient)?;
            let answer = ClientAnswer {
                client: record.client,
                sequence: record.sequence_next(),
                confirmed: true,
                replaces: None,
            };
            table::put(txn, &key::client(record.client), &StoredClient { record, ..before })?;
            Ok(ClientMade { answer, evicted: Vec::new() })
        }
        ExchangeDecision::Create { record, removes, evicts, replaces } => {
            if address.is_none() {
                waiting::check_room(txn)?;
            }
            for client in [removes, evicts].into_iter().flatten() {
                remove_client(txn, client)?;
            }
            let evicted = evict_unconfirmed(txn, address)?;
            if fresh.is_none() {
                counters.client += 1;
                table::put(txn, key::COUNTERS, &counters)?;
            }
            // Removing a client has changed the owner's entry.
            of_owner = values::read(txn, &key::owner(&asked.owner))?.unwrap_or_default();
            of_owner.unconfirmed = Some(record.client);
            put_owner(txn, &asked.owner, &of_owner)?;
            let answer = ClientAnswer {
                client: record.client,
                sequence: record.sequence_next(),
                confirmed: false,
                replaces: replaces.or(evicts),
            };
            let client = StoredClient { record, reclaim_complete: false };
            assert!(answer.client != 0, "zero is no client id");
            assert!(!client.record.confirmed, "CREATE_SESSION confirms a client");
            waiting::enter(txn, answer.client, address.unwrap_or_default())?;
            table::put(txn, &key::client(answer.client), &client)?;
            Ok(ClientMade { answer, evicted })
        }
    }
}

pub(super) fn confirm(txn: &mut dyn Txn, asked: &ConfirmClient) -> Result<Outcome, Refusal> {
    confirm_client(txn, asked.client, asked.sequence, &asked.principal).map(Outcome::Confirmed)
}

/// CREATE_SESSION's effect on the client record.
pub(super) fn confirm_client(
    txn: &mut dyn Txn,
    client: u64,
    sequence: u32,
    principal: &[u8],
) -> Result<Confirmed, Refusal> {
    let before = stored(txn, client)?.ok_or(Refusal::StaleClient)?;
    let record = match decide_confirm(&before.record, sequence, principal) {
        ConfirmDecision::Refuse(error) => return Err(error.into()),
        ConfirmDecision::Replay => return Ok(Confirmed { replay: true, dropped: Vec::new() }),
        ConfirmDecision::Confirm { record } => record,
    };
    assert!(record.client == client, "a client keeps its id");
    assert!(record.confirmed, "CREATE_SESSION confirms a client");
    assert!(record.sequence != before.record.sequence, "each CREATE_SESSION moves the sequence");
    let mut dropped = Vec::new();
    if !before.record.confirmed {
        waiting::strike(txn, client)?;
        let of_owner: OwnerClients = values::read(txn, &key::owner(&record.owner))?.unwrap_or_default();
        // RFC 8881 §18.36.4: the client's previous incarnation, and all it held, is removed now.
        if let Some(older) = of_owner.confirmed {
            dropped.push(remove_client(txn, older)?);
        }
        put_owner(txn, &record.owner, &OwnerClients { confirmed: Some(client), unconfirmed: None })?;
    }
    table::put(txn, &key::client(client), &StoredClient { record, ..before })?;
    Ok(Confirmed { replay: false, dropped })
}

pub(super) fn reclaim_complete(txn: &mut dyn Txn, asked: &ReclaimComplete) -> Result<Outcome, Refusal> {
    let client = table::confirmed_client(txn, asked.client)?;
    if client.reclaim_complete {
        return Err(Refusal::CompleteAlready);
    }
    table::put(txn, &key::client(asked.client), &StoredClient { reclaim_complete: true, ..client })?;
    Ok(Outcome::Done)
}

pub(super) fn remove(txn: &mut dyn Txn, asked: &RemoveClient) -> Result<Outcome, Refusal> {
    if stored(txn, asked.client)?.is_none() {
        return Err(Refusal::StaleClient);
    }
    if asked.only_if_idle && holds_state(txn, asked.client)? {
        return Err(Refusal::ClientBusy);
    }
    Ok(Outcome::Removed(remove_client(txn, asked.client)?))
}

/// Removes what a client holds in this shard.
pub(super) fn drop_held(txn: &mut dyn Txn, client: u64) -> Result<RemovedClient, Refusal> {
    let mut removed = RemovedClient { client, wrote: Vec::new() };
    for (ino, _) in query::of_kind(txn, client, StateKind::Layout, usize::MAX)? {
        let held = values::read(txn, &key::layout(ino, client))?.ok_or(Refusal::BadStateid)?;
        if layout::revoke(txn, ino, client, &held)? {
            removed.wrote.push(ino);
        }
    }
    // First, so that no open has to search all locks of its file for its own.
    for (ino, other) in query::of_kind(txn, client, StateKind::Lock, usize::MAX)? {
        lock_table::drop_lock(txn, ino, &other)?;
    }
    for (ino, other) in query::of_kind(txn, client, StateKind::Open, usize::MAX)? {
        let held: OpenRecord = values::read(txn, &key::open(ino, &other))?.ok_or(Refusal::BadStateid)?;
        open::remove_open(txn, ino, &held)?;
    }
    // A file that was open without a name is removed with its last open.
    removed.wrote.retain(|ino| mds_namespace::inode_table::inode(txn, *ino).is_ok());
    debug_assert!(
        values::read::<Tally>(txn, &key::tally(client))?.unwrap_or_default() == Tally::default(),
        "a client's tally counts what it holds"
    );
    txn.delete(&key::tally(client))?;
    Ok(removed)
}

/// Removes a client and all it holds, its sessions included.
fn remove_client(txn: &mut dyn Txn, client: u64) -> Result<RemovedClient, Refusal> {
    let Some(stored) = stored(txn, client)? else { return Ok(RemovedClient { client, wrote: Vec::new() }) };
    let removed = drop_held(txn, client)?;
    session_table::remove_all(txn, client)?;
    debug_assert!(!holds_state(txn, client)?, "a client that is gone holds nothing");
    txn.delete(&key::client(client))?;
    waiting::gone(txn, client)?;
    let mut of_owner: OwnerClients =
        values::read(txn, &key::owner(&stored.record.owner))?.unwrap_or_default();
    of_owner.confirmed = of_owner.confirmed.filter(|id| *id != client);
    of_owner.unconfirmed = of_owner.unconfirmed.filter(|id| *id != client);
    put_owner(txn, &stored.record.owner, &of_owner)?;
    Ok(removed)
}
