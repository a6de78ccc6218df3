//! The images here as this server shows them to metadata servers: what each is, when it is due, and
//! which wait for a group.
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
    /// The extent's epoch when it was sealed.
    pub(super) epoch: Epoch,
    pub(super) sequence: u64,
    pub(super) image: ImageRef,
}

/// All images here, as of the last look at the directory.
#[derive(Default)]
pub(crate) struct Shown {
    entries: Mutex<HashMap<ImageId, Entry>>,
    /// Extents of which an image waits for a group, and up to which act it says them.
    waiting: Mutex<HashMap<ExtentId, (ImageId, u64)>>,
    look_due: AtomicBool,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) facts: Option<Facts>,
    /// When this server shows it next.
    pub(super) due_ms: u64,
    /// The epoch of the set of which every server uses it, if this server has seen to that.
    pub(super) said: Option<Epoch>,
    /// A metadata server knows that.
    pub(super) noted: bool,
    /// A journal uses it, and it is not here.
    pub(super) absent: bool,
}

/// What the file says, which never changes.
#[derive(Clone, Copy)]
pub(super) enum Facts {
    Extent(Sealing, Option<ImageSum>),
    Parity { payload_bytes: u32, sum: ImageSum },
}

impl Shown {
    /// Forgets a bad image that was deleted: its extent may be sealed again.
    pub(crate) fn forget_image(&self, store: &Store, image: ImageId) {
        self.entries.lock().remove(&image);
        let mut waiting = self.waiting.lock();
        let of_it = waiting.iter().find(|(_, (one, _))| *one == image).map(|(extent, _)| *extent);
        if let Some(extent) = of_it {
            waiting.remove(&extent);
            store.defer_sealing(extent, 0);
        }
    }

    /// Notes that files have come or gone.
    pub(crate) fn look_again(&self) {
        self.look_due.store(true, Ordering::Relaxed);
    }

    /// Whether files have come or gone since this was called last.
    pub(super) fn take_look_due(&self) -> bool {
        self.look_due.swap(false, Ordering::Relaxed)
    }

    /// Shows an image again, if it is here, as if it had not been shown yet: this server has become
    /// primary of its extent.
    pub(crate) fn forget_report(&self, image: ImageId) {
        self.change_entry(image, |entry| (entry.due_ms, entry.said, entry.noted) = (0, None, false));
    }

    /// Adds an image that this server has just made of an extent.
    pub(super) fn add_sealed(&self, sealed: &Sealed) {
        let Some(sealing) = read_sealing(&sealed.info) else { return };
        let entry = Entry { facts: Some(Facts::Extent(sealing, Some(sealed.sum))), ..Entry::default() };
        self.add_waiting(&sealing);
        self.entries.lock().insert(sealed.info.identity.image, entry);
    }

    /// How many images wait for a group, or to be used.
    pub(crate) fn images_waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Up to which act an image that waits for its group says the extent.
    pub(super) fn waiting_sequence(&self, extent: ExtentId) -> Option<u64> {
        self.waiting.lock().get(&extent).map(|(_, sequence)| *sequence)
    }

    /// Notes that an image waits for a group.
    pub(super) fn add_waiting(&self, sealing: &Sealing) {
        let mut waiting = self.waiting.lock();
        let newest = waiting.entry(sealing.extent).or_insert((sealing.image.image, sealing.sequence));
        if newest.1 < sealing.sequence {
            *newest = (sealing.image.image, sealing.sequence);
        }
        assert!(sealing.sequence <= newest.1, "the newest image of an extent waits");
    }

    /// Notes that an image does not wait any more. False if it did not.
    pub(super) fn end_waiting(&self, sealing: &Sealing) -> bool {
        let mut waiting = self.waiting.lock();
        let waited = waiting.get(&sealing.extent).is_some_and(|(image, _)| *image == sealing.image.image);
        if waited {
            waiting.remove(&sealing.extent);
        }
        waited
    }

    /// The entry of an image, if there is one.
    pub(super) fn find_entry(&self, image: ImageId) -> Option<Entry> {
        self.entries.lock().get(&image).copied()
    }

    /// Removes the entry of an image that is neither here nor in use.
    pub(super) fn remove_entry(&self, image: ImageId) {
        self.entries.lock().remove(&image);
    }

    /// Changes the entry of an image, if there is one.
    pub(super) fn change_entry(&self, image: ImageId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.lock().get_mut(&image) {
            change(entry);
        }
    }

    /// Does not show an image before `until_ms`.
    pub(super) fn delay_report(&self, image: ImageId, until_ms: u64) {
        self.change_entry(image, |entry| entry.due_ms = until_ms);
    }

    /// Lists the images that are in the directory now, and those that are in use without being
    /// there.
    pub(super) fn list_images(&self, images: &ImageStore, absent: &[Sealing]) {
        let (mut here, mut after) = (BTreeSet::new(), None);
        loop {
            let some = images.list(after);
            here.extend(some.iter().map(|entry| entry.image));
            match some.last() {
                Some(last) => {
                    assert!(after < Some(last.image), "the directory lists images in order");
                    after = Some(last.image);
                }
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

    /// The images to be shown by now, the one that is due longest first.
    pub(super) fn due_images(&self, now_ms: u64) -> Vec<ImageId> {
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

/// What an image's file says of itself; `None` for one that no journal can use.
pub(super) fn read_sealing(info: &ds_image::ImageInfo) -> Option<Sealing> {
    let ds_image::Identity { image, extent, epoch, sequence } = info.identity;
    let file_bytes = u32::try_from(info.image_bytes).ok()?;
    let image = ImageRef { image, content_bytes: info.content_bytes, file_bytes, root: info.root.0 };
    Some(Sealing { extent, epoch, sequence, image })
}
