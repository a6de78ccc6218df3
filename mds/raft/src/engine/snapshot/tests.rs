//! Snapshot streams: golden bytes, every cut, every flipped byte.

use mds_namespace::store::mem::MemStore;
use mds_namespace::{Durability, MetaStore};

use super::*;

fn store(pairs: &[(&[u8], &[u8])]) -> MemStore {
    let store = MemStore::new();
    let mut txn = store.begin().unwrap();
    for (key, value) in pairs {
        txn.put(key, value).unwrap();
    }
    txn.commit(Durability::Synced).unwrap();
    store
}

fn stream(store: &MemStore) -> Vec<u8> {
    let mut encoder = Encoder::new(store.view().unwrap());
    let mut bytes = Vec::new();
    while let Some(chunk) = encoder.next_chunk().unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn decode(bytes: &[u8], step: usize) -> Result<Pairs, SnapshotError> {
    let mut decoder = Decoder::new();
    let mut pairs = Pairs::new();
    for part in bytes.chunks(step) {
        pairs.extend(decoder.feed(part)?);
    }
    decoder.finish()?;
    Ok(pairs)
}

#[test]
fn stream_bytes() {
    let bytes = stream(&store(&[(b"a", b"one"), (b"bc", b"")]));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = concat!(
        "53484f414c534e50",
        "01",
        "0000000100000003",
        "61",
        "6f6e65",
        "0000000200000000",
        "6263",
        "00000000"
    );
    assert_eq!(hex[..body.len()], *body);
    assert_eq!(hex[body.len() + 8..], *"0000000000000002");
    for step in [1, 2, 7, 1000] {
        let pairs = decode(&bytes, step).unwrap();
        assert_eq!(pairs, [(b"a".to_vec(), b"one".to_vec()), (b"bc".to_vec(), Vec::new())]);
    }
    assert_eq!(decode(&stream(&store(&[])), 1000), Ok(Pairs::new()));
}

#[test]
fn damaged_streams_are_errors() {
    let bytes = stream(&store(&[(b"a", b"one"), (b"bc", b"two")]));
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end], 5).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(decode(&damaged, 5).is_err(), "flipped at {at}");
    }
    assert_eq!(decode(&[&bytes[..], b"x"].concat(), 1000), Err(SnapshotError::Trailing));
    assert_eq!(decode(&[&bytes[..], b"x"].concat(), bytes.len()), Err(SnapshotError::Trailing));
}

/// Lengths are checked before anything of that length is read.
#[test]
fn absurd_lengths_are_errors() {
    let head = b"SHOALSNP\x01";
    let key = [&head[..], &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]].concat();
    assert_eq!(decode(&key, 1000), Err(SnapshotError::KeyLength(0xffff_ffff)));
    let value = [&head[..], &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]].concat();
    assert_eq!(decode(&value, 1000), Err(SnapshotError::ValueLength(0xffff_ffff)));
    let twice = [&head[..], &[0, 0, 0, 1, 0, 0, 0, 0, b'a', 0, 0, 0, 1, 0, 0, 0, 0, b'a']].concat();
    assert_eq!(decode(&twice, 1000), Err(SnapshotError::Order));
    assert_eq!(decode(b"SHOALSNP\x02", 1000), Err(SnapshotError::Head));
}

/// Keys come in order, and the position is not the last of them.
#[test]
fn an_incomplete_store_has_no_position() {
    let pairs = || vec![(key::APPLIED.to_vec(), vec![1]), (b"state/client/1".to_vec(), vec![2])];
    let store = store(&[(key::APPLIED, b"old")]);
    let cut = [Ok(pairs()), Err(StoreError::Engine("gone".to_owned()))];
    assert!(replace(&store, cut).is_err());
    assert_eq!(store.view().unwrap().get(key::APPLIED), Ok(None));
    // This position is invalid, which is only found when all pairs are written.
    assert!(replace(&store, [Ok(pairs())]).is_err());
    assert_eq!(store.view().unwrap().get(key::APPLIED), Ok(Some(vec![1])));
}
