//! The attributes of a file that a Linux host caches, and which replies it believes.
//!
//! Keeps what decides over the size: `i_size`, the change attribute, the generation of the newest
//! attributes taken, and which of them are known to be stale. Sends nothing.
//!
//! QUIRK(linux): `nfs_update_inode` takes the size of any reply that passes the comparison if it is
//! larger, or if the file has neither dirty pages nor pages that wait for COMMIT. The comparison is
//! by when the RPC began; where the server calls its change attribute monotonic, a reply with a
//! larger one passes however old it is.

use wire_nfs::v4::attr::ChangeAttrType;
use wire_nfs::v4::{AttrValues, Fattr4};

/// How the change attribute decides which of two replies is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeOrder {
    /// It says nothing.
    Undefined,
    /// A larger one is newer, the same is not older.
    Time,
    /// A larger one is newer.
    Monotonic,
}

impl ChangeOrder {
    pub(crate) fn of(told: ChangeAttrType) -> Self {
        match told {
            ChangeAttrType::Undefined => Self::Undefined,
            ChangeAttrType::TimeMetadata => Self::Time,
            ChangeAttrType::MonotonicIncr
            | ChangeAttrType::VersionCounter
            | ChangeAttrType::VersionCounterNopnfs => Self::Monotonic,
        }
    }
}

/// What a reply says of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The generation that was handed out when its RPC began.
    pub(crate) generation: u64,
    pub(crate) size: Option<u64>,
    pub(crate) change: Option<u64>,
}

impl Told {
    /// What the attributes of a reply say; nothing if they cannot be read.
    pub(crate) fn new(generation: u64, attributes: &Fattr4) -> Self {
        let AttrValues { size, change, .. } = attributes.to_values().unwrap_or_default();
        Self { generation, size, change }
    }
}

/// What of the file's state decides, beside the attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    pub(crate) order: ChangeOrder,
    /// Pages are dirty, under way, or wait for COMMIT: `nfs_have_writebacks`.
    pub(crate) writebacks: bool,
    /// Data servers have bytes that no LAYOUTCOMMIT has told of.
    pub(crate) layoutcommit: bool,
    /// A process has the file open to write through the cache.
    pub(crate) writers: bool,
}

/// `nfs_attr_generation_counter`: one for the host.
#[derive(Debug, Default)]
pub(crate) struct Generations(u64);

impl Generations {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Which cached attributes are known to be stale.
#[derive(Clone, Copy, Debug, Default)]
struct Stale {
    change: bool,
    size: bool,
    /// Times and used space: they only matter for whether an update is partial.
    times: bool,
}

/// The cached attributes of a file.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    size: u64,
    change: u64,
    generation: u64,
    stale: Stale,
}

/// What the comparison of a reply with the cache comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Newer,
    Unknown,
    Older,
}

impl Attributes {
    /// `i_size`.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the size must be asked for before it is used: `NFS_INO_INVALID_SIZE`.
    pub(crate) fn size_is_stale(&self) -> bool {
        self.stale.size
    }

    /// A process wrote up to here, into the cache.
    pub(crate) fn extend(&mut self, end: u64) {
        self.size = self.size.max(end);
    }

    /// A reply of OPEN, CLOSE, GETATTR or READDIR: `nfs_refresh_inode`.
    pub(crate) fn refresh(&mut self, told: Told, around: Around, generations: &mut Generations) {
        if told.size.is_none() && told.change.is_none() {
            return;
        }
        let age = self.age(told, around.order);
        if age == Age::Newer || self.completes(told, around.order) {
            self.update(told, around, generations);
        } else if age == Age::Unknown && !around.writers {
            self.stale.change |= told.change.is_some_and(|change| change != self.change);
            self.stale.size |= told.size.is_some_and(|size| size != self.size);
        }
    }

    /// A data server took a WRITE up to here: `nfs_writeback_update_inode`, whose attributes
    /// flexible files leave out.
    pub(crate) fn written(&mut self, end: u64, around: Around, generations: &mut Generations) {
        self.stale.change = true;
        self.stale.times = true;
        if end < self.size {
            return;
        }
        // The barrier: older RPCs say nothing of these bytes.
        let told = Told { generation: generations.next(), size: Some(end), change: None };
        self.refresh(told, around, generations);
    }

    /// The metadata server answered a WRITE or LAYOUTCOMMIT: `nfs_post_op_update_inode_force_wcc`.
    /// The barrier is set when the answer is there, so a size that was sampled before is taken.
    pub(crate) fn completed(&mut self, told: Told, around: Around, generations: &mut Generations) {
        let told = Told { generation: generations.next(), ..told };
        self.stale.change = true;
        self.stale.times = true;
        self.refresh(told, around, generations);
    }

    /// SETATTR was answered: `nfs_setattr_update_inode`.
    pub(crate) fn set(
        &mut self,
        size: Option<u64>,
        told: Told,
        around: Around,
        generations: &mut Generations,
    ) {
        let told = Told { generation: generations.next(), ..told };
        self.generation = told.generation;
        self.size = size.unwrap_or(self.size);
        if told.size.is_some() || told.change.is_some() {
            self.update(told, around, generations);
        }
    }

    fn age(&self, told: Told, order: ChangeOrder) -> Age {
        if self.generation < told.generation {
            return Age::Newer;
        }
        match (told.change, order) {
            (None, _) | (_, ChangeOrder::Undefined) => Age::Unknown,
            (Some(change), _) if self.change < change => Age::Newer,
            (Some(change), ChangeOrder::Time) if self.change == change => Age::Unknown,
            _ => Age::Older,
        }
    }

    /// `nfs_inode_finish_partial_attr_update`.
    fn completes(&self, told: Told, order: ChangeOrder) -> bool {
        let partial = self.stale.size || self.stale.times;
        order != ChangeOrder::Undefined && !self.stale.change && partial && told.change == Some(self.change)
    }

    fn update(&mut self, told: Told, around: Around, generations: &mut Generations) {
        let before = self.stale;
        self.stale = if around.layoutcommit { before } else { Stale::default() };
        let mut others_changed = false;
        match told.change {
            Some(change) if change != self.change => {
                others_changed = !around.writers;
                self.change = change;
            }
            Some(_) => {}
            None => self.stale.change |= before.change,
        }
        match told.size {
            Some(size) if self.size < size || !around.writebacks => self.size = size,
            Some(_) => {}
            None => self.stale.size |= before.size || others_changed,
        }
        self.generation = match others_changed {
            true => generations.next(),
            false => self.generation.max(told.generation),
        };
    }
}

#[cfg(test)]
mod tests;
