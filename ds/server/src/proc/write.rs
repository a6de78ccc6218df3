//! WRITE.
//!
//! The data go from the call's buffer into the journal, and to the replicas, as they are. An answer
//! says FILE_SYNC for everything that the client wanted stable: there is no half-stable here.
//!
//! Spec: RFC 1813 §3.3.7; docs/protocol/replicate.md §2; docs/protocol/seal.md §8, §12.

use std::net::IpAddr;

use bytes::Bytes;
use ds_store::{ChangeError, Stability, Ticket};
use layout::DsHandle;
use wire_nfs::v3::{Nfsstat3, StableHow, WccData, write};

use super::Primary;
use crate::access::{Wanted, offset_in_extent};
use crate::limits::{SETTLE_MS_MAX, THAW_IMAGES_MAX};
use crate::metrics::log_if_slow;
use crate::status;

impl Primary {
    /// Carries out a WRITE.
    ///
    /// # Errors
    /// The status that says why not.
    pub(crate) async fn write(&self, args: write::Args, from: IpAddr) -> Result<write::ResOk, Nfsstat3> {
        let handle = self.gate.admit_request(&args.file, Wanted::Write, from).await?;
        let verf = self.serving.verifier();
        let offset = offset_in_extent(handle.extent, args.offset).ok_or(Nfsstat3::Inval)?;
        let count = u32::try_from(args.data.len()).map_err(|_| Nfsstat3::Inval)?;
        let (stability, committed) = match args.stable {
            StableHow::Unstable => (Stability::Unstable, StableHow::Unstable),
            StableHow::DataSync | StableHow::FileSync => (Stability::Synced, StableHow::FileSync),
        };
        if count == 0 {
            let nothing = self.store.write(handle.extent, handle.epoch, offset, vec![], stability).await;
            nothing.map_err(|error| self.fail(&error))?;
        } else {
            self.write_copies(&handle, offset, args.data, stability).await?;
        }
        Ok(write::ResOk { file_wcc: WccData::default(), count, committed, verf })
    }

    /// Writes here and on the replicas, side by side.
    async fn write_copies(
        &self,
        handle: &DsHandle,
        offset: u32,
        data: Bytes,
        stability: Stability,
    ) -> Result<(), Nfsstat3> {
        let (extent, replication) = (handle.extent, &self.replication);
        // First: a server that is not primary any more must not tell replicas, at the epoch of an
        // old handle, what it has forgotten.
        let is_from_before =
            self.store.check_copies(extent, handle.epoch).map_err(|error| self.fail(&error))?;
        if is_from_before {
            replication.learn_set(extent).await.map_err(status::of_settling)?;
        }
        let before = replication.open_for_write(handle).await.map_err(status::of_settling)?;
        let length = u32::try_from(data.len()).map_err(|_| Nfsstat3::Inval)?;
        let ticket = self.take_place(handle, offset, length).await?;
        // The log takes note while the bytes are on their way.
        self.thaws.start_promise(extent);
        let sequence = ticket.sequence();
        assert!(0 < sequence, "a WRITE has a place above an extent of which nothing was said");
        let stable = stability == Stability::Synced;
        // Only now: a replica that joined before the sequence was given must get the record.
        let kept = replication.table.find(extent);
        drop(before);
        let sending = kept.as_ref().map(|kept| kept.send_write(replication, sequence, offset, &data, stable));
        let sent = async {
            match sending {
                Some(sending) if stable => sending.wait_for_answers().await,
                Some(sending) => sending.wait_for_departure().await,
                None => {}
            }
        };
        let written = ticket.write(vec![data], stability);
        let written = log_if_slow(&*self.clock, extent, "the journal", Vec::new, written);
        let (here, ()) = tokio::join!(written, sent);
        here.map_err(|error| self.fail(&error))?;
        if !stable {
            return Ok(());
        }
        if let Some(kept) = &kept {
            kept.settle(replication, sequence, SETTLE_MS_MAX).await.map_err(status::of_settling)?;
        }
        self.thaws.wait_for_promise(extent).await.map_err(status::of_settling)
    }

    /// Gives a WRITE its place, once a metadata server knows that something lies above the image
    /// below it, if there is one.
    async fn take_place(&self, handle: &DsHandle, offset: u32, length: u32) -> Result<Ticket, Nfsstat3> {
        for _ in 0..THAW_IMAGES_MAX {
            let ticket = self.store.admit(handle.extent, handle.epoch, offset, length).await;
            let ticket = ticket.map_err(|error| self.fail(&error))?;
            // Not sooner: an image may come into use until a WRITE has its place.
            let Some(image) = ticket.above_image() else { return Ok(ticket) };
            self.thaws.wait_for_thaw(handle.extent, image, ticket).await.map_err(status::of_settling)?;
        }
        Err(Nfsstat3::Jukebox)
    }

    /// The status of a change that the store did not make.
    pub(super) fn fail(&self, error: &ChangeError) -> Nfsstat3 {
        self.serving.note_error(error);
        status::of_change(error)
    }
}
