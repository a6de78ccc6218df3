//! The images here as metadata servers were shown them: what each is, when it is due, which wait
//! for a group.
//!
//! Spec: docs/protocol/seal.md §2.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use ds_image::{ImageId, ImageStore, ImageSum, Sealed};
use ds_store::{ImageRef, Store};
use layout::{Epoch, ExtentId};
use parking_lot::Mutex;

/// An image of an extent, as of one of its acts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealing {
    pub(super) extent: ExtentId,
    /// The extent's when it was sealed.
    pub(super) epoch: Epoch,
    pub(super) sequence: u64,
    pub(super) image: ImageRef,
}

/// All images here, as far as somebody has looked.
#[derive(Default)]
pub(crate) struct Shown {
    pub(super) entries: Mutex<HashMap<ImageId, Entry>>,
    /// Extents of which an image waits for a group, and up to which act it says them.
    pub(super) waiting: Mutex<HashMap<ExtentId, (ImageId, u64)>>,
    pub(super) look: AtomicBool,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) facts: Option<Facts>,
    /// When it is to be shown next.
    pub(super) due_ms: u64,
    /// The epoch of the set of which every server uses it, if we have seen to it.
    pub(super) said: Option<Epoch>,
    /// A metadata server knows that.
    pub(super) noted: bool,
    /// It is in use, and not here.
    pub(super) absent: bool,
}

/// What the file says, once and for all.
#[derive(Clone, Copy)]
pub(super) enum Facts {
    Extent(Sealing, Option<ImageSum>),
    Parity { payload_bytes: u32, sum: ImageSum },
}

impl Shown {
    /// A bad image was deleted: its extent may be sealed again.
    pub(crate) fn forget(&self, store: &Store, image: ImageId) {
        self.entries.lock().remove(&image);
        let mut waiting = self.waiting.lock();
        let of_it = waiting.iter().find(|(_, (one, _))| *one == image).map(|(extent, _)| *extent);
        if let Some(extent) = of_it {
            waiting.remove(&extent);
            store.defer_sealing(extent, 0);
        }
    }

    /// Files have come or gone.
    pub(crate) fn look_again(&self) {
        self.look.store(true, Ordering::Relaxed);
    }

    /// It is something else to us by now, if it is here.
    pub(crate) fn look_at(&self, image: ImageId) {
        self.with(image, |entry| (entry.due_ms, entry.said, entry.noted) = (0, None, false));
    }

    /// An image has just been made of an extent.
    pub(super) fn sealed(&self, sealed: &Sealed) {
        let Some(sealing) = sealing(&sealed.info) else { return };
        let entry = Entry { facts: Some(Facts::Extent(sealing, Some(sealed.sum))), ..Entry::default() };
        self.wait(&sealing);
        self.entries.lock().insert(sealed.info.identity.image, entry);
    }

    /// How many images wait for a group, or to be used.
    pub(crate) fn images_waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Up to which act an image that waits for its group says the extent.
    pub(super) fn waits(&self, extent: ExtentId) -> Option<u64> {
        self.waiting.lock().get(&extent).map(|(_, sequence)| *sequence)
    }

    /// An image waits for a group.
    pub(super) fn wait(&self, sealing: &Sealing) {
        let mut waiting = self.waiting.lock();
        let newest = waiting.entry(sealing.extent).or_insert((sealing.image.image, sealing.sequence));
        if newest.1 < sealing.sequence {
            *newest = (sealing.image.image, sealing.sequence);
        }
    }

    /// It does not any more. False if it did not.
    pub(super) fn wait_is_over(&self, sealing: &Sealing) -> bool {
        let mut waiting = self.waiting.lock();
        let waited = waiting.get(&sealing.extent).is_some_and(|(image, _)| *image == sealing.image.image);
        if waited {
            waiting.remove(&sealing.extent);
        }
        waited
    }

    pub(super) fn with(&self, image: ImageId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.lock().get_mut(&image) {
            change(entry);
        }
    }

    pub(super) fn put_off(&self, image: ImageId, until_ms: u64) {
        self.with(image, |entry| entry.due_ms = until_ms);
    }

    /// Takes note of what is in the directory now, and of what is in use without being there.
    pub(super) fn look(&self, images: &ImageStore, absent: &[Sealing]) {
        let (mut here, mut after) = (BTreeSet::new(), None);
        loop {
            let some = images.list(after);
            here.extend(some.iter().map(|entry| entry.image));
            match some.last() {
                Some(last) => after = Some(last.image),
                None => break,
            }
        }
        let mut entries = self.entries.lock();
        let absent = absent.iter().filter(|one| !here.contains(&one.image.image));
        let absent: HashMap<ImageId, Sealing> = absent.map(|one| (one.image.image, *one)).collect();
        entries.retain(|image, _| here.contains(image) || absent.contains_key(image));
        for image in here {
            let entry = entries.entry(image).or_default();
            if std::mem::take(&mut entry.absent) {
                // Now there is a file to say what it is.
                entry.facts = None;
            }
        }
        for (image, sealing) in absent {
            let entry = entries.entry(image).or_default();
            (entry.facts, entry.absent) = (Some(Facts::Extent(sealing, None)), true);
        }
    }

    pub(super) fn due(&self, now_ms: u64) -> Vec<ImageId> {
        let entries = self.entries.lock();
        let mut due: Vec<(u64, ImageId)> = entries
            .iter()
            .filter(|(_, entry)| entry.due_ms <= now_ms)
            .map(|(image, entry)| (entry.due_ms, *image))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, image)| image).collect()
    }
}

/// What an image's file says of itself; `None` for one of nothing, which no journal can use.
pub(super) fn sealing(info: &ds_image::ImageInfo) -> Option<Sealing> {
    let ds_image::Identity { image, extent, epoch, sequence } = info.identity;
    let file_bytes = u32::try_from(info.image_bytes).ok()?;
    let image = ImageRef { image, content_bytes: info.content_bytes, file_bytes, root: info.root.0 };
    Some(Sealing { extent, epoch, sequence, image })
}
