//! Random commands against a model of a few lines: same results, same tree, and every invariant
//! after every step.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use std::collections::BTreeMap;

use fixture::{Fs, mode, root};
use layout::{DataServerId, EXTENT_BYTES, ExtentId};
use mds_namespace::op::readdir::{PageLimit, readdir_with_inodes};
use mds_namespace::op::rename::{Place, rename};
use mds_namespace::op::setattr::set_attributes;
use mds_namespace::op::size::{Grown, grow};
use mds_namespace::op::{extent, inline, link, move_to_extents, reap, remove, work};
use mds_namespace::{FsError, INLINE_BYTES_MAX, Ino, Kind, ROOT_INO, SetAttributes};
use proptest::prelude::*;

/// Objects are picked by number, modulo their count; names from a few, so that they collide.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, u8, bool),
    Link(usize, usize, u8),
    Remove(usize, u8),
    Rename(usize, u8, usize, u8),
    Reap,
}

fn step() -> impl Strategy<Value = Step> {
    let (directory, name) = (0_usize..12, 0_u8..4);
    let place = || (directory.clone(), name.clone());
    prop_oneof![
        5 => (place(), any::<bool>()).prop_map(|((at, name), file)| Step::Create(at, name, file)),
        2 => (0_usize..12, place()).prop_map(|(object, (at, name))| Step::Link(object, at, name)),
        2 => place().prop_map(|(at, name)| Step::Remove(at, name)),
        4 => (place(), place()).prop_map(|((from, old), (to, new))| Step::Rename(from, old, to, new)),
        1 => Just(Step::Reap),
    ]
}

/// The tree in its simplest form.
#[derive(Default)]
struct Model {
    directories: BTreeMap<Ino, BTreeMap<Vec<u8>, Ino>>,
}

impl Model {
    fn is_directory(&self, ino: Ino) -> bool {
        self.directories.contains_key(&ino)
    }

    fn directory(&self, pick: usize) -> Ino {
        *self.directories.keys().nth(pick % self.directories.len()).unwrap()
    }

    fn object(&self, pick: usize) -> Option<Ino> {
        let objects: Vec<Ino> = self.directories.values().flat_map(|names| names.values().copied()).collect();
        (!objects.is_empty()).then(|| objects[pick % objects.len()])
    }

    fn find(&self, directory: Ino, name: &[u8]) -> Option<Ino> {
        self.directories[&directory].get(name).copied()
    }

    fn names(&self, ino: Ino) -> usize {
        self.directories.values().flat_map(BTreeMap::values).filter(|&&leads| leads == ino).count()
    }

    fn holds(&self, above: Ino, below: Ino) -> bool {
        above == below
            || self.directories.get(&above).is_some_and(|names| {
                names.values().any(|&ino| self.is_directory(ino) && self.holds(ino, below))
            })
    }

    fn remove(&mut self, directory: Ino, name: &[u8]) -> Result<(), FsError> {
        let ino = self.find(directory, name).ok_or(FsError::NotFound)?;
        if self.directories.get(&ino).is_some_and(|names| !names.is_empty()) {
            return Err(FsError::NotEmpty);
        }
        self.directories.remove(&ino);
        self.directories.get_mut(&directory).unwrap().remove(name);
        Ok(())
    }

    fn rename(&mut self, from: Ino, old: &[u8], to: Ino, new: &[u8]) -> Result<(), FsError> {
        let source = self.find(from, old).ok_or(FsError::NotFound)?;
        let target = self.find(to, new);
        if self.is_directory(source) && self.holds(source, to) {
            return Err(FsError::Invalid);
        }
        if let Some(target) = target {
            if target == source {
                return Ok(());
            }
            if self.is_directory(target) && self.holds(target, from) {
                return Err(FsError::NotEmpty);
            }
            match (self.is_directory(source), self.is_directory(target)) {
                (true, false) => return Err(FsError::NotDirectory),
                (false, true) => return Err(FsError::IsDirectory),
                (true, true) | (false, false) => self.remove(to, new)?,
            }
        }
        self.directories.get_mut(&from).unwrap().remove(old);
        self.directories.get_mut(&to).unwrap().insert(new.to_vec(), source);
        Ok(())
    }
}

