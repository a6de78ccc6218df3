//! The backup's side: taking up an extent, keeping records of its home, making them durable, giving back what the home has lost.
//!
//! INVARIANT: a record is taken only from a home that attached to this start of ours, and at no epoch below the extent's.
//! Spec: docs/protocol/replicate.md §1; docs/protocol/seal.md §4, §10.

use bytes::BytesMut;
use ds_store::{ChangeError, ImageRef, Stability};
use layout::{Epoch, ExtentId};
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::limits::RECORD_DATA_BYTES_MAX;
use wire_nfs::control::replicate::{Act, Attach, Attached, Flush, HeldData, ReadData, Replicate};
use wire_nfs::control::{Nothing, Refusal};

use crate::core::Core;

pub(crate) async fn attach(core: &Core, ask: Attach) -> Result<Attached, Refusal> {
    let extent = id(ask.extent);
    let sequence = core.store.attach(extent, Epoch(ask.epoch)).await.map_err(|e| refusal(core, &e))?;
    tracing::debug!(%extent, epoch = ask.epoch, sequence, "a backup now");
    // Only now is it sure that whoever attaches is home: it may be one that was deposed, and we its heir, who owes backups what was
    // written since.
    core.copies.forget(extent);
    Ok(Attached { instance: core.store.instance(), sequence })
}

pub(crate) async fn replicate(core: &Core, record: Replicate) -> Result<Nothing, Refusal> {
    same_start(core, record.instance)?;
    let (extent, epoch, sequence) = (id(record.extent), Epoch(record.epoch), record.sequence);
    let stability = if record.stable { Stability::Synced } else { Stability::Unstable };
    let bytes = record.data.len() as u64;
    let taken = match record.act {
        Act::Write => {
            core.store.write_at(extent, epoch, sequence, record.offset, record.data, stability).await
        }
        Act::Cut => core.store.cut_at(extent, epoch, sequence, record.offset).await,
        Act::Image => image(core, extent, epoch, sequence, &record).await,
    };
    taken.map_err(|e| refusal(core, &e))?;
    core.metrics.kept(bytes);
    Ok(Nothing)
}

/// The home says that an image stands for everything up to a sequence.
async fn image(
    core: &Core,
    extent: ExtentId,
    epoch: Epoch,
    sequence: u64,
    record: &Replicate,
) -> Result<(), ChangeError> {
    let image = ImageRef::decode(&record.data).map_err(|_| ChangeError::Range)?;
    if image.content_bytes != record.offset {
        return Err(ChangeError::Range);
    }
    core.store.use_image(extent, epoch, sequence, &image).await
}

pub(crate) async fn flush(core: &Core, ask: Flush) -> Result<Nothing, Refusal> {
    same_start(core, ask.instance)?;
    core.store.flush().await.map_err(|e| refusal(core, &e))?;
    Ok(Nothing)
}

/// Bytes of an extent for its home, whose journal has lost them.
pub(crate) async fn read_data(core: &Core, ask: ReadData) -> Result<HeldData, Refusal> {
    let (extent, length) = (id(ask.extent), ask.length);
    if length == 0 || RECORD_DATA_BYTES_MAX < length as usize {
        return Err(Refusal::Invalid);
    }
    if Epoch(ask.epoch) < core.store.size(extent).epoch {
        return Err(Refusal::Stale);
    }
    let _room = core.read_room.acquire_many(length).await.map_err(|_| Refusal::Busy)?;
    let sequence = core.store.lowest_sequence(extent, ask.offset, length).ok_or(Refusal::Invalid)?;
    let mut data = BytesMut::with_capacity(length as usize);
    while data.len() < length as usize {
        let got = u32::try_from(data.len()).expect("no more than was asked for");
        let pieces =
            core.store.peek(extent, ask.offset + got, length - got).await.map_err(|_| Refusal::Io)?;
        pieces.iter().for_each(|piece| data.extend_from_slice(piece));
    }
    // What was cut meanwhile reads as zeros.
    match core.store.lowest_sequence(extent, ask.offset, length) {
        Some(again) if sequence <= again => Ok(HeldData { sequence, data: data.freeze() }),
        Some(_) | None => Err(Refusal::Busy),
    }
}

fn same_start(core: &Core, instance: u64) -> Result<(), Refusal> {
    if instance == core.store.instance() { Ok(()) } else { Err(Refusal::AttachAgain) }
}

pub(crate) fn id(name: ExtentName) -> ExtentId {
    ExtentId { ino: name.ino, index: name.index }
}

fn refusal(core: &Core, error: &ChangeError) -> Refusal {
    core.note(error);
    match error {
        ChangeError::Stale { .. } => Refusal::Stale,
        ChangeError::Range => Refusal::Invalid,
        ChangeError::NoSpace => Refusal::NoSpace,
        ChangeError::Busy | ChangeError::Closed => Refusal::Busy,
        ChangeError::Failed(_) => Refusal::Io,
    }
}
