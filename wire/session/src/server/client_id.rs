//! Client ids: what EXCHANGE_ID and CREATE_SESSION do to a client's record.
//!
//! Decides only. The records, at most one confirmed and one unconfirmed for each owner, live in the
//! replicated store; `mds-state` reads them, asks here, and writes what comes out. A principal is
//! bytes that are equal for the same user.
//!
//! INVARIANT: a client id changes hands never: a restarted or different client gets a fresh one.
//! Spec: RFC 8881 §2.4, §18.35.4, §18.35.5, §18.36.4.

use serde::{Deserialize, Serialize};
use wire_nfs::v4::Nfsstat4;

/// What is known of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The client id.
    pub client: u64,
    /// `co_ownerid`: stays over restarts of the client.
    pub owner: Vec<u8>,
    /// `co_verifier`: changes with each restart of the client.
    pub verifier: [u8; 8],
    /// Who made it.
    pub principal: Vec<u8>,
    /// A session was made with it.
    pub confirmed: bool,
    /// The sequence of the last CREATE_SESSION that was carried out; 0 before the first.
    pub sequence: u32,
    /// What the client says it runs.
    pub implementation: String,
}

impl ClientRecord {
    /// `eir_sequenceid`: what the next CREATE_SESSION has to carry.
    #[must_use]
    pub fn sequence_next(&self) -> u32 {
        self.sequence.wrapping_add(1)
    }
}

/// EXCHANGE_ID, as far as the record is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// `co_ownerid`.
    pub owner: &'a [u8],
    /// `co_verifier`.
    pub verifier: [u8; 8],
    /// Who calls.
    pub principal: &'a [u8],
    /// EXCHGID4_FLAG_UPD_CONFIRMED_REC_A.
    pub update: bool,
    /// What the client says it runs.
    pub implementation: &'a str,
    /// The confirmed record of this owner has sessions, opens, locks or layouts, and its lease has
    /// not run out.
    pub holds_state: bool,
    /// The client id of a record that has to be made.
    pub fresh_client: u64,
}

/// What EXCHANGE_ID does. The numbers are those of the cases in §18.35.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeDecision {
    /// 1, 3, 4, 5: keep this new, unconfirmed record.
    Create {
        /// What to keep.
        record: ClientRecord,
        /// 4: an unconfirmed record of the same owner that goes at once. It never had state.
        removes: Option<u64>,
        /// 3: a confirmed record that goes at once. It has no state any more.
        evicts: Option<u64>,
        /// 5: a confirmed record that goes, with its state, when the new one is confirmed.
        replaces: Option<u64>,
    },
    /// 2: the client is known; the record stays as it is.
    Known {
        /// Its client id.
        client: u64,
        /// What its next CREATE_SESSION has to carry.
        sequence: u32,
    },
    /// 6: keep this in place of the confirmed record.
    Update {
        /// What to keep.
        record: ClientRecord,
    },
    /// 3, 7, 8, 9: nothing is changed.
    Refuse(ExchangeError),
}

/// Why EXCHANGE_ID is refused. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// 3: another principal has state under this owner.
    #[error("client owner is in use by another principal")]
    InUse,
    /// 7: there is no confirmed record to update.
    #[error("no confirmed client to update")]
    NoRecord,
    /// 8: the record to update is of another incarnation of the client.
    #[error("client to update has another verifier")]
    OtherVerifier,
    /// 9: the record to update is another principal's.
    #[error("client to update has another principal")]
    OtherPrincipal,
}

impl ExchangeError {
    /// The status on the wire.
    #[must_use]
    pub fn status(self) -> Nfsstat4 {
        match self {
            Self::InUse => Nfsstat4::ClidInuse,
            Self::NoRecord => Nfsstat4::Noent,
            Self::OtherVerifier => Nfsstat4::NotSame,
            Self::OtherPrincipal => Nfsstat4::Perm,
        }
    }
}

