//! Making segments durable, and giving a full one its footer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::format::footer;
use crate::limits::BLOCK_BYTES;
use crate::shared::{Segment, Shared, count};

/// A full segment on its way to being sealed.
#[derive(Clone)]
pub(crate) struct Sealing {
    pub(crate) segment: Arc<Segment>,
    pub(crate) entries: Bytes,
    /// Where its batches end.
    pub(crate) end: u64,
}

impl Sealing {
    /// Writes the footer. Only for a segment that is durable.
    pub(crate) async fn write_footer(&self, keep_room: bool) -> io::Result<()> {
        let end_blocks = u32::try_from(self.end / BLOCK_BYTES).expect("inside a segment");
        let bytes = footer::encode(self.segment.seq, &self.entries, end_blocks);
        let offset = self.segment.file_bytes - bytes.len() as u64;
        assert!(self.end <= offset, "every record left room for its entry");
        self.segment.fill(self.end + bytes.len() as u64);
        self.segment.file.write_at(vec![bytes.into()], offset).await?;
        if keep_room { Ok(()) } else { self.segment.give_back(self.end, offset).await }
    }
}

/// Makes the names of all segments concerned durable, syncs full ones, oldest first, gives each its
/// footer, then syncs the active one.
///
/// The footers themselves are not synced: one that is lost costs a scan, nothing else.
pub(crate) async fn sync_all(
    shared: Arc<Shared>,
    sealing: Vec<Sealing>,
    active: Option<Arc<Segment>>,
) -> io::Result<()> {
    let segments: Vec<&Arc<Segment>> = sealing.iter().map(|full| &full.segment).chain(&active).collect();
    if !segments.iter().all(|segment| segment.is_named()) {
        shared.files.sync_names().await?;
        segments.iter().for_each(|segment| segment.mark_named());
    }
    for full in &sealing {
        count(&shared.tally.flushes, 1);
        full.segment.file.sync_data().await?;
        full.write_footer(0 < shared.config.recycle_max).await?;
    }
    if let Some(segment) = active {
        count(&shared.tally.flushes, 1);
        segment.file.sync_data().await?;
    }
    Ok(())
}
