//! Checks the invariants of every store between two commands, over the whole store.
//!
//! For tests and diagnosis; holds all of the store in memory. Skips the keys of the shard's
//! protocol state.

mod broken;
mod sealed;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use layout::ExtentId;

use crate::ExtentRecord;
use crate::codec;
use crate::directory;
use crate::inode::{Content, FileType, Ino, Inode, Kind, ROOT_INO, shard_of};
use crate::keys;
use crate::limits::{COOKIES_PER_NAME, INLINE_BYTES_MAX};
use crate::name;
use crate::store::{KEY_SPACE_END, StoreError, View};
use crate::superblock::{self, Counters};
use crate::unsettled;
use crate::work::WorkItem;
use sealed::Sealed;

pub use broken::Broken;
use broken::ensure;

/// Checks everything.
///
/// # Errors
/// [`Broken`] with the first violation found.
pub fn check(view: &dyn View) -> Result<(), Broken> {
    check_shards(&[view])
}

/// Checks everything, of one namespace over several shards; `views` are theirs, by number.
///
/// # Errors
/// [`Broken`] with the first violation found.
pub fn check_shards(views: &[&dyn View]) -> Result<(), Broken> {
    let mut census = Census::default();
    let mut group_counters = Vec::new();
    for (shard, view) in views.iter().enumerate() {
        let own = Census::read(*view)?;
        own.check_counters(&superblock::counters(*view)?)?;
        if 1 < views.len() {
            let mut inodes = own.inodes.keys();
            let stranger = inodes.find(|ino| usize::from(shard_of(**ino)) != shard);
            ensure(stranger.is_none(), "inode", stranger.copied().unwrap_or(0), "is in another shard")?;
        }
        group_counters.push(crate::sealed::group_counter(*view)?);
        census.add_store(*view)?;
    }
    let first = *views.first().ok_or(StoreError::NotFormatted)?;
    let next_group = |id: u64| {
        let shard = if views.len() == 1 { 0 } else { usize::from(shard_of(id)) };
        group_counters.get(shard).copied().unwrap_or(0)
    };
    census.check_entries(&superblock::superblock(first)?.cookie_key)?;
    for inode in census.inodes.values() {
        census.check_inode(inode)?;
    }
    census.check_reachable()?;
    census.check_beside()?;
    census.check_extents()?;
    census.check_unsettled()?;
    census.sealed.check(&census.extents, &next_group)
}

struct Entry {
    directory: Ino,
    cookie: u64,
    ino: Ino,
    file_type: FileType,
    name: Vec<u8>,
}

/// The content of the whole store.
#[derive(Default)]
struct Census {
    inodes: BTreeMap<Ino, Inode>,
    entries: Vec<Entry>,
    /// The number of names of each inode.
    names: BTreeMap<Ino, u32>,
    /// Entries in a directory, and the number of directories among them.
    inside: BTreeMap<Ino, (u64, u32)>,
    inline_bytes: BTreeMap<Ino, u64>,
    symlink_bytes: BTreeMap<Ino, u64>,
    verifiers: BTreeMap<Ino, u64>,
    orphans: BTreeSet<Ino>,
    extents: BTreeMap<ExtentId, ExtentRecord>,
    work: BTreeMap<u64, WorkItem>,
    unsettled: BTreeSet<Ino>,
    granted: BTreeSet<ExtentId>,
    sealed: Sealed,
}

impl Census {
    fn read(view: &dyn View) -> Result<Self, StoreError> {
        let mut census = Self::default();
        census.add_store(view)?;
        Ok(census)
    }