fn apply_step(fs: &mut Fs, model: &mut Model, step: &Step) {
    match *step {
        Step::Create(at, name, file) => {
            let (directory, name) = (model.directory(at), vec![b'a' + name]);
            let kind = if file { Kind::Regular } else { Kind::Directory };
            let text = String::from_utf8(name.clone()).unwrap();
            let made = fs.make(&root(), directory, &text, kind, &mode(0o755));
            if model.find(directory, &name).is_some() {
                assert_eq!(made.err(), Some(FsError::Exists));
                return;
            }
            let ino = made.unwrap().inode.ino;
            model.directories.get_mut(&directory).unwrap().insert(name, ino);
            if !file {
                model.directories.insert(ino, BTreeMap::new());
            }
        }
        Step::Link(object, at, name) => {
            let Some(ino) = model.object(object) else { return };
            let (directory, name) = (model.directory(at), vec![b'a' + name]);
            let outcome = fs.run(|txn, now| link::link(txn, &root(), ino, directory, &name, now)).map(drop);
            let expected = match model.find(directory, &name) {
                Some(_) => Err(FsError::Exists),
                None if model.is_directory(ino) => Err(FsError::NotPermitted),
                None => {
                    model.directories.get_mut(&directory).unwrap().insert(name, ino);
                    Ok(())
                }
            };
            assert_eq!(outcome, expected);
        }
        Step::Remove(at, name) => {
            let (directory, name) = (model.directory(at), [b'a' + name]);
            let outcome = fs.run(|txn, now| remove::remove(txn, &root(), directory, &name, now)).map(drop);
            assert_eq!(outcome, model.remove(directory, &name));
        }
        Step::Rename(from, old, to, new) => {
            let (from, old) = (model.directory(from), [b'a' + old]);
            let (to, new) = (model.directory(to), [b'a' + new]);
            let (source, target) =
                (Place { directory: from, name: &old }, Place { directory: to, name: &new });
            let outcome = fs.run(|txn, now| rename(txn, &root(), source, target, now)).map(drop);
            assert_eq!(outcome, model.rename(from, &old, to, &new));
        }
        Step::Reap => {
            for ino in reap::orphans(&*fs.view(), 0, 100).unwrap() {
                assert_eq!(model.names(ino), 0);
                fs.run(|txn, _| reap::reap(txn, ino)).unwrap();
            }
        }
    }
}

