//! REBUILD: makes an image of a group here again: copied from the server that has it, or computed
//! from as many others as it takes.
//!
//! INVARIANT: an image is there only if its sum, and those of all that it was made of, are the
//! group's. One that is damaged stays as it is until the one that replaces it is on stable storage.
//! Spec: docs/protocol/seal.md §6, §10; docs/formats/group.md §6.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::join_all;
use layout::ec::rebuild::RebuildError;
use layout::ec::{CodecId, Group, Repair};
use layout::limits::WINDOW_BYTES_MAX;
use layout::reserve::Purpose;
use wire_nfs::control::groups::GroupSlot;
use wire_nfs::control::limits::IMAGE_DATA_BYTES_MAX;
use wire_nfs::control::{Nothing, Refusal};

use super::outlet::{Outlet, OutletError};
use super::rebuilt::rank_sources;
use super::shelf::is_slot;
use super::trouble::NoBytes;
use super::work::ImageWork;

/// Why one try failed.
enum Failed {
    /// This slot gave no bytes, or wrong ones: another may do.
    Slot(usize, NoBytes),
    /// No more tries.
    End(Refusal),
}

impl From<OutletError> for Failed {
    fn from(error: OutletError) -> Self {
        Self::End(error.into())
    }
}

impl ImageWork {
    /// Carries out REBUILD.
    ///
    /// # Errors
    /// As [`make_again`](Self::make_again); BUSY also if it is not the time.
    pub(crate) async fn rebuild_slot(&self, ask: GroupSlot) -> Result<Nothing, Refusal> {
        let shelf = self.shelf();
        let _turn = self.wait_for_call().await?;
        let group = Group::decode(&ask.record).map_err(|_| Refusal::Invalid)?;
        let slot = usize::try_from(ask.slot).ok().filter(|slot| *slot < group.shape().slots());
        let slot = slot.ok_or(Refusal::Invalid)?;
        let (image, sum) = group.shape().image(slot).ok_or(Refusal::Invalid)?;
        shelf.touch(image);
        if shelf.dir.contains(image) {
            shelf.close_image(image);
            if let Ok(found) = shelf.dir.open_any(image).await
                && is_slot(&found, sum).await
            {
                return Ok(Nothing);
            }
        }
        if self.copy_image(&group, slot).await? {
            tracing::info!(%image, group = %group.shape().group(), "moved here");
            shelf.touch(image);
            self.space.note_images();
            return Ok(Nothing);
        }
        self.make_again(&group, slot).await.map(|()| Nothing)
    }

    /// Makes an image of a group again, in the place of the one that is here, if there is any.
    ///
    /// # Errors
    /// NO_IMAGE if too little of the group is left; BUSY if servers that may have it do not answer;
    /// NO_SPACE; IO if the disk failed.
    pub(crate) async fn make_again(&self, group: &Group, slot: usize) -> Result<(), Refusal> {
        let (image, _) = group.shape().image(slot).ok_or(Refusal::Invalid)?;
        self.space.check_room(group.shape().file_bytes(slot), Purpose::Neutral)?;
        let (mut bad, mut may_pass) = (HashSet::new(), false);
        let made = loop {
            match self.try_to_make(group, slot, &bad).await {
                Ok(()) => break Ok(()),
                Err(Failed::Slot(slot, why)) => {
                    may_pass |= why == NoBytes::Unreachable;
                    let is_news = bad.insert(slot);
                    assert!(is_news, "a slot that gave nothing is not tried again");
                }
                Err(Failed::End(Refusal::NoImage)) if may_pass => break Err(Refusal::Busy),
                Err(Failed::End(refusal)) => break Err(refusal),
            }
        };
        if made.is_ok() {
            self.shelf().metrics.rebuilt_images.inc();
            tracing::info!(%image, group = %group.shape().group(), "made again");
        }
        self.shelf().touch(image);
        self.space.note_images();
        made
    }