/// Decides EXCHANGE_ID over the records of its owner.
#[must_use]
pub fn decide_exchange(
    confirmed: Option<&ClientRecord>,
    unconfirmed: Option<&ClientRecord>,
    asked: &Exchange<'_>,
) -> ExchangeDecision {
    assert!(confirmed.is_none_or(|record| record.confirmed), "the caller sorted the records");
    assert!(unconfirmed.is_none_or(|record| !record.confirmed), "the caller sorted the records");
    let has_fresh_id = |record: &ClientRecord| record.client == asked.fresh_client;
    assert!(!confirmed.is_some_and(has_fresh_id), "a fresh client id is not in use");
    assert!(!unconfirmed.is_some_and(has_fresh_id), "a fresh client id is not in use");
    let removes = unconfirmed.map(|record| record.client);
    let create = |evicts, replaces| ExchangeDecision::Create {
        record: fresh_record(asked),
        removes,
        evicts,
        replaces,
    };
    let Some(record) = confirmed else {
        // Case 7 leaves an unconfirmed record alone; case 4 replaces it, even by its equal; case 1
        // has none.
        return if asked.update {
            ExchangeDecision::Refuse(ExchangeError::NoRecord)
        } else {
            create(None, None)
        };
    };
    let same_principal = record.principal == asked.principal;
    let same_verifier = record.verifier == asked.verifier;
    match (asked.update, same_principal, same_verifier) {
        (true, false, _) => ExchangeDecision::Refuse(ExchangeError::OtherPrincipal),
        (true, true, false) => ExchangeDecision::Refuse(ExchangeError::OtherVerifier),
        (true, true, true) => ExchangeDecision::Update {
            record: ClientRecord { implementation: asked.implementation.to_owned(), ..record.clone() },
        },
        (false, true, true) => {
            ExchangeDecision::Known { client: record.client, sequence: record.sequence_next() }
        }
        (false, true, false) => create(None, Some(record.client)),
        (false, false, _) if asked.holds_state => ExchangeDecision::Refuse(ExchangeError::InUse),
        (false, false, _) => create(Some(record.client), None),
    }
}

fn fresh_record(asked: &Exchange<'_>) -> ClientRecord {
    ClientRecord {
        client: asked.fresh_client,
        owner: asked.owner.to_vec(),
        verifier: asked.verifier,
        principal: asked.principal.to_vec(),
        confirmed: false,
        sequence: 0,
        implementation: asked.implementation.to_owned(),
    }
}

/// What CREATE_SESSION does to the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmDecision {
    /// Keep this record, now confirmed, and make a session. Another confirmed record of the same
    /// owner goes with its state.
    Confirm {
        /// What to keep.
        record: ClientRecord,
    },
    /// The last CREATE_SESSION again: answer as then.
    Replay,
    /// Nothing is changed.
    Refuse(ConfirmError),
}

/// Why CREATE_SESSION is refused for its record's sake. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// The sequence is neither the last nor the next.
    #[error("create-session sequence is out of order")]
    Misordered,
    /// Another principal made the record, and it is not confirmed.
    #[error("client id was made by another principal")]
    InUse,
}

impl ConfirmError {
    /// The status on the wire.
    #[must_use]
    pub fn status(self) -> Nfsstat4 {
        match self {
            Self::Misordered => Nfsstat4::SeqMisordered,
            Self::InUse => Nfsstat4::ClidInuse,
        }
    }
}

/// Decides the part of CREATE_SESSION that is about the client record: its own slot, and the
/// confirmation.
///
/// A request that is refused for its arguments (TOOSMALL, INVAL) must not come here: it uses up no
/// sequence.
#[must_use]
pub fn decide_confirm(record: &ClientRecord, sequence: u32, principal: &[u8]) -> ConfirmDecision {
    if sequence == record.sequence {
        // RFC 8881 §18.36.4: before the first session the slot holds a made-up answer,
        // SEQ_MISORDERED.
        return if record.confirmed {
            ConfirmDecision::Replay
        } else {
            ConfirmDecision::Refuse(ConfirmError::Misordered)
        };
    }
    if sequence != record.sequence_next() {
        return ConfirmDecision::Refuse(ConfirmError::Misordered);
    }
    // Only the confirmation has to come from the principal of EXCHANGE_ID. Later sessions, and
    // answers that are given again, are for every caller that knows the client id (SP4_NONE; pynfs
    // CSESS10): it is not told to others and cannot be guessed.
    if !record.confirmed && record.principal != principal {
        return ConfirmDecision::Refuse(ConfirmError::InUse);
    }
    ConfirmDecision::Confirm { record: ClientRecord { confirmed: true, sequence, ..record.clone() } }
}

#[cfg(test)]
mod tests;
