//! Pairs of the protocol state in words: clients, opens, locks, layouts, data servers.
//!
//! Spec: docs/formats/state.md.

use layout::LayoutRecord;
use mds_namespace::FsError;
use mds_state::key;
use mds_state::record::{
    ClientCounts, Counters, DataServer, ExportList, Fencing, FileLocks, Governor, Handed, HandleKeys, Intent,
    LockRecord, OpenRecord, OwnerClients, Shares, SlotRecord, StateidTarget, StoreMark, StoredClient,
    StoredSession, Tally, Value, Waiting,
};

use super::words;

/// What a field of a key is.
#[derive(Clone, Copy)]
enum Field {
    U64,
    U32,
    U8,
    /// A stateid's identity.
    Other,
    /// A session's id.
    Session,
    /// An IPv6 address.
    Address,
    /// Kind of state, one byte.
    Kind,
    /// Owner: all the rest.
    Rest,
}

/// The fields of each family of keys, behind its word.
const FAMILIES: [(&str, &[Field]); 34] = [
    ("client", &[Field::U64]),
    ("clients", &[]),
    ("waiting", &[Field::U64]),
    ("waitage", &[Field::U64]),
    ("waitfrom", &[Field::Address, Field::U64]),
    ("owner", &[Field::Rest]),
    ("tally", &[Field::U64]),
    ("stateid", &[Field::Other]),
    ("of", &[Field::U64, Field::Kind, Field::U64, Field::Other]),
    ("open", &[Field::U64, Field::Other]),
    ("opener", &[Field::U64, Field::U64, Field::Rest]),
    ("shares", &[Field::U64]),
    ("lock", &[Field::U64, Field::Other]),
    ("locker", &[Field::U64, Field::U64, Field::Rest]),
    ("locks", &[Field::U64]),
    ("range", &[Field::U64, Field::Other, Field::U64]),
    ("span", &[Field::U64, Field::U8, Field::U8, Field::U8, Field::U64, Field::U64, Field::Other]),
    ("under", &[Field::U64, Field::Other, Field::Other]),
    ("layout", &[Field::U64, Field::U64]),
    ("session", &[Field::Session]),
    ("slot", &[Field::Session, Field::U32]),
    ("server", &[Field::U32]),
    ("draining", &[Field::U32]),
    ("mark", &[Field::Rest]),
    ("removed", &[Field::Rest]),
    ("intent", &[Field::U64, Field::U64]),
    ("governor", &[]),
    ("counters", &[]),
    ("shards", &[]),
    ("exports", &[]),
    ("fencing", &[]),
    ("handle_keys", &[]),
    ("handed", &[Field::U64]),
    ("applied", &[]),
];

/// The word behind `state/`, and what follows it.
fn split(key: &[u8]) -> Option<(&'static str, &'static [Field], &[u8])> {
    let rest = key.strip_prefix(key::PREFIX)?;
    FAMILIES.iter().find_map(|(word, fields)| {
        let behind = rest.strip_prefix(word.as_bytes())?;
        match behind.split_first() {
            None => Some((*word, *fields, behind)),
            Some((b'/', behind)) => Some((*word, *fields, behind)),
            Some(_) => None,
        }
    })
}

/// A key as people write it.
pub(super) fn key_in_words(key: &[u8]) -> String {
    let parts = split(key).and_then(|(word, fields, mut rest)| {
        let mut text = format!("state/{word}");
        for field in fields {
            text.push('/');
            text.push_str(&take(*field, &mut rest)?);
        }
        rest.is_empty().then_some(text)
    });
    parts.unwrap_or_else(|| format!("state/? {}", words::hex(key)))
}

fn take(field: Field, rest: &mut &[u8]) -> Option<String> {
    let length = match field {
        Field::U64 => 8,
        Field::U32 => 4,
        Field::Other => key::OTHER_BYTES,
        Field::Session | Field::Address => 16,
        Field::Kind | Field::U8 => 1,
        Field::Rest => rest.len(),
    };
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(match field {
        Field::U64 | Field::U32 | Field::U8 => {
            bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)).to_string()
        }
        Field::Other | Field::Session => words::hex(bytes),
        Field::Address => words::address(bytes),
        Field::Kind => match bytes[0] {
            1 => "open".to_owned(),
            2 => "lock".to_owned(),
            3 => "layout".to_owned(),
            kind => format!("kind {kind}"),
        },
        Field::Rest => words::bytes(bytes),
    })
}

/// A value as people read it.
pub(super) fn value_in_words(key: &[u8], value: &[u8]) -> Result<String, String> {
    let Some((word, ..)) = split(key) else { return Ok(words::cut(words::hex(value))) };
    let words = match word {
        "client" => client(value),
        "clients" => show::<ClientCounts>(value),
        "waiting" => show::<Waiting>(value),
        "owner" => show::<OwnerClients>(value),
        "tally" => show::<Tally>(value),
        "stateid" => show::<StateidTarget>(value),
        "open" => open(value),
        "shares" => show::<Shares>(value),
        "lock" => lock(value),
        "locks" => show::<FileLocks>(value),
        "layout" => show::<LayoutRecord>(value),
        "server" => server(value),
        "session" => show::<StoredSession>(value),
        "slot" => show::<SlotRecord>(value),
        "intent" => show::<Intent>(value),
        "governor" => show::<Governor>(value),
        "counters" => show::<Counters>(value),
        "exports" => show::<ExportList>(value),
        "fencing" => show::<Fencing>(value),
        "handle_keys" => show::<HandleKeys>(value),
        "handed" => show::<Handed>(value),
        "mark" => show::<StoreMark>(value),
        "shards" => Ok(value
            .try_into()
            .map_or_else(|_| words::hex(value), |number| u32::from_be_bytes(number).to_string())),
        // A stateid's identity, a raw log position, or nothing.
        _ => Ok(words::hex(value)),
    };
    words.map_err(|error| error.to_string())
}

