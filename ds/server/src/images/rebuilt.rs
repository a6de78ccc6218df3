//! Bytes of an image that no server gives: computed from the same range of as many others of its
//! group as it takes.
//!
//! INVARIANT: no reader believes what was computed: it compares it with the image's own hashes.
//! Spec: docs/protocol/seal.md §5; docs/formats/group.md §2.3, §6.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ds_image::ImageBytes;
use env::BoxFuture;
use futures_util::future::join_all;
use layout::ec::{Group, Rebuild};
use layout::limits::{COLUMN_BYTES, WINDOW_BYTES_MAX};
use parking_lot::Mutex;

use super::Images;
use super::trouble::{NoBytes, Trouble};

/// Bytes that are computed at once: a window, less what it takes to begin at a column.
const STEP_BYTES: u64 = (WINDOW_BYTES_MAX - COLUMN_BYTES) as u64;

/// The bytes of one image of a group, without its own server.
pub(super) struct RebuiltBytes {
    work: Arc<Work>,
}

struct Work {
    images: Arc<Images>,
    group: Arc<Group>,
    slot: usize,
    /// Slots that gave nothing.
    bad: Mutex<HashSet<usize>>,
    trouble: Arc<Trouble>,
}

impl RebuiltBytes {
    pub(super) fn new(images: Arc<Images>, group: Arc<Group>, slot: usize, trouble: Arc<Trouble>) -> Self {
        Self { work: Arc::new(Work { images, group, slot, bad: Mutex::default(), trouble }) }
    }
}

impl Images {
    /// The bytes of an image, computed from the rest of its group.
    pub(super) fn rebuilt_bytes(
        self: &Arc<Self>,
        group: &Arc<Group>,
        slot: usize,
        trouble: &Arc<Trouble>,
    ) -> Arc<dyn ImageBytes> {
        Arc::new(RebuiltBytes::new(Arc::clone(self), Arc::clone(group), slot, Arc::clone(trouble)))
    }
}

impl ImageBytes for RebuiltBytes {
    fn file_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        let bytes = self.work.group.shape().bytes(self.work.slot);
        Box::pin(std::future::ready(Ok(bytes)))
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        let work = Arc::clone(&self.work);
        let end = offset.saturating_add(length as u64).min(work.group.shape().bytes(work.slot));
        Box::pin(async move {
            let (mut all, mut at) = (BytesMut::new(), offset);
            while at < end {
                let stop = end.min(at + STEP_BYTES);
                all.extend_from_slice(&work.compute_window(at..stop).await?);
                at = stop;
            }
            let asked = end.saturating_sub(offset);
            assert_eq!(all.len() as u64, asked, "all that was asked for is computed");
            Ok(all.freeze())
        })
    }
}

impl Work {
    /// Computes a range that fits a window. A source that gives nothing is left out, and another
    /// one taken.
    async fn compute_window(&self, range: Range<u64>) -> io::Result<Bytes> {
        loop {
            let sources = rank_sources(&self.images, &self.group, self.slot, &self.bad.lock());
            let (shape, absent) = (self.group.shape(), || io::Error::from(io::ErrorKind::NotFound));
            let mut rebuild = Rebuild::new(shape, &sources, &[self.slot]).map_err(|_| absent())?;
            let window = rebuild.window(range.clone()).ok_or_else(absent)?;
            let reads: Vec<(usize, Range<u64>)> = rebuild.reads(window).collect();
            let came = join_all(reads.iter().map(|(slot, part)| self.fetch_part(*slot, part.clone()))).await;
            let mut brought = Vec::with_capacity(came.len());
            for ((slot, _), bytes) in reads.iter().zip(came) {
                match bytes {
                    Ok(bytes) => brought.push(bytes),
                    Err(why) => {
                        self.trouble.note(why);
                        self.bad.lock().insert(*slot);
                    }
                }
            }
            if brought.len() < reads.len() {
                // Another source takes the place of each that gave nothing.
                continue;
            }
            let mut made = vec![0; window.bytes];
            let brought: Vec<&[u8]> = brought.iter().map(|bytes| &bytes[..]).collect();
            rebuild.run(window, &brought, &mut [&mut made]).map_err(|_| absent())?;
            tokio::task::yield_now().await;
            assert!(window.offset <= range.start, "a window begins no later than the range");
            let skip = usize::try_from(range.start - window.offset).expect("less than a column");
            let length = usize::try_from(range.end - range.start).expect("fits a window");
            return Ok(Bytes::from(made).slice(skip..skip + length));
        }
    }

    async fn fetch_part(&self, slot: usize, range: Range<u64>) -> Result<Bytes, NoBytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let home = self.group.homes()[slot].ok_or(NoBytes::Absent)?;
        let (image, _) = self.group.shape().image(slot).ok_or(NoBytes::Absent)?;
        self.images.fetch_file(home, image, range).await
    }
}

/// Slots to compute another one from, best ones first: images here, then those of servers that
/// answer, then those of servers that did not a moment ago.
pub(super) fn rank_sources(
    images: &Images,
    group: &Group,
    missing: usize,
    bad: &HashSet<usize>,
) -> Vec<usize> {
    let own = images.directory.own();
    let rank = |slot: &usize| {
        let home = group.homes()[*slot];
        let silent = home.is_some_and(|home| images.is_silent(home));
        (home != own, silent, (slot + missing) % group.shape().slots())
    };
    let usable = |slot: &usize| *slot != missing && group.homes()[*slot].is_some() && !bad.contains(slot);
    let mut slots: Vec<usize> = (0..group.shape().slots()).filter(usable).collect();
    slots.sort_by_key(rank);
    assert!(!slots.contains(&missing), "a slot is not computed from itself");
    slots
}
