//! CREATE_SESSION, DESTROY_SESSION, BACKCHANNEL_CTL, and resuming a session.
//!
//! A session is removed with its client, and the records of its slots with the session.
//!
//! Spec: RFC 8881 §18.33, §18.36.4, §18.37; docs/protocol/sessions.md.

use mds_namespace::Txn;

use super::{client, session_table, table, waiting};
use crate::command::session::{
    CreateSession, DestroySession, SessionCreated, SessionTakenUp, SetCallback, TakeUpSession,
};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::limits::SESSIONS_PER_CLIENT_MAX;
use crate::record::StoredSession;
use crate::{query, values};

pub(super) fn create(txn: &mut dyn Txn, asked: &CreateSession) -> Result<Outcome, Refusal> {
    let record = &asked.record;
    if !record.is_sound() {
        return Err(Refusal::BadSession);
    }
    let confirmed = client::confirm_client(txn, record.client, record.sequence, &asked.principal)?;
    let before = values::list::<StoredSession>(txn, &key::sessions_of(record.client))?;
    if confirmed.replay {
        // A session that was destroyed since cannot be returned again, and the sequence is used up.
        let made = before.into_iter().find(|session| session.record.sequence == record.sequence);
        let StoredSession { record, tenure } = made.ok_or(Refusal::Misordered)?;
        let created = SessionCreated { record, tenure, replay: true, ended: None, dropped: Vec::new() };
        return Ok(Outcome::SessionCreated(Box::new(created)));
    }
    assert!(before.len() <= SESSIONS_PER_CLIENT_MAX, "a client has no more sessions than it may");
    let ended = (SESSIONS_PER_CLIENT_MAX <= before.len()).then(|| before[0].record.id);
    if let Some(oldest) = ended {
        session_table::remove(txn, &oldest)?;
    }
    let session = StoredSession { record: record.clone(), tenure: 1 };
    assert!(session.record.is_sound(), "a stored session has sound bounds");
    table::put(txn, &key::session(&record.id), &session)?;
    waiting::count_session(txn, true)?;
    let StoredSession { record, tenure } = session;
    let created = SessionCreated { record, tenure, replay: false, ended, dropped: confirmed.dropped };
    Ok(Outcome::SessionCreated(Box::new(created)))
}

pub(super) fn destroy(txn: &mut dyn Txn, asked: &DestroySession) -> Result<Outcome, Refusal> {
    session_table::stored(txn, &asked.session)?;
    session_table::remove(txn, &asked.session)?;
    Ok(Outcome::Done)
}

pub(super) fn resume(txn: &mut dyn Txn, asked: &TakeUpSession) -> Result<Outcome, Refusal> {
    let StoredSession { record, tenure } = session_table::stored(txn, &asked.session)?;
    let session = StoredSession { record, tenure: tenure.wrapping_add(1) };
    assert!(session.tenure != tenure, "a resumed session has another tenure");
    table::put(txn, &key::session(&asked.session), &session)?;
    let slots = query::marks(txn, &asked.session)?;
    let StoredSession { record, tenure } = session;
    Ok(Outcome::SessionTakenUp(Box::new(SessionTakenUp { record, tenure, slots })))
}

pub(super) fn set_callback(txn: &mut dyn Txn, asked: &SetCallback) -> Result<Outcome, Refusal> {
    let mut session = session_table::stored(txn, &asked.session)?;
    session.record.program = asked.program;
    session.record.credential = Some(asked.credential.clone());
    table::put(txn, &key::session(&asked.session), &session)?;
    Ok(Outcome::Done)
}
