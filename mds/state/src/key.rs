//! Keys of the protocol state (docs/formats/state.md).
//!
//! INVARIANT: numbers are big-endian, so that keys sort as their fields do.

use mds_namespace::store::spread::Belongs;
use mds_namespace::{Ino, keys};

use crate::command::client::Address;
use crate::command::governor::IntentId;
use crate::stateid::StateKind;

pub use crate::stateid::OTHER_BYTES;

/// All keys of this crate begin with this prefix.
pub const PREFIX: &[u8] = b"state/";

/// Next numbers.
pub const COUNTERS: &[u8] = b"state/counters";

/// Last applied log position.
pub const APPLIED: &[u8] = b"state/applied";

/// The governor of this shard; absent in shard 0.
pub const GOVERNOR: &[u8] = b"state/governor";

/// All intents of acts on several shards that this shard coordinates.
pub const INTENTS: &[u8] = b"state/intent/";

/// The cluster's exports, in shard 0.
pub const EXPORTS: &[u8] = b"state/exports";

/// Exports whose old data-server handles must be fenced, in shard 0.
pub const FENCING: &[u8] = b"state/fencing";

/// Good handle keys, in shard 0; absent while the first one is good.
pub const HANDLE_KEYS: &[u8] = b"state/handle_keys";

/// All files with data-server handles that were given out, with the exports.
pub const HANDED: &[u8] = b"state/handed/";

/// How many shards the cluster has, in shard 0.
pub const SHARDS: &[u8] = b"state/shards";

/// How much state each client has.
pub const TALLIES: &[u8] = b"state/tally/";

/// All records of slots.
pub const SLOTS: &[u8] = b"state/slot/";

/// All clients.
pub const CLIENTS: &[u8] = b"state/client/";
/// All sessions.
pub const SESSIONS: &[u8] = b"state/session/";

/// How many clients there are.
pub const CLIENT_COUNTS: &[u8] = b"state/clients";

/// All clients without a session, oldest first.
pub const WAITING_BY_AGE: &[u8] = b"state/waitage/";

/// All layouts.
pub const LAYOUTS: &[u8] = b"state/layout/";

/// All data servers.
pub const SERVERS: &[u8] = b"state/server/";

/// All data servers that are drained.
pub const DRAINING: &[u8] = b"state/draining/";

fn join(word: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    debug_assert!(word.starts_with(PREFIX), "all keys of this crate have one prefix");
    let len = word.len() + fields.iter().map(|field| field.len()).sum::<usize>();
    let mut key = Vec::with_capacity(len);
    key.extend_from_slice(word);
    for field in fields {
        key.extend_from_slice(field);
    }
    assert!(key.len() == len, "a key has room for its fields from the start");
    key
}

/// Words of keys that continue with an inode number.
const OF_INODES: [&[u8]; 11] = [
    b"state/open/",
    b"state/opener/",
    b"state/shares/",
    b"state/lock/",
    b"state/locker/",
    b"state/locks/",
    b"state/range/",
    b"state/span/",
    b"state/under/",
    LAYOUTS,
    HANDED,
];

/// The word of keys that continue with a stateid, which contains the shard's number.
const OF_STATEIDS: &[u8] = b"state/stateid/";

/// Words of keys that each shard may have.
const OF_EACH: [&[u8]; 4] = [b"state/of/", SLOTS, TALLIES, INTENTS];

/// The shard that a key, and all keys that begin with it, belong to.
///
/// Spec: docs/formats/state.md; docs/formats/namespace.md.
#[must_use]
pub fn belongs(key: &[u8]) -> Belongs {
    let numbered = |rest: &[u8]| {
        let high = rest.first_chunk::<2>();
        high.map_or(Belongs::ToAny, |high| Belongs::To(u16::from_be_bytes(*high)))
    };
    if let Some(rest) = OF_INODES.iter().find_map(|word| key.strip_prefix(*word)) {
        return numbered(rest);
    }
    if let Some(other) = key.strip_prefix(OF_STATEIDS) {
        return other
            .get(2..4)
            .map_or(Belongs::ToAny, |high| Belongs::To(u16::from_be_bytes([high[0], high[1]])));
    }
    // Keys that begin with a part of such a word may continue with the rest of it.
    let elsewhere = || OF_INODES.iter().chain(&OF_EACH).chain(&[OF_STATEIDS]);
    if OF_EACH.iter().any(|word| key.starts_with(word)) || elsewhere().any(|word| word.starts_with(key)) {
        return Belongs::ToAny;
    }
    match key.split_first() {
        Some((&keys::TAG_SUPER | b's', _)) => Belongs::To(0),
        Some((&keys::TAG_IMAGE, _)) | None => Belongs::ToAny,
        Some((_, rest)) => numbered(rest),
    }
}

