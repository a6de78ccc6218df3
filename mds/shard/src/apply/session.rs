//! CREATE_SESSION, DESTROY_SESSION, BACKCHANNEL_CTL, and resuming a session.
//!
//! A session is removed with its client, and the records of its slots with the session.
//!
//! Spec: RFC 8881 §18.33, §18.36.4, §18.37; docs/protocol/sessions.md.

use mds_namespace::{Txn, View};

use super::{client, table, waiting};
use crate::command::session::{
    CreateSession, DestroySession, SessionCreated, SessionTakenUp, SetCallback, SlotMark, TakeUpSession,
};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::limits::SESSIONS_PER_CLIENT_MAX;
use crate::record::{SlotRecord, StoredSession, Value};
use crate::state;

pub(super) fn create(txn: &mut dyn Txn, asked: &CreateSession) -> Result<Outcome, Refusal> {
    let record = &asked.record;
    if !record.is_sound() {
        return Err(Refusal::BadSession);
    }
    let confirmed = client::confirm_client(txn, record.client, record.sequence, &asked.principal)?;
    let before = state::list::<StoredSession>(txn, &key::sessions_of(record.client))?;
    if confirmed.replay {
        // A session that was destroyed since cannot be returned again, and the sequence is used up.
        let made = before.into_iter().find(|session| session.record.sequence == record.sequence);
        let StoredSession { record, tenure } = made.ok_or(Refusal::Misordered)?;
        let created = SessionCreated { record, tenure, replay: true, ended: None, dropped: Vec::new() };
        return Ok(Outcome::SessionCreated(Box::new(created)));
    }
    let ended = (SESSIONS_PER_CLIENT_MAX <= before.len()).then(|| before[0].record.id);
    if let Some(oldest) = ended {
        remove(txn, &oldest)?;
    }
    let session = StoredSession { record: record.clone(), tenure: 1 };
    table::put(txn, &key::session(&record.id), &session)?;
    waiting::count_session(txn, true)?;
    let StoredSession { record, tenure } = session;
    let created = SessionCreated { record, tenure, replay: false, ended, dropped: confirmed.dropped };
    Ok(Outcome::SessionCreated(Box::new(created)))
}

fn stored(view: &dyn View, id: &[u8; 16]) -> Result<StoredSession, Refusal> {
    state::read(view, &key::session(id))?.ok_or(Refusal::NoSuchSession)
}

pub(super) fn destroy(txn: &mut dyn Txn, asked: &DestroySession) -> Result<Outcome, Refusal> {
    stored(txn, &asked.session)?;
    remove(txn, &asked.session)?;
    Ok(Outcome::Done)
}

pub(super) fn resume(txn: &mut dyn Txn, asked: &TakeUpSession) -> Result<Outcome, Refusal> {
    let StoredSession { record, tenure } = stored(txn, &asked.session)?;
    let session = StoredSession { record, tenure: tenure.wrapping_add(1) };
    table::put(txn, &key::session(&asked.session), &session)?;
    let slots = marks(txn, &asked.session)?;
    let StoredSession { record, tenure } = session;
    Ok(Outcome::SessionTakenUp(Box::new(SessionTakenUp { record, tenure, slots })))
}

pub(super) fn set_callback(txn: &mut dyn Txn, asked: &SetCallback) -> Result<Outcome, Refusal> {
    let mut session = stored(txn, &asked.session)?;
    session.record.program = asked.program;
    session.record.credential = Some(asked.credential.clone());
    table::put(txn, &key::session(&asked.session), &session)?;
    Ok(Outcome::Done)
}

/// Slots of a session that have a record.
pub(crate) fn marks(view: &dyn View, session: &[u8; 16]) -> Result<Vec<SlotMark>, Refusal> {
    let from = key::slots(session);
    Ok(mds_namespace::store::list(view, &from, &key::after(&from), usize::MAX, |key, bytes| {
        let SlotRecord { sequence, request, .. } = SlotRecord::decode(bytes)?;
        let (_, slot) = key::parse_slot(key).ok_or(mds_namespace::StoreError::Corrupt("key of a slot"))?;
        Ok::<_, mds_namespace::FsError>(SlotMark { slot, sequence, request })
    })?)
}

/// Removes a session and the records of its slots.
fn remove(txn: &mut dyn Txn, session: &[u8; 16]) -> Result<(), Refusal> {
    for mark in marks(txn, session)? {
        txn.delete(&key::slot(session, mark.slot))?;
    }
    txn.delete(&key::session(session))?;
    waiting::count_session(txn, false)
}

/// Removes all sessions of a client.
pub(super) fn remove_all(txn: &mut dyn Txn, client: u64) -> Result<(), Refusal> {
    for session in state::list::<StoredSession>(txn, &key::sessions_of(client))? {
        remove(txn, &session.record.id)?;
    }
    Ok(())
}
