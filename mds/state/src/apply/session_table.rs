//! Reads and removes sessions as stored. The records of a session's slots go with it.

use mds_namespace::{Txn, View};

use super::waiting;
use crate::command::Refusal;
use crate::key;
use crate::record::StoredSession;
use crate::{query, values};

pub(super) fn stored(view: &dyn View, id: &[u8; 16]) -> Result<StoredSession, Refusal> {
    values::read(view, &key::session(id))?.ok_or(Refusal::NoSuchSession)
}

/// Removes a session and the records of its slots.
pub(super) fn remove(txn: &mut dyn Txn, session: &[u8; 16]) -> Result<(), Refusal> {
    for mark in query::marks(txn, session)? {
        txn.delete(&key::slot(session, mark.slot))?;
    }
    debug_assert!(query::marks(txn, session)?.is_empty(), "a session leaves no records of slots");
    txn.delete(&key::session(session))?;
    waiting::count_session(txn, false)
}

/// Removes all sessions of a client.
pub(super) fn remove_all(txn: &mut dyn Txn, client: u64) -> Result<(), Refusal> {
    for session in values::list::<StoredSession>(txn, &key::sessions_of(client))? {
        remove(txn, &session.record.id)?;
    }
    debug_assert!(
        values::list::<StoredSession>(txn, &key::sessions_of(client))?.is_empty(),
        "no session is left of a client that is gone"
    );
    Ok(())
}
