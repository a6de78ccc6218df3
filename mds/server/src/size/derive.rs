//! Derives the attributes in replies, and the settlement for the log, from an inode and the
//! primaries' reports about its granted extents. No I/O, no clock.
//!
//! The change counter of a file whose content moved since the last log entry is computed from marks
//! of that content: every metadata server computes the same one, and no other content gets it (RFC
//! 8881 §5.8.1.4 asks for no more).
//!
//! Spec: docs/protocol/sizes.md §3.

use layout::{Epoch, ExtentId};
use mds_namespace::op::settle::{self, Settlement};
use mds_namespace::{Granted, Inode, Seen, Timestamp, Unsettled};

/// A primary's report about one granted extent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// One past the last byte, from the start of the extent.
    pub(crate) end_bytes: u32,
    /// Bytes stored.
    pub(crate) held_bytes: u32,
    /// Counter of changes.
    pub(crate) change: u64,
    /// Wall clock of the last WRITE, nanoseconds since 1970.
    pub(crate) mtime_unix_ns: u64,
}

/// A granted extent: its record in the log, and its primary's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) index: u32,
    pub(crate) epoch: Epoch,
    pub(crate) seen: Option<Seen>,
    /// `None` if all copies are given up as lost.
    pub(crate) told: Option<Told>,
}

impl Extent {
    /// The primary's report, if the content differs from the one that the log describes.
    fn moved(&self) -> Option<(u32, Told)> {
        let told = self.told.filter(|told| self.seen.unwrap_or_default().change != told.change)?;
        Some((self.index, told))
    }
}

/// A file whose size is not settled, and the reports of its primaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The file in the log.
    pub(crate) inode: Inode,
    pub(crate) unsettled: Unsettled,
    /// By index.
    pub(crate) extents: Vec<Extent>,
}

impl Measured {
    /// The file as clients see it.
    pub(crate) fn derived(&self, now_unix_ns: u64) -> Inode {
        let mut inode = self.inode.clone();
        inode.size_bytes = inode.size_bytes.max(self.end_bytes());
        inode.used_bytes = self.used_bytes();
        if let Some((change, mtime)) = self.written(now_unix_ns) {
            inode.change = change;
            inode.mtime = mtime;
            inode.ctime = inode.ctime.max(mtime);
            if self.unsettled.drops_set_id {
                inode.drop_set_id();
            }
        }
        inode
    }

    /// The settlement for the log once no client may write the file; `None` while a lost copy may
    /// yet return with more bytes.
    pub(crate) fn settlement(&self, now_unix_ns: u64) -> Option<Settlement> {
        self.extents.iter().all(|extent| extent.told.is_some()).then(|| Settlement {
            ino: self.inode.ino,
            turns: self.unsettled.turns,
            epochs: settle::epochs(self.extents.iter().map(|extent| (extent.index, extent.epoch))),
            change: self.inode.change,
            end_bytes: self.end_bytes(),
            used_bytes: self.used_bytes(),
            written: self.written(now_unix_ns),
        })
    }

    /// The extents that were written since the last log entry, with their state.
    pub(crate) fn written_extents(&self) -> Vec<Granted> {
        let seen = |told: Told| Some(Seen { change: told.change, held_bytes: told.held_bytes });
        let moved = self.extents.iter().filter_map(Extent::moved);
        moved.map(|(index, told)| Granted { index, seen: seen(told) }).collect()
    }

    /// One past the last byte, from the beginning of the file, that any primary holds of writes
    /// since the last log entry; 0 without writes. Earlier bytes are known, or were refused to
    /// their writer.
    fn end_bytes(&self) -> u64 {
        let moved = self.extents.iter().filter_map(Extent::moved).filter(|(_, told)| 0 < told.end_bytes);
        let end = |(index, told): (u32, Told)| {
            ExtentId { ino: self.inode.ino, index }.first_byte() + u64::from(told.end_bytes)
        };
        moved.map(end).max().unwrap_or(0)
    }

    /// Space of the content: the log's count, and the primaries' growth since. Never less than they
    /// hold.
    fn used_bytes(&self) -> u64 {
        let (mut used, mut held) = (self.inode.used_bytes, 0);
        for extent in &self.extents {
            let Some(told) = extent.told else { continue };
            let before = extent.seen.map_or(told.held_bytes, |seen| seen.held_bytes);
            used = (used + u64::from(told.held_bytes)).saturating_sub(u64::from(before));
            held += u64::from(told.held_bytes);
        }
        used.max(held).min(self.inode.size_bytes.max(self.end_bytes()))
    }

    /// Change counter and modification time, if the content differs from the one that the log
    /// describes.
    fn written(&self, now_unix_ns: u64) -> Option<(u64, Timestamp)> {
        let moved: Vec<(u32, Told)> = self.extents.iter().filter_map(Extent::moved).collect();
        let last_unix_ns = moved.iter().map(|(_, told)| told.mtime_unix_ns).max()?;
        // No WRITE is dated later than now: that is a wrong clock of the data server.
        let (logged, told) = (self.inode.mtime, Timestamp::from_unix_ns(last_unix_ns.min(now_unix_ns)));
        // A future time was set by hand: a later write removed it. Clocks of servers differ by less
        // than that.
        let is_to_come = Timestamp::from_unix_ns(now_unix_ns) < logged;
        let mtime = if is_to_come { told } else { logged.max(told) };
        Some((mark(self.inode.change, &moved), mtime))
    }
}

/// A number that identifies this content. One bit is left free, so that counting on from it never
/// wraps.
fn mark(change: u64, moved: &[(u32, Told)]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"shoal change").update(&change.to_be_bytes());
    for (index, told) in moved {
        hasher.update(&index.to_be_bytes());
        hasher.update(&told.change.to_be_bytes()).update(&told.mtime_unix_ns.to_be_bytes());
    }
    u64::from_be_bytes(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")) >> 1
}

#[cfg(test)]
mod tests;
