//! Names whose hashes collide: the low byte of the cookie distinguishes them. Real names never
//! collide in a test, so their neighbours are forged.

use super::*;
use crate::Superblock;
use crate::inode::{ROOT_INO, Timestamp};
use crate::op::format::{Root, format};
use crate::store::MetaStore;
use crate::store::mem::MemStore;

const NAME: &[u8] = b"name";

fn formatted(store: &MemStore) -> (Box<dyn Txn + '_>, u64) {
    let mut txn = store.begin().unwrap();
    let superblock = Superblock { file_system: [0; 16], handle_key: [0; 32], cookie_key: [7; 32] };
    let root = Root { uid: 0, gid: 0, mode: 0o755 };
    format(&mut *txn, &superblock, root, Timestamp::default()).unwrap();
    (txn, cookie_base(&superblock.cookie_key, NAME))
}

fn forge(txn: &mut dyn Txn, cookie: u64) {
    let other = entry(99, FileType::Regular, b"other");
    txn.put(&keys::dirent(ROOT_INO, cookie), &codec::encode_dirent(&other)).unwrap();
}

#[test]
fn a_colliding_name_takes_the_lowest_free_cookie() {
    let store = MemStore::new();
    let (mut txn, base) = formatted(&store);
    for low in [0, 1, 3] {
        forge(&mut *txn, base + low);
    }
    assert_eq!(find(&*txn, ROOT_INO, NAME).unwrap(), None);
    insert(&mut *txn, ROOT_INO, &entry(5, FileType::Regular, NAME)).unwrap();
    assert_eq!(find(&*txn, ROOT_INO, NAME).unwrap(), Some(Found { cookie: base + 2, ino: 5 }));
    // The name is still found when an earlier neighbour is removed.
    remove(&mut *txn, ROOT_INO, base).unwrap();
    assert_eq!(find(&*txn, ROOT_INO, NAME).unwrap(), Some(Found { cookie: base + 2, ino: 5 }));
}

#[test]
fn a_name_without_a_free_cookie_is_refused() {
    let store = MemStore::new();
    let (mut txn, base) = formatted(&store);
    for low in 0..255 {
        forge(&mut *txn, base + low);
    }
    insert(&mut *txn, ROOT_INO, &entry(5, FileType::Regular, NAME)).unwrap();
    assert_eq!(find(&*txn, ROOT_INO, NAME).unwrap(), Some(Found { cookie: base + 255, ino: 5 }));
    forge(&mut *txn, base + 255);
    let refused = insert(&mut *txn, ROOT_INO, &entry(6, FileType::Regular, NAME));
    assert_eq!(refused, Err(FsError::NoSpace));
}