/// The first key behind all that begin with `prefix`.
#[must_use]
pub fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    let last = end.iter().rposition(|byte| *byte != 0xff).expect("our prefixes begin with letters");
    end.truncate(last + 1);
    end[last] += 1;
    debug_assert!(prefix < end.as_slice(), "the end of a range lies behind its keys");
    end
}

/// A client's record.
#[must_use]
pub fn client(client: u64) -> Vec<u8> {
    join(CLIENTS, &[&client.to_be_bytes()])
}

/// The time since when, and the address from which, a client without a session waits.
#[must_use]
pub fn waiting(client: u64) -> Vec<u8> {
    join(b"state/waiting/", &[&client.to_be_bytes()])
}

/// A client without a session, by its age.
#[must_use]
pub fn waiting_by_age(number: u64) -> Vec<u8> {
    join(WAITING_BY_AGE, &[&number.to_be_bytes()])
}

/// A client without a session, by its address and age.
#[must_use]
pub fn waiting_from(address: &Address, number: u64) -> Vec<u8> {
    join(b"state/waitfrom/", &[address, &number.to_be_bytes()])
}

/// All clients without a session of an address.
#[must_use]
pub fn waiting_from_all(address: &Address) -> Vec<u8> {
    join(b"state/waitfrom/", &[address])
}

/// From a client owner to its client ids.
#[must_use]
pub fn owner(owner: &[u8]) -> Vec<u8> {
    join(b"state/owner/", &[owner])
}

/// How much state a client has.
#[must_use]
pub fn tally(client: u64) -> Vec<u8> {
    join(TALLIES, &[&client.to_be_bytes()])
}

/// From a stateid's identity to what it names.
#[must_use]
pub fn stateid(other: &[u8; OTHER_BYTES]) -> Vec<u8> {
    join(OF_STATEIDS, &[other])
}

/// All state of a client.
#[must_use]
pub fn of_client(client: u64) -> Vec<u8> {
    join(b"state/of/", &[&client.to_be_bytes()])
}

/// All state of one kind of a client.
#[must_use]
pub fn of_kind(client: u64, kind: StateKind) -> Vec<u8> {
    join(b"state/of/", &[&client.to_be_bytes(), &[kind.number()]])
}

/// One state of a client.
#[must_use]
pub fn state_of(client: u64, kind: StateKind, ino: Ino, other: &[u8; OTHER_BYTES]) -> Vec<u8> {
    join(b"state/of/", &[&client.to_be_bytes(), &[kind.number()], &ino.to_be_bytes(), other])
}

/// Parses a key made by [`state_of`].
#[must_use]
pub fn parse_state_of(key: &[u8]) -> Option<(u64, StateKind, Ino, [u8; OTHER_BYTES])> {
    let fields = key.strip_prefix(b"state/of/")?;
    let (client, rest) = fields.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first()?;
    let (ino, rest) = rest.split_first_chunk::<8>()?;
    let other: [u8; OTHER_BYTES] = rest.try_into().ok()?;
    let (client, ino) = (u64::from_be_bytes(*client), u64::from_be_bytes(*ino));
    let kind = StateKind::of_number(*kind)?;
    debug_assert!(state_of(client, kind, ino, &other) == key, "a key that is parsed is made again");
    Some((client, kind, ino, other))
}

/// All opens of a file.
#[must_use]
pub fn opens(ino: Ino) -> Vec<u8> {
    join(b"state/open/", &[&ino.to_be_bytes()])
}

/// One open.
#[must_use]
pub fn open(ino: Ino, other: &[u8; OTHER_BYTES]) -> Vec<u8> {
    join(b"state/open/", &[&ino.to_be_bytes(), other])
}

