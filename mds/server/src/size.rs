//! Sizes of files that clients write straight to data servers.
//!
//! The log knows which extents of a file clients may write, or could since its size was settled;
//! their primaries report how far those reach. Every reply with a size, a time, a change counter or
//! set-id bits is derived from both.
//!
//! INVARIANT: a size in a reply covers every WRITE that a data server acknowledged before the
//! request came, whichever client sent it, except for later cuts.
//! Spec: docs/protocol/sizes.md; RFC 8881 §12.5.4.

pub(crate) mod derive;
pub(crate) mod measure;
mod moved;
pub(crate) mod settle;
mod settling;

use layout::ExtentId;
use mds_namespace::{Content, Ino, Inode, op, unsettled};
use wire_nfs::v4::Nfsstat4;

use crate::server::Server;
use crate::status;
use crate::work;

pub(crate) use moved::MOVED_BY_WRITES;

impl Server {
    /// A file with all bytes that clients wrote to data servers so far. No query is sent if its
    /// size is settled.
    ///
    /// # Errors
    /// DELAY while a primary does not answer, or the file changes too fast; STALE if it is gone.
    pub(crate) async fn derived(&self, inode: Inode) -> Result<Inode, Nfsstat4> {
        if inode.content != Content::Extents {
            return Ok(inode);
        }
        match measure::measure(self, inode.ino).await? {
            Some(measured) => Ok(measured.derived(self.env.clock.wall_ns())),
            // Another request may have settled it since the caller's read.
            None => self.view()?.inode(inode.ino).map_err(|e| status::of_refusal(&e)),
        }
    }

    /// Carries a truncation to the data servers before the reply: a client may continue to write
    /// through its layouts, and later bytes must not be cut.
    ///
    /// A data server whose lease has run out is skipped: its extents are cut when it registers,
    /// before it serves again.
    ///
    /// # Errors
    /// DELAY if a data server that serves clients did not answer; the client retries.
    pub(crate) async fn settle_cuts(&self, ino: Ino, size_bytes: u64) -> Result<(), Nfsstat4> {
        // A second time if a primary had to yield first: the cut is the next primary's work.
        for _ in 0..2 {
            let items = self.cuts(ino, size_bytes)?;
            let more = items.iter().any(|(_, item)| matches!(item, mds_namespace::WorkItem::Yield { .. }));
            if !items.is_empty() {
                work::settle(self, items).await?;
            }
            if !more {
                return Ok(());
            }
        }
        Err(Nfsstat4::Delay)
    }

    /// The work of primaries before a truncation is answered.
    fn cuts(&self, ino: Ino, size_bytes: u64) -> Result<Vec<(u64, mds_namespace::WorkItem)>, Nfsstat4> {
        let first = ExtentId::of(ino, size_bytes).map_or(u32::MAX, |extent| extent.index);
        let mut items = Vec::new();
        let view = self.view()?;
        let records = op::extent::extents(view.namespace(), ino, first, usize::MAX)
            .map_err(|e| status::of_namespace(&e))?;
        for number in records.iter().filter_map(|record| record.pending_work) {
            let item = op::extent::item(view.namespace(), number).map_err(|e| status::of_namespace(&e))?;
            items.extend(item.map(|item| (number, item)));
        }
        Ok(items)
    }

    /// The unsettled ones among these files.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn unsettled_among(&self, files: impl Iterator<Item = Ino>) -> Result<Vec<Ino>, Nfsstat4> {
        let view = self.view()?;
        let mut found = Vec::new();
        for ino in files {
            let record = unsettled::unsettled(view.namespace(), ino);
            if record.map_err(|e| status::of_namespace(&e))?.is_some() {
                found.push(ino);
            }
        }
        Ok(found)
    }
}
