//! An entry of the Raft log, read from bytes and written to bytes.

use mds_state::Entry;

/// An entry as `mds/state/src/entry.rs` reads it behind its version byte.
pub(super) fn entry(bytes: &[u8]) -> Option<Entry> {
    match postcard::take_from_bytes(bytes) {
        Ok((entry, [])) => Some(entry),
        Ok(_) | Err(_) => None,
    }
}

pub(super) fn entry_bytes(entry: &Entry) -> Vec<u8> {
    postcard::to_extend(entry, Vec::new()).expect("entries are numbers, bytes and strings")
}