/// From an open-owner to its open of a file.
#[must_use]
pub fn opener(ino: Ino, client: u64, owner: &[u8]) -> Vec<u8> {
    join(b"state/opener/", &[&ino.to_be_bytes(), &client.to_be_bytes(), owner])
}

/// The share reservations of a file, summed up.
#[must_use]
pub fn shares(ino: Ino) -> Vec<u8> {
    join(b"state/shares/", &[&ino.to_be_bytes()])
}

/// All locks of a file.
#[must_use]
pub fn locks(ino: Ino) -> Vec<u8> {
    join(b"state/lock/", &[&ino.to_be_bytes()])
}

/// One lock stateid.
#[must_use]
pub fn lock(ino: Ino, other: &[u8; OTHER_BYTES]) -> Vec<u8> {
    join(b"state/lock/", &[&ino.to_be_bytes(), other])
}

/// From a lock-owner to its lock stateid on a file.
#[must_use]
pub fn locker(ino: Ino, client: u64, owner: &[u8]) -> Vec<u8> {
    join(b"state/locker/", &[&ino.to_be_bytes(), &client.to_be_bytes(), owner])
}

/// The sum of the locks of a file.
#[must_use]
pub fn file_locks(ino: Ino) -> Vec<u8> {
    join(b"state/locks/", &[&ino.to_be_bytes()])
}

/// The first byte of a lock stateid's range that ends at this byte; a scan from here finds later
/// ranges.
#[must_use]
pub fn range(ino: Ino, other: &[u8; OTHER_BYTES], last: u64) -> Vec<u8> {
    join(b"state/range/", &[&ino.to_be_bytes(), other, &last.to_be_bytes()])
}

/// All ranges of one lock stateid.
#[must_use]
pub fn ranges(ino: Ino, other: &[u8; OTHER_BYTES]) -> Vec<u8> {
    join(b"state/range/", &[&ino.to_be_bytes(), other])
}

