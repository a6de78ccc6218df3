//! The same acts on one store, and planned over three and written part by part: same results, same
//! tree.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;

use mds_namespace::op::create::{NewObject, create};
use mds_namespace::op::format::{Root, format, format_shard};
use mds_namespace::op::readdir::{PageLimit, readdir_with_inodes};
use mds_namespace::op::rename::{Place, rename};
use mds_namespace::op::write_part::write_part;
use mds_namespace::op::{link, reap, remove};
use mds_namespace::store::draft::{Draft, Part, Write};
use mds_namespace::store::mem::MemStore;
use mds_namespace::store::spread::{Belongs, SpreadView};
use mds_namespace::{
    Caller, Durability, FsError, Ino, Inode, Kind, MetaStore, ROOT_INO, SetAttributes, Superblock, Timestamp,
    Txn, inode_table, keys, shard_of, superblock,
};
use proptest::prelude::*;

const SHARDS: u16 = 3;
const ROOT: Caller = Caller { uid: 0, gid: 0, gids: Vec::new() };
const ALL: PageLimit = PageLimit { entries_max: 4096, bytes_max: usize::MAX, entry_overhead_bytes: 0 };
const KEYS: Superblock = Superblock { file_system: [1; 16], handle_key: [2; 32], cookie_key: [3; 32] };

fn belongs(key: &[u8]) -> Belongs {
    match key {
        [keys::TAG_SUPER, ..] => Belongs::To(0),
        [_, high, low, ..] => Belongs::To(u16::from_be_bytes([*high, *low])),
        _ => Belongs::ToAny,
    }
}

/// An act on the objects it names, whatever their numbers are.
trait Act: FnOnce(&mut dyn Txn) -> Result<Option<Inode>, FsError> {}
impl<F: FnOnce(&mut dyn Txn) -> Result<Option<Inode>, FsError>> Act for F {}

/// One store, or three that act as one.
struct Stage {
    stores: Vec<MemStore>,
    parts: usize,
}

impl Stage {
    fn new(shards: u16) -> Self {
        let stores: Vec<MemStore> = (0..shards).map(|_| MemStore::new()).collect();
        for (shard, store) in (0_u16..).zip(&stores) {
            let mut txn = store.begin().unwrap();
            match shard {
                0 => {
                    let root = Root { uid: 0, gid: 0, mode: 0o777 };
                    format(&mut *txn, &KEYS, root, Timestamp::default()).map(drop).unwrap();
                }
                _ => format_shard(&mut *txn, &KEYS, shard).unwrap(),
            }
            txn.commit(Durability::Memory).unwrap();
        }
        Self { stores, parts: 0 }
    }

    fn view(&self) -> SpreadView<'_> {
        let count = u16::try_from(self.stores.len()).unwrap();
        SpreadView::new(count, Box::new(|number| self.stores[usize::from(number)].view()), belongs)
    }

    fn on<T>(&self, shard: u16, act: impl FnOnce(&mut dyn Txn) -> T) -> T {
        let mut txn = self.stores[usize::from(shard)].begin().unwrap();
        let outcome = act(&mut *txn);
        txn.commit(Durability::Memory).unwrap();
        outcome
    }

    /// Carries out an act; a new object is in shard `new_in`, if there are so many.
    fn act(&mut self, new_in: u16, act: impl Act) -> Result<Option<Inode>, FsError> {
        if self.stores.len() == 1 {
            return self.on(0, |txn| act(txn));
        }
        let reserved = self.on(new_in, |txn| superblock::reserve_inodes(txn, 1).unwrap());
        let view = self.view();
        let mut draft = Draft::new(&view, Some(reserved)).unwrap();
        let outcome = act(&mut draft)?;
        let parts = draft.parts().unwrap();
        drop(view);
        self.parts = self.parts.max(parts.len());
        // Parts may be written in any order, and repeatedly.
        for Part { shard, writes } in parts.iter().rev().chain(&parts) {
            self.on(*shard, |txn| write_part(txn, writes)).unwrap();
        }
        Ok(outcome)
    }

    fn find(&self, directory: Ino, name: &[u8]) -> Option<Inode> {
        let view = self.view();
        let caller = ROOT;
        mds_namespace::op::lookup::lookup(&view, &caller, directory, name).ok()
    }

    /// Every path: kind, links, size.
    fn tree(&self) -> BTreeMap<String, (Kind, u32, u64)> {
        let (view, mut tree, mut left) = (self.view(), BTreeMap::new(), vec![(String::new(), ROOT_INO)]);
        while let Some((path, directory)) = left.pop() {
            let inode = inode_table::directory(&view, directory).unwrap();
            tree.insert(path.clone(), (inode.kind, inode.nlink, inode.size_bytes));
            for (entry, inode) in readdir_with_inodes(&view, &ROOT, directory, 0, &ALL).unwrap().entries {
                let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
                match inode.is_directory() {
                    true => left.push((path, inode.ino)),
                    false => drop(tree.insert(path, (inode.kind, inode.nlink, inode.size_bytes))),
                }
            }
        }
        tree
    }

    fn inodes(&self) -> u64 {
        self.stores.iter().map(|store| superblock::counters(&*store.view().unwrap()).unwrap().inodes).sum()
    }

    /// Removes files without a name, each in its shard.
    fn reap(&mut self) {
        for shard in (0_u16..).take(self.stores.len()) {
            self.on(shard, |txn| {
                for ino in reap::orphans(txn, 0, usize::MAX).unwrap() {
                    assert_eq!(shard_of(ino), shard);
                    reap::reap(txn, ino).unwrap();
                }
            });
        }
    }
}

