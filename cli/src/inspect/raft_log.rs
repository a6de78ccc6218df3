//! A record of a metadata server's Raft log in words.
//!
//! Spec: docs/formats/raft_log.md.

use mds_state::{Entry, EntryError};
use wal::RecordHeader;

use super::sink::Facts;
use super::words;

/// One line about a record. Its payload is read only for entries.
pub(super) fn describe(header: &RecordHeader, payload: &dyn Fn() -> Option<Vec<u8>>) -> (String, Facts) {
    let record = match header.kind {
        1 => "entry",
        2 => "vote",
        3 => "truncate",
        4 => "purge",
        5 => "renewed",
        _ => "unknown",
    };
    let facts = Facts::new(true)
        .with("record", record)
        .with("shard", header.stream)
        .with("index", header.position)
        .with("term", header.epoch);
    (in_words(header, payload), facts)
}

fn in_words(header: &RecordHeader, payload: &dyn Fn() -> Option<Vec<u8>>) -> String {
    let &RecordHeader { kind, role, epoch: term, position: index, .. } = header;
    let line = match (kind, role) {
        (5, 0..=2) => {
            let entry = RecordHeader { kind: 1, ..*header };
            return format!("renewed {}", in_words(&entry, payload));
        }
        (1, 0) => format!("entry {index} term {term}: blank"),
        (1, 1) => format!(
            "entry {index} term {term}: {}",
            payload().map_or_else(unreadable, |bytes| command(&bytes))
        ),
        (1, 2) => format!("entry {index} term {term}: members, {} bytes", header.payload_len),
        (2, 0) => format!("vote for node {index} term {term}"),
        (2, 1) => format!("vote for node {index} term {term}, granted by a majority"),
        (3, 0) => "truncate: all entries are void".to_owned(),
        (3, 1) => format!("truncate: entries behind {index} are void"),
        (4, 0) => format!("purge: entries up to {index} term {term} are in the store"),
        _ => format!("kind {kind} role {role}? term {term} index {index}"),
    };
    match header.stream {
        0 => line,
        shard => format!("shard {shard}: {line}"),
    }
}

fn unreadable() -> String {
    "payload cannot be read".to_owned()
}

fn command(payload: &[u8]) -> String {
    match Entry::decode(payload) {
        Ok(entry) => words::command(&entry),
        Err(EntryError::Version(version)) => {
            format!("command of version {}", version.map_or_else(|| "none".to_owned(), |v| v.to_string()))
        }
        Err(_) => format!("command that does not decode, {} bytes", payload.len()),
    }
}
