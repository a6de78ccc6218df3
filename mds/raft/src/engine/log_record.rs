//! Raft's records in the log engine (docs/formats/raft_log.md): the meaning of header fields.
//!
//! Only entries have a payload; votes and cuts fit a record's header, so that recovery needs no
//! reads to know which entries are still in force.

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;
use wal::{Record, RecordHeader};

use super::type_config::{LogId, Membership, RaftEntry, Vote, log_id};

const KIND_ENTRY: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_TRUNCATE: u8 = 3;
const KIND_PURGE: u8 = 4;
const KIND_RENEWED: u8 = 5;

const PAYLOAD_BLANK: u8 = 0;
const PAYLOAD_COMMAND: u8 = 1;
const PAYLOAD_MEMBERSHIP: u8 = 2;

/// The event in a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogEvent {
    /// An entry; its content is the payload.
    Entry(LogId),
    /// A rewritten entry that is in force already.
    Renewed(LogId),
    /// The current vote.
    Vote(Vote),
    /// Entries behind this index are void; all are for `None`.
    Truncate(Option<u64>),
    /// Entries up to this one are in the store.
    Purge(LogId),
}

/// A record of an unknown kind or role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log record of kind {kind}, role {role} is not known")]
pub(crate) struct UnknownRecord {
    kind: u8,
    role: u8,
}

pub(crate) fn entry_record(stream: u64, entry: &RaftEntry) -> Record {
    let (role, payload) = match &entry.payload {
        EntryPayload::Blank => (PAYLOAD_BLANK, Vec::new()),
        EntryPayload::Normal(encoded) => (PAYLOAD_COMMAND, vec![encoded.bytes.clone()]),
        EntryPayload::Membership(members) => (PAYLOAD_MEMBERSHIP, vec![encode_members(members)]),
    };
    Record {
        kind: KIND_ENTRY,
        role,
        stream,
        epoch: entry.log_id.committed_leader_id().term,
        position: entry.log_id.index(),
        payload,
        ..Record::default()
    }
}

/// A rewritten entry of a group that would keep old segments from being freed.
pub(crate) fn renewed_record(stream: u64, entry: &RaftEntry) -> Record {
    Record { kind: KIND_RENEWED, ..entry_record(stream, entry) }
}

pub(crate) fn vote_record(stream: u64, vote: &Vote) -> Record {
    Record {
        kind: KIND_VOTE,
        role: u8::from(vote.committed),
        stream,
        epoch: vote.leader_id.term,
        position: vote.leader_id.voted_for,
        ..Record::default()
    }
}

pub(crate) fn truncate_record(stream: u64, last_kept: Option<u64>) -> Record {
    Record {
        kind: KIND_TRUNCATE,
        role: u8::from(last_kept.is_some()),
        stream,
        position: last_kept.unwrap_or(0),
        ..Record::default()
    }
}

pub(crate) fn purge_record(stream: u64, upto: &LogId) -> Record {
    Record {
        kind: KIND_PURGE,
        stream,
        epoch: upto.committed_leader_id().term,
        position: upto.index(),
        ..Record::default()
    }
}

pub(crate) fn event(header: &RecordHeader) -> Result<LogEvent, UnknownRecord> {
    match (header.kind, header.role) {
        (KIND_ENTRY, PAYLOAD_BLANK..=PAYLOAD_MEMBERSHIP) => {
            Ok(LogEvent::Entry(log_id(header.epoch, header.position)))
        }
        (KIND_RENEWED, PAYLOAD_BLANK..=PAYLOAD_MEMBERSHIP) => {
            Ok(LogEvent::Renewed(log_id(header.epoch, header.position)))
        }
        (KIND_VOTE, committed @ 0..=1) => {
            let leader_id = LeaderId { term: header.epoch, voted_for: header.position };
            Ok(LogEvent::Vote(Vote { leader_id, committed: committed == 1 }))
        }
        (KIND_TRUNCATE, 0) => Ok(LogEvent::Truncate(None)),
        (KIND_TRUNCATE, 1) => Ok(LogEvent::Truncate(Some(header.position))),
        (KIND_PURGE, 0) => Ok(LogEvent::Purge(log_id(header.epoch, header.position))),
        (kind, role) => Err(UnknownRecord { kind, role }),
    }
}

/// The entry that a record holds; `None` if the bytes are no such entry.
pub(crate) fn entry(header: &RecordHeader, payload: Bytes) -> Option<RaftEntry> {
    let (LogEvent::Entry(log_id) | LogEvent::Renewed(log_id)) = event(header).ok()? else { return None };
    let payload = match header.role {
        PAYLOAD_BLANK if payload.is_empty() => EntryPayload::Blank,
        PAYLOAD_COMMAND => EntryPayload::Normal(payload.into()),
        PAYLOAD_MEMBERSHIP => EntryPayload::Membership(decode_members(&payload)?),
        _ => return None,
    };
    Some(RaftEntry { log_id, payload })
}

fn encode_members(members: &Membership) -> Bytes {
    let bytes = postcard::to_stdvec(members).expect("members are plain numbers and strings");
    debug_assert!(decode_members(&bytes).is_some(), "members that are written can be read");
    bytes.into()
}

fn decode_members(bytes: &[u8]) -> Option<Membership> {
    match postcard::take_from_bytes(bytes) {
        Ok((members, [])) => Some(members),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