/// The path to a directory, of few names.
type Path = Vec<u8>;

#[derive(Clone, Debug)]
enum Step {
    Make(Path, u8, bool, u16),
    Link(Path, u8, Path, u8),
    Remove(Path, u8),
    Rename(Path, u8, Path, u8),
}

fn path() -> impl Strategy<Value = Path> {
    proptest::collection::vec(0_u8..3, 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0_u8..3;
    prop_oneof![
        5 => (path(), name(), any::<bool>(), 0..SHARDS).prop_map(|(at, name, file, shard)| Step::Make(at, name, file, shard)),
        2 => (path(), name(), path(), name()).prop_map(|(from, old, to, new)| Step::Link(from, old, to, new)),
        2 => (path(), name()).prop_map(|(at, name)| Step::Remove(at, name)),
        4 => (path(), name(), path(), name()).prop_map(|(from, old, to, new)| Step::Rename(from, old, to, new)),
    ]
}

fn walk(stage: &Stage, path: &Path) -> Option<Ino> {
    path.iter().try_fold(ROOT_INO, |at, name| {
        stage.find(at, &[b'a' + name]).filter(Inode::is_directory).map(|inode| inode.ino)
    })
}

/// The result of a step; `None` if its directory does not exist.
fn run_step(stage: &mut Stage, step: &Step, now: Timestamp) -> Option<Result<(), FsError>> {
    let name = |name: &u8| vec![b'a' + name];
    let done = match step {
        Step::Make(at, new, file, shard) => {
            let (directory, new) = (walk(stage, at)?, name(new));
            let kind = if *file { Kind::Regular } else { Kind::Directory };
            let shard = if *file { shard_of(directory) } else { *shard };
            let attributes = SetAttributes { mode: Some(0o755), ..SetAttributes::default() };
            stage.act(shard, |txn: &mut dyn Txn| {
                let object = NewObject { kind, symlink_target: b"", attributes: &attributes, verifier: None };
                create(txn, &ROOT, directory, &new, &object, now).map(|made| Some(made.inode))
            })
        }
        Step::Link(from, old, to, new) => {
            let (from, to, new) = (walk(stage, from)?, walk(stage, to)?, name(new));
            let ino = stage.find(from, &name(old))?.ino;
            stage.act(0, |txn: &mut dyn Txn| {
                link::link(txn, &ROOT, ino, to, &new, now).map(|linked| Some(linked.inode))
            })
        }
        Step::Remove(at, old) => {
            let (directory, old) = (walk(stage, at)?, name(old));
            stage.act(0, |txn: &mut dyn Txn| {
                remove::remove(txn, &ROOT, directory, &old, now).map(|gone| Some(gone.inode))
            })
        }
        Step::Rename(from, old, to, new) => {
            let (from, to, old, new) = (walk(stage, from)?, walk(stage, to)?, name(old), name(new));
            stage.act(0, |txn: &mut dyn Txn| {
                let (from, to) = (Place { directory: from, name: &old }, Place { directory: to, name: &new });
                rename(txn, &ROOT, from, to, now).map(|renamed| Some(renamed.moved))
            })
        }
    };
    Some(done.map(drop))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn three_stores_are_one(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut one, mut three) = (Stage::new(1), Stage::new(SHARDS));
        for (at, step) in (1..).zip(&steps) {
            let now = Timestamp { seconds: at, nanos: 0 };
            let (alone, spread) = (run_step(&mut one, step, now), run_step(&mut three, step, now));
            prop_assert_eq!(alone, spread, "{:?}", step);
            prop_assert_eq!(one.tree(), three.tree(), "{:?}", step);
        }
        one.reap();
        three.reap();
        prop_assert_eq!(one.inodes(), three.inodes());
        prop_assert_eq!(three.inodes(), objects(&three));
    }
}

