//! The bytes of one file in memory: what readers see, what is durable, and which ranges differ.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use bytes::{Bytes, BytesMut};

const PAGE_BYTES: usize = 4096;
/// What a device writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

type Page = Arc<[u8; PAGE_BYTES]>;

/// What every page of zeros is: logs fill their files with them ahead of need.
static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE_BYTES]));

/// One file. Pages never written are absent and read as zero.
#[derive(Debug, Default, Clone)]
pub(super) struct FileState {
    seen: Image,
    durable: Image,
    /// Ranges written and not synced, each with its number.
    unsynced: Vec<(u64, u64, u64)>,
    /// Ranges of writes that no crash will leave anything of.
    lost: Vec<(u64, u64)>,
    /// It was cut: the images may differ elsewhere than in the ranges above.
    was_cut: bool,
    /// Writes so far.
    writes: u64,
    /// Pages that were reserved, in ranges that do not overlap. What becomes of them in a crash
    /// makes no difference to bytes, so they stay.
    reserved: Vec<Range<u64>>,
}

#[derive(Debug, Default, Clone)]
struct Image {
    len: u64,
    pages: BTreeMap<u64, Page>,
}

impl Image {
    fn page_mut(&mut self, page: u64) -> &mut [u8; PAGE_BYTES] {
        Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::clone(&ZEROS)))
    }

    /// Writes a page from end to end: nothing of what was there is copied.
    fn put_page(&mut self, page: u64, bytes: &[u8; PAGE_BYTES]) {
        if *bytes == **ZEROS {
            self.pages.insert(page, Arc::clone(&ZEROS));
        } else if let Some(own) = self.pages.get_mut(&page).and_then(Arc::get_mut) {
            *own = *bytes;
        } else {
            self.pages.insert(page, Arc::new(*bytes));
        }
    }

    /// Makes a page what it is in another image.
    fn take_page(&mut self, page: u64, from: &Self) {
        match from.pages.get(&page) {
            Some(bytes) => self.pages.insert(page, Arc::clone(bytes)),
            None => self.pages.remove(&page),
        };
    }

    fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (page, start) = split(offset);
            let step = bytes.len().min(PAGE_BYTES - start);
            match bytes.first_chunk() {
                Some(whole) if start == 0 => self.put_page(page, whole),
                _ => self.page_mut(page)[start..start + step].copy_from_slice(&bytes[..step]),
            }
            bytes = &bytes[step..];
            offset += step as u64;
        }
        self.len = self.len.max(offset);
    }

    fn read(&self, mut offset: u64, len: usize) -> Bytes {
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut left = len.min(rest);
        let mut out = BytesMut::with_capacity(left);
        while left > 0 {
            let (page, start) = split(offset);
            let step = left.min(PAGE_BYTES - start);
            match self.pages.get(&page) {
                Some(bytes) => out.extend_from_slice(&bytes[start..start + step]),
                None => out.resize(out.len() + step, 0),
            }
            left -= step;
            offset += step as u64;
        }
        out.freeze()
    }

    /// Zeroes what lies from `from` on, so that growing again shows zeros.
    fn cut(&mut self, from: u64) {
        let (page, start) = split(from);
        if start > 0 && self.pages.contains_key(&page) {
            self.page_mut(page)[start..].fill(0);
        }
        self.pages.split_off(&from.div_ceil(PAGE_BYTES as u64));
        self.len = from;
    }
}

/// The pages that a range touches.
fn pages_of(offset: u64, len: u64) -> Range<u64> {
    offset / PAGE_BYTES as u64..(offset + len).div_ceil(PAGE_BYTES as u64)
}

fn split(offset: u64) -> (u64, usize) {
    let page = offset / PAGE_BYTES as u64;
    let start = usize::try_from(offset % PAGE_BYTES as u64).expect("below the page size");
    (page, start)
}

impl FileState {
    pub(super) fn len(&self) -> u64 {
        self.seen.len
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.seen.write(offset, bytes);
        self.note_unsynced(offset, bytes.len() as u64);
    }

    fn note_unsynced(&mut self, offset: u64, len: u64) {
        self.unsynced.push((self.writes, offset, len));
        self.writes += 1;
    }