fn assert_same_tree(fs: &Fs, model: &Model) {
    let limit = PageLimit { entries_max: 100, bytes_max: 1 << 20, entry_overhead_bytes: 0 };
    for (&directory, names) in &model.directories {
        let page = readdir_with_inodes(&*fs.view(), &root(), directory, 0, &limit).unwrap();
        let listed: BTreeMap<Vec<u8>, Ino> =
            page.entries.iter().map(|(entry, _)| (entry.name.clone(), entry.ino)).collect();
        assert_eq!(&listed, names);
        for (entry, inode) in &page.entries {
            assert_eq!(inode.is_directory(), model.is_directory(entry.ino));
            if !inode.is_directory() {
                assert_eq!(inode.nlink as usize, model.names(entry.ino));
            }
            let name = String::from_utf8(entry.name.clone()).unwrap();
            assert_eq!(fs.lookup(&root(), directory, &name).unwrap(), *inode);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn names_are_as_in_the_model(steps in proptest::collection::vec(step(), 0..80)) {
        let mut fs = Fs::new();
        let mut model = Model::default();
        model.directories.insert(ROOT_INO, BTreeMap::new());
        for step in &steps {
            apply_step(&mut fs, &mut model, step);
        }
        assert_same_tree(&fs, &model);
    }
}

/// An operation on one file's content.
#[derive(Clone, Debug)]
enum Act {
    Write(u64, usize),
    Size(u64),
    Move,
    Allocate(u32),
    Grow(u64),
    Fence(u32),
    WorkDone(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let size = || prop_oneof![0..40_u64, 0..3 * INLINE_BYTES_MAX, 0..4 * EXTENT_BYTES];
    prop_oneof![
        4 => (0..INLINE_BYTES_MAX + 10, 0_usize..64).prop_map(|(offset, len)| Act::Write(offset % 64, len)),
        3 => size().prop_map(Act::Size),
        1 => Just(Act::Move),
        2 => (0_u32..4).prop_map(Act::Allocate),
        2 => size().prop_map(Act::Grow),
        1 => (0_u32..4).prop_map(Act::Fence),
        2 => (0_usize..4).prop_map(Act::WorkDone),
    ]
}

/// A file as bytes, while it is inline; its length afterwards.
struct File {
    ino: Ino,
    bytes: Option<Vec<u8>>,
    size_bytes: u64,
}

fn perform(fs: &mut Fs, file: &mut File, act: &Act) {
    let ino = file.ino;
    match *act {
        Act::Write(offset, len) => {
            let data = vec![u8::try_from(len).unwrap(); len];
            let outcome = fs.run(|txn, now| inline::write(txn, &root(), ino, offset, &data, now));
            let Some(bytes) = &mut file.bytes else {
                assert_eq!(outcome.err(), Some(FsError::ContentMoved));
                return;
            };
            outcome.unwrap();
            let start = usize::try_from(offset).unwrap();
            if len > 0 {
                let end = bytes.len().max(start + len);
                bytes.resize(end, 0);
                bytes[start..start + len].copy_from_slice(&data);
                file.size_bytes = file.size_bytes.max(offset + len as u64);
            }
        }
        Act::Size(size_bytes) => {
            let size = SetAttributes { size_bytes: Some(size_bytes), ..SetAttributes::default() };
            fs.run(|txn, now| set_attributes(txn, &root(), ino, &size, false, now)).unwrap();
            file.size_bytes = size_bytes;
            if let Some(bytes) = &mut file.bytes {
                bytes.truncate(usize::try_from(size_bytes).unwrap());
            }
        }
        Act::Move => {
            let change = fs.inode(ino).change;
            if fs.run(|txn, _| move_to_extents::move_to_extents(txn, ino, change)).is_ok() {
                file.bytes = None;
            }
        }
        Act::Allocate(index) => {
            fs.run(|txn, _| {
                extent::allocate(txn, ExtentId { ino, index }, DataServerId(index + 1), &[], None)
            })
            .unwrap();
        }
        Act::Grow(end_bytes) => {
            let grown = Grown { end_bytes: Some(end_bytes), ..Grown::default() };
            let outcome = fs.run(|txn, now| grow(txn, ino, &grown, now));
            if file.bytes.is_none() {
                outcome.unwrap();
                file.size_bytes = file.size_bytes.max(end_bytes);
            }
        }
        Act::Fence(index) => {
            drop(fs.run(|txn, _| mds_namespace::op::queue::fence(txn, ExtentId { ino, index })))
        }
        Act::WorkDone(items_max) => {
            let items = work::pending(&*fs.view(), 0, items_max).unwrap();
            let numbers: Vec<u64> = items.iter().map(|(number, _)| *number).collect();
            fs.run(|txn, _| work::done(txn, &numbers)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn content_is_as_in_the_model(acts in proptest::collection::vec(act(), 0..60)) {
        let mut fs = Fs::new();
        let ino = fs.given("file", Kind::Regular, 0o644, 0, 0);
        let mut file = File { ino, bytes: Some(Vec::new()), size_bytes: 0 };
        let mut epochs = BTreeMap::new();
        for act in &acts {
            let change = fs.inode(ino).change;
            perform(&mut fs, &mut file, act);
            let inode = fs.inode(ino);
            prop_assert_eq!(inode.size_bytes, file.size_bytes);
            prop_assert!(change <= inode.change);
            if let Some(bytes) = &file.bytes {
                let mut expected = bytes.clone();
                expected.resize(usize::try_from(file.size_bytes.min(1 << 16)).unwrap(), 0);
                prop_assert_eq!(inline::read(&*fs.view(), &inode, 0, 1 << 16).unwrap(), expected);
            }
            for record in extent::extents(&*fs.view(), ino, 0, 10).unwrap() {
                let before = epochs.insert(record.extent, record.epoch);
                prop_assert!(before <= Some(record.epoch));
            }
        }
    }
}