/// Inodes that have names; files with several names count once.
fn objects(stage: &Stage) -> u64 {
    let (view, mut seen, mut left) = (stage.view(), std::collections::BTreeSet::new(), vec![ROOT_INO]);
    while let Some(ino) = left.pop() {
        if !seen.insert(ino) || !inode_table::inode(&view, ino).unwrap().is_directory() {
            continue;
        }
        let page = readdir_with_inodes(&view, &ROOT, ino, 0, &ALL).unwrap();
        left.extend(page.entries.into_iter().map(|(_, inode)| inode.ino));
    }
    seen.len() as u64
}

/// A rename in three shards: old directory, new directory with the replaced object, and the moved
/// object.
#[test]
fn an_act_may_have_three_parts() {
    let mut stage = Stage::new(SHARDS);
    let make = |stage: &mut Stage, at: &[u8], name: u8, shard| {
        run_step(stage, &Step::Make(at.to_vec(), name, false, shard), Timestamp::default()).unwrap().unwrap();
    };
    make(&mut stage, &[], 0, 1);
    make(&mut stage, &[], 1, 2);
    make(&mut stage, &[0], 0, 0);
    let rename = Step::Rename(vec![0], 0, vec![1], 2);
    assert_eq!(run_step(&mut stage, &rename, Timestamp::default()), Some(Ok(())));
    assert_eq!(stage.parts, 3);
    let paths: Vec<String> = stage.tree().into_keys().collect();
    assert_eq!(paths, ["", "/a", "/b", "/b/c"]);
}

#[test]
fn parts_are_checked() {
    let stage = Stage::new(SHARDS);
    let root = inode_table::inode(&stage.view(), ROOT_INO).unwrap();
    let good = mds_namespace::codec::encode_inode(&root);
    let of = |key: Vec<u8>, value: &[u8]| Write { key, value: Some(value.to_vec()) };
    let own = keys::inode(1 << 48 | 9).to_vec();
    for bad in [
        of(keys::inode(ROOT_INO).to_vec(), &good),
        of(own.clone(), b"no inode"),
        of(keys::COUNTERS.to_vec(), &[0; 28]),
        of(b"state/counters".to_vec(), b""),
        of(keys::dirent(1 << 48 | 9, 1).to_vec(), b""),
        of(keys::symlink(1 << 48 | 9).to_vec(), b""),
        of(keys::inline(1 << 48 | 9).to_vec(), b"x"),
        of(vec![keys::TAG_INODE, 0, 1], &good),
        of(Vec::new(), b""),
    ] {
        let refused = stage.on(1, |txn| write_part(txn, &[of(own.clone(), &good), bad.clone()]));
        assert_eq!(refused, Err(FsError::Invalid), "{bad:?}");
    }
    assert_eq!(stage.inodes(), 1);
    let many = vec![of(own, &good); 33];
    assert_eq!(stage.on(1, |txn| write_part(txn, &many)), Err(FsError::Invalid));
}

/// Two requests of one store may become an act on several while they wait: then nothing is corrupt,
/// and it must be planned again.
#[test]
fn a_path_to_the_root_through_another_store_is_no_damage() {
    let mut stage = Stage::new(SHARDS);
    let (now, make) = (Timestamp::default(), |at: &[u8], name, file| Step::Make(at.to_vec(), name, file, 1));
    for step in [make(&[], 0, false), make(&[], 1, false), make(&[0], 0, false), make(&[1], 0, false)] {
        assert_eq!(run_step(&mut stage, &step, now), Some(Ok(())));
    }
    assert_eq!(run_step(&mut stage, &make(&[0], 1, true), now), Some(Ok(())));
    let (a, b) = (walk(&stage, &vec![0]).unwrap(), walk(&stage, &vec![1]).unwrap());
    for (old, new) in [(b"a", b"b"), (b"b", b"a")] {
        let (from, to) = (Place { directory: a, name: old }, Place { directory: b, name: new });
        assert_eq!(stage.on(1, |txn| rename(txn, &ROOT, from, to, now)).err(), Some(FsError::Busy));
    }
}