    /// How many writes there were; what a sync that starts now will cover.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Bytes {
        self.seen.read(offset, len)
    }

    /// A length change reaches the disk with the next sync, as the file system's journal would have
    /// it.
    pub(super) fn set_len(&mut self, len: u64) {
        if len <= self.seen.len {
            self.was_cut |= len < self.seen.len;
            self.seen.cut(len);
            self.give_back(&(len.div_ceil(PAGE_BYTES as u64)..u64::MAX));
        }
        self.seen.len = len;
    }

    /// Takes room for a range.
    pub(super) fn reserve(&mut self, offset: u64, len: u64) {
        let pages = offset / PAGE_BYTES as u64..(offset + len).div_ceil(PAGE_BYTES as u64);
        self.give_back(&pages);
        self.reserved.push(pages);
    }

    /// Room of the pages that are written or reserved.
    pub(super) fn stored_bytes(&self) -> u64 {
        let reserved: u64 = self.reserved.iter().map(|range| range.end - range.start).sum();
        let is_extra = |page: &&u64| self.reserved.iter().all(|range| !range.contains(page));
        let written = self.seen.pages.keys().filter(is_extra).count() as u64;
        (reserved + written) * PAGE_BYTES as u64
    }

    fn give_back(&mut self, pages: &Range<u64>) {
        let parts = std::mem::take(&mut self.reserved)
            .into_iter()
            .flat_map(|old| [old.start..old.end.min(pages.start), old.start.max(pages.end)..old.end]);
        self.reserved = parts.filter(|part| part.start < part.end).collect();
    }

    pub(super) fn punch(&mut self, offset: u64, len: u64) {
        let end = (offset + len).min(self.seen.len);
        let whole = offset.div_ceil(PAGE_BYTES as u64)..end / PAGE_BYTES as u64;
        self.seen.pages.retain(|page, _| !whole.contains(page));
        self.give_back(&whole);
        self.note_unsynced(offset, end.saturating_sub(offset));
    }

    /// Makes the first `writes` writes durable: a sync owes nothing to those made while it ran.
    pub(super) fn sync(&mut self, writes: u64) {
        if self.seen.len < self.durable.len {
            self.durable.cut(self.seen.len);
        }
        self.durable.len = self.seen.len;
        let Self { seen, durable, unsynced, .. } = self;
        unsynced.retain(|(number, offset, len)| {
            let is_covered = *number < writes;
            if is_covered {
                pages_of(*offset, *len).for_each(|page| durable.take_page(page, seen));
            }
            !is_covered
        });
    }

    /// No crash leaves anything of these writes any more, whatever it does with others.
    pub(super) fn lose(&mut self, writes: &Range<u64>) {
        let Self { unsynced, lost, .. } = self;
        unsynced.retain(|(number, offset, len)| {
            let is_lost = writes.contains(number);
            if is_lost {
                lost.push((*offset, *len));
            }
            !is_lost
        });
    }

    /// Leaves the durable image and those unsynced sectors that `survives` is true for.
    pub(super) fn crash(&mut self, mut survives: impl FnMut() -> bool) {
        let unsynced: Vec<(u64, u64)> =
            std::mem::take(&mut self.unsynced).into_iter().map(|(_, offset, len)| (offset, len)).collect();
        for (offset, len) in &unsynced {
            let end = (offset + len).min(self.seen.len);
            for page in pages_of(*offset, end.saturating_sub(*offset)) {
                self.keep_sectors(page, *offset, end, &mut survives);
            }
        }
        let lost = std::mem::take(&mut self.lost);
        if std::mem::take(&mut self.was_cut) {
            self.seen = self.durable.clone();
            return;
        }
        self.seen.len = self.durable.len;
        for (offset, len) in unsynced.into_iter().chain(lost) {
            pages_of(offset, len).for_each(|page| self.seen.take_page(page, &self.durable));
        }
    }

    /// Makes those sectors of a page durable that lie in a range and survive.
    fn keep_sectors(&mut self, page: u64, offset: u64, end: u64, mut survives: impl FnMut() -> bool) {
        let start = page * PAGE_BYTES as u64;
        let first = start.max(offset - offset % SECTOR_BYTES);
        let last = end.min(start + PAGE_BYTES as u64);
        let sectors = (first..last).step_by(SECTOR_BYTES as usize);
        let kept: Vec<u64> = sectors.filter(|_| survives()).collect();
        let page_end = start + PAGE_BYTES as u64;
        if kept.len() == PAGE_BYTES / SECTOR_BYTES as usize && page_end <= self.seen.len {
            self.durable.take_page(page, &self.seen);
            self.durable.len = self.durable.len.max(page_end);
            return;
        }
        for sector in kept {
            let bytes = self.seen.read(sector, SECTOR_BYTES as usize);
            self.durable.write(sector, &bytes);
        }
    }

    pub(super) fn corrupt(&mut self, offset: u64, mask: u8) {
        for image in [&mut self.seen, &mut self.durable] {
            let (page, start) = split(offset);
            image.page_mut(page)[start] ^= mask;
        }
    }
}