fn show<T: Value + std::fmt::Debug>(value: &[u8]) -> Result<String, FsError> {
    T::decode(value).map(|record| words::fields(&record))
}

fn client(value: &[u8]) -> Result<String, FsError> {
    let StoredClient { record, reclaim_complete } = StoredClient::decode(value)?;
    Ok(format!(
        "owner {} verifier {} confirmed {} sequence {} reclaim complete {reclaim_complete} implementation {:?}",
        words::bytes(&record.owner),
        words::hex(&record.verifier),
        record.confirmed,
        record.sequence,
        record.implementation,
    ))
}

fn open(value: &[u8]) -> Result<String, FsError> {
    let OpenRecord { seqid, client, owner, share, .. } = OpenRecord::decode(value)?;
    let (owner, share) = (words::bytes(&owner), words::fields(&share));
    Ok(format!("client {client} owner {owner} seqid {seqid} {share}"))
}

fn lock(value: &[u8]) -> Result<String, FsError> {
    let LockRecord { seqid, client, owner, open, ranges, .. } = LockRecord::decode(value)?;
    let (owner, open, ranges) = (words::bytes(&owner), words::hex(&open), words::fields(&ranges));
    Ok(format!("client {client} owner {owner} seqid {seqid} open {open} ranges {ranges}"))
}

fn server(value: &[u8]) -> Result<String, FsError> {
    let DataServer { uuid, addresses, control, capacity_bytes, zone, rack, host, name, .. } =
        DataServer::decode(value)?;
    let addresses: Vec<String> = addresses.iter().map(|address| readable(address)).collect();
    let (uuid, addresses) = (words::hex(&uuid), addresses.join(", "));
    Ok(format!(
        "name {name:?} uuid {uuid} addresses {addresses} control {control} capacity {capacity_bytes} zone {zone:?} rack {rack:?} host {host:?}"
    ))
}

/// A universal address as people write it: `10.0.0.1.11.233` is `10.0.0.1:3049` (RFC 5665
/// §5.2.3.3).
fn readable(universal: &str) -> String {
    let parts = || {
        let (rest, low) = universal.rsplit_once('.')?;
        let (host, high) = rest.rsplit_once('.')?;
        let port = u16::from_be_bytes([high.parse().ok()?, low.parse().ok()?]);
        Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    };
    parts().unwrap_or_else(|| universal.to_owned())
}

#[cfg(test)]
mod tests {
    use mds_state::record::StateKind;

    use super::*;

    #[test]
    fn universal_addresses_are_shown_as_people_write_them() {
        assert_eq!(readable("10.77.0.11.11.233"), "10.77.0.11:3049");
        assert_eq!(readable("::1.11.233"), "[::1]:3049");
        assert_eq!(readable("what.300.1"), "what.300.1");
    }

    #[test]
    fn keys_are_written_as_their_document_names_them() {
        let other = *b"abcdefghijkl";
        assert_eq!(key_in_words(&key::client(258)), "state/client/258");
        assert_eq!(
            key_in_words(&key::state_of(9, StateKind::Lock, 3, &other)),
            "state/of/9/lock/3/6162636465666768696a6b6c"
        );
        assert_eq!(key_in_words(&key::opener(1, 2, b"me")), "state/opener/1/2/\"me\"");
        let span = key::span_of(key::span(1, true, 12, 0, 4096, 5000), &other);
        assert_eq!(key_in_words(&span), "state/span/1/1/12/0/4096/5000/6162636465666768696a6b6c");
        let from = key::waiting_from(&std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets(), 9);
        assert_eq!(key_in_words(&from), "state/waitfrom/192.0.2.1/9");
        assert_eq!(key_in_words(&key::file_locks(7)), "state/locks/7");
        assert_eq!(key_in_words(&key::range(7, &other, 9)), "state/range/7/6162636465666768696a6b6c/9");
        assert_eq!(key_in_words(key::COUNTERS), "state/counters");
        assert_eq!(key_in_words(key::SHARDS), "state/shards");
        assert_eq!(key_in_words(key::EXPORTS), "state/exports");
        assert_eq!(key_in_words(key::FENCING), "state/fencing");
        assert_eq!(key_in_words(&key::handed(7)), "state/handed/7");
        assert_eq!(value_in_words(key::SHARDS, &[0, 0, 1, 0]), Ok("256".to_owned()));
        assert_eq!(key_in_words(key::GOVERNOR), "state/governor");
        let id = mds_state::command::governor::IntentId { term: 3, number: 4 };
        assert_eq!(key_in_words(&key::intent(id)), "state/intent/3/4");
        assert_eq!(key_in_words(&key::server(7)), "state/server/7");
        let slot = key_in_words(&key::slot(b"0123456789abcdef", 9));
        assert_eq!(slot, "state/slot/30313233343536373839616263646566/9");
        assert!(key_in_words(&key::client(1)[..15]).starts_with("state/? "));
    }

    #[test]
    fn values_that_do_not_decode_are_told() {
        let counters = Counters::default();
        let words = value_in_words(key::COUNTERS, &counters.encode()).unwrap();
        assert!(words.contains("client: 1"), "{words}");
        let keys = HandleKeys::default().added([0xaa; 32]).unwrap();
        let words = value_in_words(key::HANDLE_KEYS, &keys.encode()).unwrap();
        assert!(words.contains("used: 0") && !words.contains("aa") && !words.contains("170"), "{words}");
        assert!(value_in_words(key::COUNTERS, &[9, 1, 1, 1]).is_err());
        assert!(value_in_words(&key::client(1), &[1]).is_err());
    }
}