    fn add_store(&mut self, view: &dyn View) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        view.range(&[], KEY_SPACE_END, &mut |key, value| {
            outcome = self.add(key, value);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let number = keys::number_of(key).ok_or(StoreError::Corrupt("key length"));
        let len = value.len() as u64;
        match key.first() {
            Some(&keys::TAG_INODE) => {
                let ino = number?;
                self.inodes.insert(ino, codec::decode_inode(ino, value)?);
            }
            Some(&keys::TAG_DIRENT) => {
                let (directory, cookie) =
                    keys::dirent_of(key).ok_or(StoreError::Corrupt("directory entry key"))?;
                let entry = codec::decode_dirent(value)?;
                *self.names.entry(entry.ino).or_default() += 1;
                let inside = self.inside.entry(directory).or_default();
                inside.0 += 1;
                inside.1 += u32::from(entry.file_type == FileType::Directory);
                let name = entry.name.to_vec();
                let (ino, file_type) = (entry.ino, entry.file_type);
                self.entries.push(Entry { directory, cookie, ino, file_type, name });
            }
            Some(&keys::TAG_INLINE) => drop(self.inline_bytes.insert(number?, len)),
            Some(&keys::TAG_SYMLINK) => drop(self.symlink_bytes.insert(number?, len)),
            Some(&keys::TAG_EXCLUSIVE) => drop(self.verifiers.insert(number?, len)),
            Some(&keys::TAG_ORPHAN) => drop(self.orphans.insert(number?)),
            Some(&keys::TAG_EXTENT) => {
                let id = keys::extent_of(key).ok_or(StoreError::Corrupt("extent key"))?;
                self.extents.insert(id, codec::decode_extent(id, value)?);
            }
            Some(&keys::TAG_WORK) => drop(self.work.insert(number?, codec::decode_work(value)?)),
            Some(&keys::TAG_UNSETTLED) => {
                unsettled::decode_unsettled(value)?;
                self.unsettled.insert(number?);
            }
            Some(&keys::TAG_GRANTED) => {
                unsettled::decode_granted(value)?;
                self.granted.insert(keys::extent_of(key).ok_or(StoreError::Corrupt("granted extent key"))?);
            }
            Some(_) | None => self.sealed.add(key, value)?,
        }
        Ok(())
    }

    fn check_counters(&self, counters: &Counters) -> Result<(), Broken> {
        let next_inode = counters.next_inode;
        let last = self.inodes.keys().next_back().copied().unwrap_or(0);
        ensure(last < next_inode, "inode", last, "is above the next number")?;
        let last = self.work.keys().next_back().copied().unwrap_or(0);
        ensure(last < counters.next_work, "work item", last, "is above the next number")?;
        let count = self.inodes.len() as u64;
        ensure(count == counters.inodes, "count of inodes", counters.inodes, "is not how many there are")
    }

    /// Every entry is in a directory, has a valid name and a cookie of that name, is unique, and
    /// names an inode.
    fn check_entries(&self, cookie_key: &[u8; 32]) -> Result<(), Broken> {
        let mut seen = BTreeSet::new();
        for entry in &self.entries {
            let wrong = |holds, what| ensure(holds, "entry for inode", entry.ino, what);
            let directory = self.inodes.get(&entry.directory);
            wrong(directory.is_some_and(Inode::is_directory), "stands in no directory")?;
            wrong(name::check(&entry.name).is_ok(), "has a bad name")?;
            let base = directory::cookie_base(cookie_key, &entry.name);
            wrong((base..base + COOKIES_PER_NAME).contains(&entry.cookie), "has another name's cookie")?;
            wrong(seen.insert((entry.directory, entry.name.clone())), "stands there twice")?;
            let target = self.inodes.get(&entry.ino);
            let file_type = target.map(|inode| inode.kind.file_type());
            wrong(file_type == Some(entry.file_type), "leads to nothing, or to another kind")?;
            if let Some(target) = target.filter(|target| target.is_directory()) {
                wrong(target.parent == entry.directory, "is not in its parent")?;
            }
        }
        Ok(())
    }

    /// Only files with extents are unsettled; granted extents belong to such files.
    fn check_unsettled(&self) -> Result<(), Broken> {
        for ino in &self.unsettled {
            let inode = self.inodes.get(ino);
            let fits = inode.is_some_and(|inode| inode.content == Content::Extents);
            ensure(fits, "unsettled file", *ino, "is no file with extents")?;
        }
        for id in &self.granted {
            ensure(self.unsettled.contains(&id.ino), "granted extent", id.ino, "is of a settled file")?;
        }
        Ok(())
    }

    /// Link counts, sizes and the requirements of an inode's kind.
    fn check_inode(&self, inode: &Inode) -> Result<(), Broken> {
        let wrong = |holds, what| ensure(holds, "inode", inode.ino, what);
        let names = self.names.get(&inode.ino).copied().unwrap_or(0);
        wrong(inode.content == Content::Inline || inode.is_regular(), "has extents but is no file")?;
        match inode.kind {
            Kind::Directory => {
                let (count, directories) = self.inside.get(&inode.ino).copied().unwrap_or((0, 0));
                wrong(inode.size_bytes == count, "has another size than entries")?;
                wrong(inode.nlink == 2 + directories, "has a wrong link count")?;
                wrong(names == u32::from(inode.ino != ROOT_INO), "is a directory without one name")
            }
            Kind::Symlink => {
                wrong(inode.nlink == names && names > 0, "has a wrong link count")?;
                let target_bytes = self.symlink_bytes.get(&inode.ino);
                wrong(target_bytes == Some(&inode.size_bytes), "has a target of another length")
            }
            Kind::Regular => {
                wrong(inode.nlink == names, "has a wrong link count")?;
                wrong((names == 0) == self.orphans.contains(&inode.ino), "is an orphan or is not")?;
                wrong(inode.used_bytes <= inode.size_bytes, "uses more than its length")
            }
            Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => {
                wrong(inode.nlink == names && names > 0, "has a wrong link count")
            }
        }
    }

    /// Every directory's ancestors lead to the root.
    fn check_reachable(&self) -> Result<(), Broken> {
        let root = self.inodes.get(&ROOT_INO);
        let good = root.is_some_and(|root| root.is_directory() && root.parent == ROOT_INO);
        ensure(good, "inode", ROOT_INO, "is no root")?;
        for inode in self.inodes.values().filter(|inode| inode.is_directory()) {
            let mut above = inode;
            for _ in 0..=self.inodes.len() {
                if above.ino == ROOT_INO {
                    break;
                }
                above = self.inodes.get(&above.parent).unwrap_or(above);
            }
            ensure(above.ino == ROOT_INO, "inode", inode.ino, "can't be reached")?;
        }
        Ok(())
    }

    /// Records beside inodes belong to an inode of their kind.
    fn check_beside(&self) -> Result<(), Broken> {
        for (&ino, &bytes) in &self.inline_bytes {
            let inode = self.inodes.get(&ino);
            let inline = inode.is_some_and(|inode| inode.is_regular() && inode.content == Content::Inline);
            ensure(inline, "inline content of", ino, "has no inline file")?;
            let fits = inode.is_some_and(|inode| bytes <= inode.size_bytes && bytes == inode.used_bytes);
            ensure(fits && 0 < bytes && bytes <= INLINE_BYTES_MAX, "inline content of", ino, "does not fit")?;
        }
        for &ino in self.symlink_bytes.keys() {
            let symlink = self.inodes.get(&ino).is_some_and(|inode| inode.kind == Kind::Symlink);
            ensure(symlink, "target of", ino, "has no symlink")?;
        }
        for (&ino, &bytes) in &self.verifiers {
            ensure(self.inodes.contains_key(&ino) && bytes == 8, "verifier of", ino, "has no inode")?;
        }
        for &ino in &self.orphans {
            let orphan = self.inodes.get(&ino).is_some_and(|inode| inode.is_regular() && inode.nlink == 0);
            ensure(orphan, "orphan", ino, "has names, or no inode")?;
        }
        Ok(())
    }

    /// Extents belong to files, and pending work and work items name each other.
    fn check_extents(&self) -> Result<(), Broken> {
        for record in self.extents.values() {
            let ino = record.extent.ino;
            let file = self.inodes.get(&ino).is_some_and(Inode::is_regular);
            ensure(file, "extent of inode", ino, "has no file")?;
            if let Some(number) = record.pending_work {
                let item = self.work.get(&number);
                let fits = item.is_some_and(|item| {
                    let its = (item.extent(), item.epoch()) == (record.extent, record.epoch);
                    its && match item {
                        // A server that yields keeps nothing.
                        WorkItem::Yield { home, .. } => record.servers().all(|server| server != *home),
                        WorkItem::Prove { home, formers, .. } => {
                            *home == record.home && record.servers().all(|server| !formers.contains(server))
                        }
                        _ => item.home() == record.home,
                    }
                });
                ensure(fits, "extent of inode", ino, "waits for work that is not there")?;
            }
        }
        for (&number, item) in &self.work {
            match self.extents.get(&item.extent()) {
                Some(record) => {
                    let waits = record.pending_work == Some(number);
                    // A server that left may have come back since, at a higher epoch than that of
                    // its drop.
                    let leaves = matches!(item, WorkItem::Drop { .. } | WorkItem::Fence { .. });
                    let left = leaves && item.epoch() <= record.epoch;
                    ensure(waits || left, "work item", number, "is not what its extent waits for")?;
                }
                None => {
                    let gone = !self.inodes.contains_key(&item.extent().ino);
                    // A former server may not have been fenced yet when the file went.
                    let drops = matches!(item, WorkItem::Drop { .. } | WorkItem::Fence { .. });
                    ensure(gone && drops, "work item", number, "has no extent")?;
                }
            }
        }
        Ok(())
    }
}