/// The last byte in a key made by [`range`].
#[must_use]
pub fn parse_range(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

/// The entries of a file's interval tree at one node, of one side, from a point on
/// (docs/formats/state.md, locks).
#[must_use]
pub fn span(ino: Ino, exclusive: bool, level: u8, side: u8, base: u64, point: u64) -> Vec<u8> {
    let of_node = [u8::from(exclusive), level, side];
    join(b"state/span/", &[&ino.to_be_bytes(), &of_node, &base.to_be_bytes(), &point.to_be_bytes()])
}

/// One entry of such a node.
#[must_use]
pub fn span_of(node: Vec<u8>, other: &[u8; OTHER_BYTES]) -> Vec<u8> {
    let mut key = node;
    key.extend_from_slice(other);
    key
}

/// The point and the lock stateid in a key made by [`span_of`].
#[must_use]
pub fn parse_span(key: &[u8]) -> Option<(u64, [u8; OTHER_BYTES])> {
    let (rest, other) = key.split_last_chunk::<OTHER_BYTES>()?;
    Some((u64::from_be_bytes(*rest.last_chunk::<8>()?), *other))
}

/// All lock stateids under an open.
#[must_use]
pub fn locks_under(ino: Ino, open: &[u8; OTHER_BYTES]) -> Vec<u8> {
    join(b"state/under/", &[&ino.to_be_bytes(), open])
}

/// A lock stateid under an open.
#[must_use]
pub fn lock_under(ino: Ino, open: &[u8; OTHER_BYTES], other: &[u8; OTHER_BYTES]) -> Vec<u8> {
    join(b"state/under/", &[&ino.to_be_bytes(), open, other])
}

/// The lock stateid in a key made by [`lock_under`].
#[must_use]
pub fn parse_lock_under(key: &[u8]) -> Option<[u8; OTHER_BYTES]> {
    key.last_chunk::<OTHER_BYTES>().copied()
}

/// All layouts of a file.
#[must_use]
pub fn layouts(ino: Ino) -> Vec<u8> {
    join(LAYOUTS, &[&ino.to_be_bytes()])
}

/// One client's layout of a file.
#[must_use]
pub fn layout(ino: Ino, client: u64) -> Vec<u8> {
    join(LAYOUTS, &[&ino.to_be_bytes(), &client.to_be_bytes()])
}

/// The client in a key made by [`layout()`].
#[must_use]
pub fn parse_layout(key: &[u8]) -> Option<(Ino, u64)> {
    let fields = key.strip_prefix(LAYOUTS)?;
    let (ino, client) = fields.split_first_chunk::<8>()?;
    let (ino, client) = (u64::from_be_bytes(*ino), u64::from_be_bytes(client.try_into().ok()?));
    debug_assert!(layout(ino, client) == key, "a key that is parsed is made again");
    Some((ino, client))
}

/// The exports through which data-server handles of a file were given out.
#[must_use]
pub fn handed(ino: Ino) -> Vec<u8> {
    join(HANDED, &[&ino.to_be_bytes()])
}

/// The file in a key made by [`handed`].
#[must_use]
pub fn parse_handed(key: &[u8]) -> Option<Ino> {
    let ino = u64::from_be_bytes(key.strip_prefix(HANDED)?.try_into().ok()?);
    debug_assert!(handed(ino) == key, "a key that is parsed is made again");
    Some(ino)
}

/// All sessions of a client, oldest first: a session's id begins with its client and the sequence
/// that made it.
#[must_use]
pub fn sessions_of(client: u64) -> Vec<u8> {
    join(SESSIONS, &[&client.to_be_bytes()])
}

/// A session.
#[must_use]
pub fn session(id: &[u8; 16]) -> Vec<u8> {
    join(SESSIONS, &[id])
}

/// The records of all slots of a session.
#[must_use]
pub fn slots(session: &[u8; 16]) -> Vec<u8> {
    join(SLOTS, &[session])
}

/// The records of all slots of all sessions of a client.
#[must_use]
pub fn slots_of_client(client: u64) -> Vec<u8> {
    join(SLOTS, &[&client.to_be_bytes()])
}

/// The record of a slot.
#[must_use]
pub fn slot(session: &[u8; 16], slot: u32) -> Vec<u8> {
    join(SLOTS, &[session, &slot.to_be_bytes()])
}

/// The slot in a key made by [`slot()`].
#[must_use]
pub fn parse_slot(key: &[u8]) -> Option<([u8; 16], u32)> {
    let (session, number) = key.strip_prefix(SLOTS)?.split_first_chunk::<16>()?;
    let number = u32::from_be_bytes(number.try_into().ok()?);
    debug_assert!(slot(session, number) == key, "a key that is parsed is made again");
    Some((*session, number))
}

/// The intent of an act on several shards that this shard coordinates.
#[must_use]
pub fn intent(id: IntentId) -> Vec<u8> {
    join(INTENTS, &[&id.term.to_be_bytes(), &id.number.to_be_bytes()])
}

/// The id in a key made by [`intent`].
#[must_use]
pub fn parse_intent(key: &[u8]) -> Option<IntentId> {
    let (term, number) = key.strip_prefix(INTENTS)?.split_first_chunk::<8>()?;
    let id =
        IntentId { term: u64::from_be_bytes(*term), number: u64::from_be_bytes(number.try_into().ok()?) };
    debug_assert!(intent(id) == key, "a key that is parsed is made again");
    Some(id)
}

/// One data server.
#[must_use]
pub fn server(id: u32) -> Vec<u8> {
    join(SERVERS, &[&id.to_be_bytes()])
}

/// Marks a data server that is drained.
#[must_use]
pub fn draining(id: u32) -> Vec<u8> {
    join(DRAINING, &[&id.to_be_bytes()])
}

/// The data server in a key made by [`draining`].
#[must_use]
pub fn parse_draining(key: &[u8]) -> Option<u32> {
    let id = u32::from_be_bytes(key.strip_prefix(DRAINING)?.try_into().ok()?);
    debug_assert!(draining(id) == key, "a key that is parsed is made again");
    Some(id)
}

/// The position of a data server's journal, by the identity of its store.
#[must_use]
pub fn mark(uuid: &[u8; 16]) -> Vec<u8> {
    join(b"state/mark/", &[uuid])
}

/// A data server that was removed, by the identity of its store.
#[must_use]
pub fn removed(uuid: &[u8; 16]) -> Vec<u8> {
    join(b"state/removed/", &[uuid])
}

#[cfg(test)]
mod tests;