    /// Copies the image from the server that has it, if it can be read there: of a server that is
    /// to be empty. True if it is here and right.
    async fn copy_image(&self, group: &Group, slot: usize) -> Result<bool, Refusal> {
        let (shelf, shape) = (self.shelf(), group.shape());
        let own = self.site.directory.own();
        let Some(from) = group.homes()[slot].filter(|from| own != Some(*from)) else {
            return Ok(false);
        };
        let (image, sum) = shape.image(slot).ok_or(Refusal::Invalid)?;
        let (bytes, mut hash) = (shape.file_bytes(slot), blake3::Hasher::new());
        self.space.check_room(bytes, Purpose::Neutral)?;
        let Ok(mut outlet) = Outlet::begin_replacing(&self.site, image, bytes).await else {
            return Ok(false);
        };
        let mut at = 0;
        while at < bytes {
            let range = at..bytes.min(at + IMAGE_DATA_BYTES_MAX as u64);
            let Ok(data) = self.images.fetch_file(from, image, range.clone()).await else { break };
            // The sum of parity is that of its payload.
            let summed = usize::try_from(shape.bytes(slot).saturating_sub(at)).unwrap_or(usize::MAX);
            hash.update(&data[..data.len().min(summed)]);
            if outlet.put(&data).await.is_err() {
                break;
            }
            self.repair.pass(&*self.clock, range.end - at).await;
            at = range.end;
            tokio::task::yield_now().await;
        }
        assert!(at <= bytes, "an image is copied up to its end");
        if at < bytes || hash.finalize().as_bytes() != &sum.0 {
            outlet.abandon().await;
            return Ok(false);
        }
        if outlet.end().await.is_err() {
            return Ok(false);
        }
        match shelf.dir.open_any(image).await {
            Ok(found) if is_slot(&found, sum).await => Ok(true),
            Ok(_) | Err(_) => {
                // The footer is not right. The next caller finds nothing here.
                shelf.delete_image(image).await.map_err(|_| Refusal::Io)?;
                Ok(false)
            }
        }
    }

    async fn try_to_make(&self, group: &Group, slot: usize, bad: &HashSet<usize>) -> Result<(), Failed> {
        let shape = group.shape();
        let sources = rank_sources(&self.images, group, slot, bad);
        let repair = Repair::new(shape, &sources, &[slot], WINDOW_BYTES_MAX);
        let repair = repair.map_err(|error| {
            tracing::warn!(
                group = %shape.group(), slot, %error,
                "an image cannot be made again now"
            );
            Failed::End(Refusal::NoImage)
        })?;
        let Some((image, _)) = shape.image(slot) else { return Err(Failed::End(Refusal::Invalid)) };
        let mut outlet = Outlet::begin_replacing(&self.site, image, shape.file_bytes(slot)).await?;
        match self.compute_image(group, slot, repair, &mut outlet).await {
            Ok(()) => {
                outlet.end().await?;
                Ok(())
            }
            Err(failed) => {
                outlet.abandon().await;
                Err(failed)
            }
        }
    }

    /// Puts the whole file. Its sums are compared before the caller ends it.
    async fn compute_image(
        &self,
        group: &Group,
        slot: usize,
        mut repair: Repair,
        outlet: &mut Outlet,
    ) -> Result<(), Failed> {
        let shape = group.shape();
        let mut made = Vec::new();
        while let Some(window) = repair.window() {
            let reads: Vec<(usize, Range<u64>)> = repair.reads(window).collect();
            let came = join_all(reads.iter().map(|(slot, part)| self.fetch_part(group, *slot, part.clone())));
            let came = came.await;
            let mut brought = Vec::with_capacity(came.len());
            for ((slot, _), bytes) in reads.iter().zip(came) {
                brought.push(bytes.map_err(|why| Failed::Slot(*slot, why))?);
            }
            assert_eq!(brought.len(), reads.len(), "each source has brought its part");
            let brought: Vec<&[u8]> = brought.iter().map(|bytes| &bytes[..]).collect();
            made.resize(window.bytes, 0);
            repair.push(&brought, &mut [&mut made[..]]).map_err(|_| Failed::End(Refusal::Invalid))?;
            outlet.put(&made[..window.len_of(shape.bytes(slot))]).await?;
            self.repair.pass(&*self.clock, window.bytes as u64).await;
            tokio::task::yield_now().await;
        }
        let repaired = repair.finish().map_err(|error| match error {
            // What was made of sources that are right is right.
            RebuildError::Altered { slot: altered, .. } if altered != slot => {
                Failed::Slot(altered, NoBytes::Absent)
            }
            _ => Failed::End(Refusal::Io),
        })?;
        if shape.profile().data() <= slot && shape.codec() != CodecId::Copies {
            outlet.put(&repaired.footers[0]).await?;
        }
        Ok(())
    }

    async fn fetch_part(&self, group: &Group, slot: usize, range: Range<u64>) -> Result<Bytes, NoBytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (image, _) = group.shape().image(slot).ok_or(NoBytes::Absent)?;
        self.images.fetch_file(group.homes()[slot].ok_or(NoBytes::Absent)?, image, range).await
    }
}
