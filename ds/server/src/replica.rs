//! The replica's side: attaching to a primary, keeping its records, making them durable, and giving
//! back what the primary has lost; and the primary's answer to a replica that has lost something.
//!
//! INVARIANT: a record is taken only from a primary that attached to this start of this server, and
//! at no epoch below the extent's.
//! Spec: docs/protocol/replicate.md §1; docs/protocol/seal.md §4, §10.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ds_store::{ChangeError, ImageRef, Stability, Store};
use layout::{DataServerId, Epoch, ExtentId};
use tokio::sync::Semaphore;
use wire_nfs::control::limits::RECORD_DATA_BYTES_MAX;
use wire_nfs::control::replicate::{Act, Attach, Attached, Flush, HeldData, ReadData, Replicate, SayAgain};
use wire_nfs::control::{Nothing, Refusal};

use crate::copies::Replication;
use crate::copies::image::Asked;
use crate::directory::Directory;
use crate::lease::Serving;
use crate::limits::READ_BYTES_IN_FLIGHT_MAX;
use crate::link::extent_id;
use crate::metrics::{ClientLoad, Metrics};

/// Answers other data servers about copies of extents.
pub(crate) struct Replica {
    store: Store,
    serving: Arc<Serving>,
    directory: Arc<Directory>,
    replication: Arc<Replication>,
    load: Arc<ClientLoad>,
    metrics: Arc<Metrics>,
    /// Bytes of READ_DATA replies to primaries that may still be gathered.
    read_room: Semaphore,
}

impl Replica {
    pub(crate) fn new(
        store: Store,
        serving: Arc<Serving>,
        directory: Arc<Directory>,
        replication: Arc<Replication>,
        (load, metrics): (Arc<ClientLoad>, Arc<Metrics>),
    ) -> Self {
        let read_room = Semaphore::new(READ_BYTES_IN_FLIGHT_MAX as usize);
        Self { store, serving, directory, replication, load, metrics, read_room }
    }

    /// ATTACH: this server becomes a replica of the extent.
    ///
    /// # Errors
    /// STALE if the extent is at a higher epoch; else what the store says.
    pub(crate) async fn attach_extent(&self, ask: Attach) -> Result<Attached, Refusal> {
        let extent = extent_id(ask.extent);
        let attached = self.store.attach(extent, Epoch(ask.epoch)).await;
        let sequence = attached.map_err(|error| self.refuse(&error))?;
        let server = self.directory.own().map(|own| own.0);
        tracing::debug!(server, %extent, epoch = ask.epoch, sequence, "a replica now");
        // Only now is it sure that the caller is primary: it may be one that was deposed, and this
        // server its successor, which owes replicas what was written since.
        self.replication.table.forget(extent);
        Ok(Attached { instance: self.store.instance(), sequence })
    }

    /// REPLICATE: takes a record.
    ///
    /// # Errors
    /// ATTACH_AGAIN if the primary attached to another start; else what the store says.
    pub(crate) async fn take_record(&self, record: Replicate) -> Result<Nothing, Refusal> {
        self.check_start(record.instance)?;
        // The primary's client waits for this as well.
        let _client = self.load.begin_request();
        let (extent, epoch, sequence) = (extent_id(record.extent), Epoch(record.epoch), record.sequence);
        let stability = if record.stable { Stability::Synced } else { Stability::Unstable };
        let bytes = record.data.len() as u64;
        let taken = match record.act {
            Act::Write => {
                self.store.write_at(extent, epoch, sequence, record.offset, record.data, stability).await
            }
            Act::Cut => self.store.cut_at(extent, epoch, sequence, record.offset).await,
            Act::Image => return self.take_image(extent, epoch, sequence, &record).await,
        };
        taken.map_err(|error| self.refuse(&error))?;
        self.metrics.count_kept(bytes);
        Ok(Nothing)
    }

    /// The primary says that an image stands for everything up to a sequence.
    ///
    /// NO_IMAGE if the image does not show here: another image lies above it, since the primary
    /// sent everything again (docs/protocol/replicate.md §2). A primary that took that for an
    /// answer would have the other image's group deleted, and this journal is what its successor
    /// reads.
    async fn take_image(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        sequence: u64,
        record: &Replicate,
    ) -> Result<Nothing, Refusal> {
        let image = ImageRef::decode(&record.data).map_err(|_| Refusal::Invalid)?;
        if image.content_bytes != record.offset {
            return Err(Refusal::Invalid);
        }
        let used = self.store.use_image(extent, epoch, sequence, &image).await;
        used.map_err(|error| self.refuse(&error))?;
        let shows = self.store.image(extent).await.map_err(|_| Refusal::Io)?;
        if shows.is_some_and(|(above, other)| sequence < above && other.image != image.image) {
            return Err(Refusal::NoImage);
        }
        self.metrics.count_kept(record.data.len() as u64);
        let server = self.directory.own().map(|own| own.0);
        tracing::debug!(
            server, %extent, image = %image.image, sequence,
            "a replica that was told an image"
        );
        Ok(Nothing)
    }

    /// FLUSH: makes durable what was taken.
    ///
    /// # Errors
    /// As [`take_record`](Self::take_record).
    pub(crate) async fn flush_records(&self, ask: Flush) -> Result<Nothing, Refusal> {
        self.check_start(ask.instance)?;
        let _client = self.load.begin_request();
        self.store.flush().await.map_err(|error| self.refuse(&error))?;
        Ok(Nothing)
    }

    /// READ_DATA: bytes of an extent for its primary, whose journal has lost them; or the image
    /// that this server uses.
    ///
    /// # Errors
    /// INVALID for what is not here; STALE if the extent is at a higher epoch; BUSY if it changes;
    /// IO if the journal does not give it.
    pub(crate) async fn read_data(&self, ask: ReadData) -> Result<HeldData, Refusal> {
        let (extent, length) = (extent_id(ask.extent), ask.length);
        if RECORD_DATA_BYTES_MAX < length as usize {
            return Err(Refusal::Invalid);
        }
        if Epoch(ask.epoch) < self.store.size(extent).epoch {
            return Err(Refusal::Stale);
        }
        if length == 0 {
            let used = self.store.image(extent).await.map_err(|_| Refusal::Io)?;
            let (sequence, image) = used.ok_or(Refusal::Invalid)?;
            return Ok(HeldData { sequence, data: Bytes::copy_from_slice(&image.encode()) });
        }
        let _room = self.read_room.acquire_many(length).await.map_err(|_| Refusal::Busy)?;
        let sequence = self.store.lowest_sequence(extent, ask.offset, length).ok_or(Refusal::Invalid)?;
        let mut data = BytesMut::with_capacity(length as usize);
        while data.len() < length as usize {
            let got = u32::try_from(data.len()).expect("no more than was asked for");
            let pieces =
                self.store.peek(extent, ask.offset + got, length - got).await.map_err(|_| Refusal::Io)?;
            pieces.iter().for_each(|piece| data.extend_from_slice(piece));
        }
        assert_eq!(data.len(), length as usize, "the store gives no more than it was asked for");
        // What was cut meanwhile reads as zeros.
        match self.store.lowest_sequence(extent, ask.offset, length) {
            Some(again) if sequence <= again => Ok(HeldData { sequence, data: data.freeze() }),
            Some(_) | None => Err(Refusal::Busy),
        }
    }

    /// SAY_AGAIN, as primary: something that a replica took is bad there. This server sends
    /// everything to it again, if all of it can be read here: a replica that was sent a part would
    /// have lost what the primary wants from it.
    ///
    /// # Errors
    /// NOT_HOME if another data server is primary; STALE if the caller is no replica of the set; IO
    /// if this journal is bad, too; BUSY if it is not the time.
    pub(crate) async fn resend_all(&self, ask: SayAgain) -> Result<Nothing, Refusal> {
        let extent = extent_id(ask.extent);
        let set = match self.replication.ask_set_at_rest(extent).await {
            Asked::Primary(set) => set,
            Asked::NotPrimary => return Err(Refusal::NotHome),
            Asked::Unknown => return Err(Refusal::Busy),
        };
        let is_replica = set.backups.iter().any(|one| one.server == ask.server && !one.filling);
        if set.epoch != ask.epoch || !is_replica {
            return Err(Refusal::Stale);
        }
        let mut next = Some(0);
        while let Some(from) = next {
            let checked = self.store.check(extent, from).await;
            if !checked.bad.is_empty() {
                return Err(Refusal::Io);
            }
            assert!(checked.next.is_none_or(|next| from < next), "a check goes on forward");
            next = checked.next;
        }
        let kept = self.replication.adopt_set(&set).ok_or(Refusal::Busy)?;
        let replica = DataServerId(ask.server);
        kept.resend_all(&self.replication, replica).await.map_err(|error| {
            tracing::warn!(
                %extent, replica = replica.0, ?error,
                "everything is not sent to a replica again yet"
            );
            Refusal::Busy
        })?;
        tracing::info!(%extent, replica = replica.0, "everything was sent to a replica again");
        Ok(Nothing)
    }

    fn check_start(&self, instance: u64) -> Result<(), Refusal> {
        if instance == self.store.instance() { Ok(()) } else { Err(Refusal::AttachAgain) }
    }

    fn refuse(&self, error: &ChangeError) -> Refusal {
        self.serving.note_error(error);
        match error {
            ChangeError::Stale { .. } => Refusal::Stale,
            ChangeError::Range => Refusal::Invalid,
            ChangeError::NoSpace => Refusal::NoSpace,
            ChangeError::Busy | ChangeError::Closed => Refusal::Busy,
            ChangeError::Failed(_) => Refusal::Io,
        }
    }
}
